"""Several processes of a command as torchrun starts them, but forked: nothing is imported again.

The process that forks must have no threads.
"""

from __future__ import annotations

import importlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ghostyolo import cli
from support import runs

# What the commands import; else each process would import it.
IMPORTED = (
    "torch._dynamo",
    "ghostyolo.inference.choice",
    "ghostyolo.jobs.val",
    "ghostyolo.prediction.job",
    "ghostyolo.runtime.pytorch",
    "ghostyolo.training.run",
)
SECONDS = 120.0  # after which processes that have not ended hang


def start(
    words: Sequence[object],
    count: int,
    said: Path,
    prepare: Callable[[int], object] = lambda rank: None,
) -> list[int]:
    """Start the processes and return their numbers, by rank.

    A rank writes to the files `said`.0.out and .err, `said`.1.out ... prepare: is called in each
    process with its rank, before the command.
    """
    for name in IMPORTED:
        importlib.import_module(name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    children = []
    sys.stdout.flush()  # else each process would write again what this one has printed
    for rank in range(count):
        if child := os.fork():
            children.append(child)
            continue
        if count > 1:
            os.environ.update(place, RANK=str(rank), LOCAL_RANK=str(rank))
        for stream, ending in ((1, "out"), (2, "err")):
            path = f"{said}.{rank}.{ending}"
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
        prepare(rank)
        os._exit(cli.main([*map(str, words)]))
    return children


def script(file: str, *words: object) -> list[str]:
    """Run a file of tests as a script, which may fork; return the lines that it prints."""
    done = subprocess.run(
        [sys.executable, file, *map(str, words)],
        env=runs.variables(),
        capture_output=True,
        text=True,
        timeout=2 * SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def codes(children: Sequence[int], asked_after: float = SECONDS) -> list[int]:
    """Wait for processes and return their exit codes, minus the signal of killed ones.

    asked_after: seconds until those that are left get SIGTERM, as from torchrun.
    Raises `TimeoutError`, after killing them, when some do not end.
    """
    found: dict[int, int] = {}
    start, asked = time.monotonic(), False
    while len(found) < len(children):
        for child in set(children) - found.keys():
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                found[child] = os.waitstatus_to_exitcode(status)
        left = set(children) - found.keys()
        passed = time.monotonic() - start
        if passed > asked_after and not asked:
            asked = True
            _send(left, signal.SIGTERM)
        if passed > SECONDS:
            _send(left, signal.SIGKILL)
            raise TimeoutError(f"{len(left)} processes did not end")
        time.sleep(0.01)
    return [found[child] for child in children]


def _send(children: Iterable[int], number: int) -> None:
    for child in children:
        os.kill(child, number)
