"""Kill training runs at random moments, resume each, and compare with runs that nothing disturbed.

python tools/kill_runs.py [--kills 50] [--processes 1]. A tiny network with mosaics and changing
input sizes, by each loss in turn, saves after every update; so that many kills hit a file that is
being written.
Every run that reaches its end must have the bits of one that was left alone. Of several processes
one is killed; the others must end by themselves, with one message. Linux and macOS.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from ghostyolo.distributed import LOST
from ghostyolo.loss import DETECTION_LOSSES
from support import processes, tiny

ITERATIONS = 125  # of which the first hundred begin with three sizes of the input
LOSSES = tuple(DETECTION_LOSSES)
LONGEST = 1.0  # seconds that a child may live, for each process of the run
ASK = 5.0  # seconds until processes that are left get SIGTERM: one that waits to join hangs
FILES = ("last.weights", "best.weights", "results.csv", "model.cfg", "model.names")


def main() -> int:
    """Print how many kills of which sort there were; return 1 when a run came out otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="in all (50)")
    parser.add_argument("--processes", type=int, default=1, help="of each run (1)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (0)")
    args = parser.parse_args()
    torch.set_num_threads(1)  # a process with threads must not fork
    with tempfile.TemporaryDirectory(prefix="kill_runs.") as folder:
        return _tried(Path(folder), args.kills, args.processes, random.Random(args.seed))


def _tried(folder: Path, kills: int, count: int, rng: random.Random) -> int:
    data = tiny.pictures(folder / "shapes")
    tiny.write(
        folder,
        ("max_batches=4", f"max_batches={ITERATIONS}\nmosaic=1\nresize_step=16"),
        ("jitter=.2", "jitter=.2\nrandom=1.4"),
        ("batch=2", f"batch={max(2, count)}"),
    )
    whole: dict[str, Path] = {}
    counts: Counter[str] = Counter()
    number = 0
    while counts["kills"] < kills:
        loss = LOSSES[number % len(LOSSES)]
        run = folder / f"run{number}"
        if loss not in whole:
            whole[loss] = _whole(folder, data, loss, count)
        _disturbed(run, data, loss, count, kills, counts, rng)
        wrong = [name for name in FILES if _bytes(run, name) != _bytes(whole[loss], name)]
        if not _same(_checkpoint(run), _checkpoint(whole[loss])):
            wrong.append("checkpoint.pt")
        if wrong or list(run.glob("*.part")):
            print(f"{loss}: run {number} differs in {', '.join(wrong) or 'torn files left'}")
            return 1
        number += 1
    print(
        f"{counts['kills']} kills in {number} runs, {counts['torn']} of them while a file was "
        f"written, {counts['early']} before the first checkpoint: all runs ended with the same bits"
    )
    return 0


def _whole(folder: Path, data: Path, loss: str, count: int) -> Path:
    run = folder / f"whole-{loss}"
    if any(processes.codes(_started(run, data, loss, count))):
        raise SystemExit(f"a run that nothing disturbed failed: {_said(run)}")
    return run


def _disturbed(
    run: Path,
    data: Path,
    loss: str,
    count: int,
    kills: int,
    counts: Counter[str],
    rng: random.Random,
) -> None:
    """Train to the end, through kills as long as any are left."""
    while True:
        children = _started(run, data, loss, count)
        kill = counts["kills"] < kills
        if kill:
            time.sleep(rng.uniform(0, LONGEST * count))
            os.kill(rng.choice(children), signal.SIGKILL)
        codes = processes.codes(children, ASK if kill else processes.SECONDS)
        if -signal.SIGKILL not in codes:
            if any(codes):
                raise SystemExit(f"--resume failed after {counts['kills']} kills: {_said(run)}")
            return
        if "Traceback" in _said(run) or _said(run).count(LOST) != codes.count(1):
            raise SystemExit(f"{run.name}: the others ended with {codes}: {_said(run)}")
        counts["kills"] += 1
        counts["torn"] += bool(list(run.glob("*.part")))
        counts["early"] += not (run / "checkpoint.pt").exists()


def _started(run: Path, data: Path, loss: str, count: int) -> list[int]:
    """Start or go on with a run in processes of its own; return their numbers."""
    words = ["train", str(run.parent / "tiny.cfg"), str(data), "--loss", loss, "--save-every", "1"]
    words += ["--project", str(run.parent), "--name", run.name, "--val-every", "63"]
    words += ["--workers", "0"]
    if (run / "checkpoint.pt").exists():
        words.append("--resume")
    else:
        shutil.rmtree(run, ignore_errors=True)  # nothing to go on with
    return processes.start(words, count, run.parent / f"{run.name}-said")


def _said(run: Path) -> str:
    """Return what the processes of a run wrote to standard error."""
    return "".join(path.read_text() for path in run.parent.glob(f"{run.name}-said.*.err"))


def _checkpoint(run: Path) -> dict[str, Any]:
    return torch.load(run / "checkpoint.pt", weights_only=True)


def _bytes(run: Path, name: str) -> bytes:
    return (run / name).read_bytes()


def _same(a: Any, b: Any) -> bool:
    """Compare bit for bit, but for how long things took."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        keys = a.keys() - {"seconds"}
        return keys == b.keys() - {"seconds"} and all(_same(a[key], b[key]) for key in keys)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


if __name__ == "__main__":
    sys.exit(main())
