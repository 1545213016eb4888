"""Put a server under load: tools/load_serve.py SOURCE [WEIGHTS] --pictures FILE ....

Starts `ghostyolo serve` with a detector on the loopback interface, to which clients send pictures;
one request in ten is garbage. Every picture must be answered with what is found in it when it is
sent alone, all garbage with 4xx. With --hostile N, N of the clients attack from the second round
on; see `hostile_clients`. Prints the pictures served per second, the pictures detected per second
without a server, measured in turns with it, and the server's memory, after the round and at most.
Exits with 1 if an answer is wrong, the memory after the last round is more than 50 MB above that
after the first, or the server keeps requests or does not end after the clients have left.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
from hostile_clients import attack

from ghostyolo.inference.choice import open_runtime
from ghostyolo.prediction.predict import predict_files

EVERY = 10  # requests, of which one is garbage
MOST_SECONDS, MOST_CLIENTS = 600, 64
GROWTH_MB = 50  # of the memory; more counts as a leak


SCORE, PIXELS = 0.01, 1.0  # by which an answer may differ from that to the picture alone
END_SECONDS = 15  # for a server to forget clients that have left, and to end at a signal


class Request(NamedTuple):
    """What a client sends, and what it must find; None if it must be refused."""

    path: str
    body: bytes
    headers: dict[str, str]
    expected: Any


@dataclass
class Tally:
    """The answers that clients got. wrong: the unexpected ones, in words."""

    served: int = 0
    refused: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0
    milliseconds: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Return pictures a second."""
        return self.served / max(self.seconds, 1e-9)


def main() -> int:
    """Run the rounds and print their results."""
    args = arguments()
    files = [args.source, *([args.weights] if args.weights else [])]
    words = [*files, "--runtime", args.runtime, "--threads", str(args.threads)]
    bodies = [Path(path).read_bytes() for path in args.pictures]
    runtime = open_runtime(*files, name=args.runtime, threads=args.threads)
    paths, detector = list(map(Path, args.pictures)), runtime.detector()
    with serving(words) as (process, port):
        total, ratios, memory = Tally(), list[float](), list[float]()
        for number in range(args.rounds):
            hostile = args.hostile if number else 0
            alone = detecting(detector, paths, args.seconds / args.rounds / 4)
            seconds = args.seconds / args.rounds
            found = load(port, bodies, args.clients, seconds, total.served, hostile)
            add(total, found)
            total.wrong += (
                [] if forgets(port) else ["the server keeps requests of clients that left"]
            )
            memory.append(memory_mb(process.pid, "VmRSS"))
            ratios.append(found.rate / alone)
            most = memory_mb(process.pid, "VmHWM")
            print(
                f"{found.rate:.1f} pictures/s served, {alone:.1f} detected, "
                f"ratio {ratios[-1]:.2f}, {memory[-1]:.0f} MB, at most {most:.0f} MB",
                flush=True,
            )
        process.terminate()
        if process.wait(END_SECONDS):
            total.wrong.append(f"the server ended with {process.returncode}")
    return conclude(total, ratios, memory)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", metavar="SOURCE")
    parser.add_argument("weights", metavar="WEIGHTS", nargs="?")
    parser.add_argument("--pictures", nargs="+", required=True, metavar="FILE")
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clients", type=int, default=8, help=f"up to {MOST_CLIENTS} (8)")
    parser.add_argument("--hostile", type=int, default=0, help="clients that attack (0)")
    parser.add_argument("--seconds", type=float, default=60, help=f"up to {MOST_SECONDS} (60)")
    parser.add_argument("--rounds", type=int, default=6, help="that they are divided into (6)")
    args = parser.parse_args()
    if not 1 <= args.clients <= MOST_CLIENTS or not 0 < args.seconds <= MOST_SECONDS:
        parser.error(f"up to {MOST_CLIENTS} clients and {MOST_SECONDS} seconds")
    return args


def load(
    port: int,
    pictures: Sequence[bytes],
    clients: int,
    seconds: float,
    first: int = 0,
    hostile: int = 0,
) -> Tally:
    """Send requests to 127.0.0.1 from several clients.

    first: the number of the first request. hostile: how many of the clients attack.
    """
    tallies = [Tally() for _ in range(clients - hostile)]
    expected = [found_alone(port, picture) for picture in pictures]
    start = time.perf_counter()
    end = start + seconds
    threads = [
        threading.Thread(
            target=_client, args=(port, pictures, expected, first + 13 * n, end, tally)
        )
        for n, tally in enumerate(tallies)
    ]
    threads += [
        threading.Thread(target=attack, args=(port, pictures[0], first + n, end))
        for n in range(hostile)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = Tally()
    for tally in tallies:
        add(total, tally)
    total.seconds = time.perf_counter() - start
    return total


def add(total: Tally, part: Tally) -> None:
    """Add a tally to another."""
    total.served += part.served
    total.refused += part.refused
    total.wrong += part.wrong
    total.milliseconds += part.milliseconds
    total.seconds += part.seconds


def found_alone(port: int, picture: bytes) -> Any:
    """Return what the server finds in a picture."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("POST", "/detect", picture)
    found = json.loads(connection.getresponse().read())["detections"]
    connection.close()
    return found


def same(found: Any, expected: Any) -> bool:
    """Return whether all that was found is expected and the reverse, but for rounding."""
    least = min((row["score"] for row in [*found, *expected]), default=0.0) + SCORE

    def known(row: Any, others: Any) -> bool:
        return row["score"] < least or any(
            row["class"] == other["class"]
            and abs(row["score"] - other["score"]) < SCORE
            and np.allclose(row["box"], other["box"], rtol=0, atol=PIXELS)
            for other in others
        )

    return all(known(row, expected) for row in found) and all(known(row, found) for row in expected)


def forgets(port: int) -> bool:
    """Return whether the server is without requests some time after all clients have left."""
    for _ in range(END_SECONDS * 10):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=END_SECONDS)
        connection.request("GET", "/health")
        queue = json.loads(connection.getresponse().read())["queue"]
        connection.close()
        if queue == 0:
            return True
        time.sleep(0.1)
    return False


def requests(pictures: Sequence[bytes], expected: Sequence[Any], first: int) -> Iterator[Request]:
    """Yield pictures without end, and every tenth time garbage of the next kind."""
    for number in itertools.count(first):
        which = number % len(pictures)
        picture = pictures[which]
        if number % EVERY:
            yield Request("/detect", picture, {}, expected[which])
        else:
            kinds = garbage(picture, np.random.default_rng(number))
            yield kinds[number // EVERY % len(kinds)]


def garbage(picture: bytes, rng: np.random.Generator) -> list[Request]:
    """Return requests that must be refused, each for another reason."""
    cut = int(rng.integers(0, len(picture) // 2))
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    return [
        Request("/detect", b"", {}, None),
        Request("/detect", rng.bytes(2000), {}, None),
        Request("/detect", picture[:cut], {}, None),
        Request("/detect", b"\xff\xd8\xff" + bytes(20_000_000), {}, None),
        Request("/detect?thresh=high", picture, {}, None),
        Request("/detect?tresh=0.5", picture, {}, None),
        Request("/detect", b"--b\r\n" + rng.bytes(500), form, None),
        Request("/" + "x" * 500, picture, {}, None),
    ]


def _client(
    port: int,
    pictures: Sequence[bytes],
    expected: Sequence[Any],
    first: int,
    end: float,
    tally: Tally,
) -> None:
    """Send one request after the other until the end, and count the answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    for request in requests(pictures, expected, first):
        if time.perf_counter() >= end:
            break
        start = time.perf_counter()
        try:
            connection.request("POST", request.path, request.body, request.headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            tally.wrong.append(f"{type(error).__name__}: {error}")
            connection.close()
            continue
        tally.milliseconds.append((time.perf_counter() - start) * 1e3)
        if request.expected is None and 400 <= answer.status < 500:
            tally.refused[answer.status] += 1
        elif request.expected is not None and answer.status == 200:
            tally.served += 1
            if not same(json.loads(content)["detections"], request.expected):
                tally.wrong.append("other detections than for the picture alone")
        else:
            tally.wrong.append(f"{answer.status} for {request.path} of {len(request.body)} bytes")
    connection.close()


def detecting(detector: object, paths: Sequence[Path], seconds: float) -> float:
    """Return the pictures per second of detection without a server."""
    count, start = 0, time.perf_counter()
    while count == 0 or time.perf_counter() - start < seconds:
        count += sum(1 for _ in predict_files(detector, paths))  # type: ignore[arg-type, misc]
    return count / (time.perf_counter() - start)


@contextmanager
def serving(words: Sequence[str]) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run the server on a free port of the loopback; yield the process and the port."""
    command = [sys.executable, "-m", "ghostyolo", "serve", *words, "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        line = process.stdout.readline() if process.stdout else ""
        found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
        if not found:
            raise SystemExit(f"the server did not start: {line}")
        yield process, int(found[1])
    finally:
        process.kill()
        process.wait(30)


def memory_mb(pid: int, name: str) -> float:
    """Return MB of a process: VmRSS now, VmHWM at most. Source: man 5 proc, /proc/PID/status."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"{name}:\s+(\d+) kB", status)
    return int(found[1]) / 1e3 if found else 0.0


def conclude(total: Tally, ratios: Sequence[float], memory: Sequence[float]) -> int:
    """Print the sums and return the exit code."""
    refused = ", ".join(f"{count} x {status}" for status, count in sorted(total.refused.items()))
    times = sorted(total.milliseconds) or [0.0]
    print(
        f"{total.served} pictures served, garbage refused: {refused}; "
        f"median {times[len(times) // 2]:.0f} ms, p99 {times[len(times) * 99 // 100]:.0f} ms"
    )
    print(f"throughput relative to detection alone: {median(ratios):.2f} (median of the rounds)")
    print(f"memory: {memory[0]:.0f} MB after the first round, {memory[-1]:.0f} MB after the last")
    for line, count in Counter(total.wrong).most_common(5):
        print(f"wrong: {count} x {line}")
    return 1 if total.wrong or memory[-1] > GROWTH_MB + memory[0] else 0


if __name__ == "__main__":
    sys.exit(main())
