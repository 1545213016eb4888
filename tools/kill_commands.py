"""Kill detect, export and data at random moments, and fill the disk that they and train write to.

python tools/kill_commands.py [--trials 50]. After each trial every file that has its final name is
whole, and the inputs are unchanged; the same command then succeeds and leaves nothing else. Every
other kill is a SIGTERM, after which nothing half written is left either.
`kill_runs.py` kills train. Full disks are file systems that root mounts, or a limit of the size of
files. Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np
import torch
import torch._dynamo

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from ghostyolo import cli
from ghostyolo.inference import choice  # noqa: F401 (else each child would import them)
from ghostyolo.jobs import export  # noqa: F401
from ghostyolo.training import run  # noqa: F401
from support import tiny

FRAMES, TRACEBACK = 40, 3
# The files that are not the same each time: with times, dates, or rounding of the threads.
VARYING = ("report.html", "results.csv", "checkpoint.pt", "curve.png", "run.json", ".onnx")
KILLED = ("detect", "export", "data")
TEMPORARY = re.compile(r"\.(part|lock)(\.|$)")
Files = dict[str, bytes]


def main() -> int:
    """Print how many trials of which sort there were; return 1 if a file is half written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=50, help="kills, and as many full disks (50)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and sizes (0)")
    args = parser.parse_args()
    torch.set_num_threads(1)  # a process with threads must not fork
    with tempfile.TemporaryDirectory(prefix="kill_commands.") as folder:
        counts = _tried(Path(folder), args.trials, random.Random(args.seed))
    print(", ".join(f"{count} {what}" for what, count in counts.most_common()))
    return 0


def _tried(folder: Path, trials: int, rng: random.Random) -> Counter[str]:
    """Kill and fill in turns; return how many trials of which sort there were."""
    inputs, counts = _inputs(folder), Counter[str]()
    before = _files(folder)
    whole = cache(partial(_whole, folder, inputs))
    for trial in range(trials):
        name = KILLED[trial % len(KILLED)]
        seconds, made = whole(name)
        ending = (signal.SIGKILL, signal.SIGTERM)[trial // len(KILLED) % 2]
        moment = rng.uniform(0, seconds)
        counts[_killed(folder / "out", inputs[name], made, moment, ending)] += 1
        name = (*KILLED, "train")[trial % 4]
        counts[_full(folder / "out", inputs[name], whole(name)[1], rng)] += 1
        if _files(folder) != before:
            raise SystemExit(f"{name} changed its inputs, or left files elsewhere")
    return counts


def _inputs(folder: Path) -> dict[str, list[str]]:
    """Write a data set, a cfg, weights and a video; return the words of each command."""
    data, cfg = tiny.pictures(folder / "shapes"), tiny.write(folder)
    weights = tiny.eager_weights(folder)
    video, rng = folder / "x.mp4", np.random.default_rng(0)
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"mp4v"), 10, (128, 96))
    for _ in range(FRAMES):
        writer.write(rng.integers(0, 256, (96, 128, 3)).astype(np.uint8))
    writer.release()
    model, out = [str(cfg), str(weights)], str(folder / "out")
    detect = [*model, str(video), str(data / "JPEGImages"), "--runtime", "torch", "--out", out]
    train = [str(cfg), str(data), "--workers", "0", "--project", str(folder), "--name", "out"]
    return {
        "detect": ["detect", *detect],
        "export": ["export", *model, f"{out}/x.onnx"],
        "data": ["data", str(data), "--sheet", f"{out}/sheet.jpg"],
        "train": ["train", *train, "--save-every", "1", "--val-split", "none"],
    }


def _files(folder: Path) -> Files:
    """Return the files in a folder but out, by path."""
    found = (path for path in folder.rglob("*") if path.is_file())
    names = {str(path.relative_to(folder)): path for path in found}
    return {name: path.read_bytes() for name, path in names.items() if name[:4] != "out/"}


def _whole(folder: Path, inputs: dict[str, list[str]], name: str) -> tuple[float, Files]:
    """Return the seconds and the files of a command that nothing disturbs, at its second call."""
    out = folder / "out"
    for _ in range(2):
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        start = time.monotonic()
        if _waited(_child(inputs[name])):
            raise SystemExit(f"{name} failed, though nothing disturbed it")
        seconds = time.monotonic() - start
    made = _files(out)
    shutil.rmtree(out)
    return seconds, made


def _killed(
    out: Path, words: list[str], whole: Files, seconds: float, ending: signal.Signals
) -> str:
    """Send a command a signal after some time, check what it left, and call it again."""
    out.mkdir()
    child = _child(words)
    time.sleep(seconds)
    os.kill(child, ending)
    killed = _waited(child) not in (0, 1)
    if ending == signal.SIGTERM:
        _check_none_left(out, words, ending.name)
    _check(out, words, whole, ending.name)
    if words[0] == "detect":
        shutil.rmtree(out)  # which must be empty
        out.mkdir()
    if _waited(_child(words)) or _files(out).keys() != whole.keys():
        raise SystemExit(f"{words[0]} failed after a kill, or left {sorted(_files(out))}")
    _check(out, words, whole, "a second call")
    shutil.rmtree(out)
    return f"{ending.name} to {words[0]}" if killed else "signals that came too late"


def _full(out: Path, words: list[str], whole: Files, rng: random.Random) -> str:
    """Call a command whose files find no room, and check what it left."""
    out.mkdir()
    room = rng.randrange(4096, max(8192, sum(map(len, whole.values()))))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", str(out)]
    mounted = not subprocess.run(mount, capture_output=True).returncode
    try:
        status = _waited(_child(words, 0 if mounted else room // 4))
        _check(out, words, whole, "a full disk")
        _check_none_left(out, words, "a full disk")
        if not status and _files(out).keys() != whole.keys():
            raise SystemExit(f"{words[0]} ended well on a full disk, with {sorted(_files(out))}")
    finally:
        if mounted:
            subprocess.run(["umount", str(out)], check=True)
        shutil.rmtree(out)
    return f"full disks of {words[0]}" if status else "disks that were large enough"


def _check_none_left(out: Path, words: list[str], after: str) -> None:
    """Raise SystemExit if there is a file without its final name."""
    if left := list(filter(TEMPORARY.search, _files(out))):
        raise SystemExit(f"{words[0]} left {left} after {after}")


def _check(out: Path, words: list[str], whole: Files, after: str) -> None:
    """Raise SystemExit if a file with its final name is not whole."""
    for name, content in _files(out).items():
        if TEMPORARY.search(name):
            continue
        right = content == whole.get(name)
        if name.endswith(VARYING):
            right = len(content) > 0
        elif name.endswith(".mp4"):
            frames = cv2.VideoCapture(str(out / name)).get(cv2.CAP_PROP_FRAME_COUNT)
            right = frames == FRAMES or (after == signal.SIGTERM.name and frames > 0)
        elif name.endswith(".json") and after == signal.SIGTERM.name:
            rows = json.loads(content)  # those until then
            right = rows == json.loads(whole[name])[: len(rows)]
        elif words[0] == "train":
            right = name in whole  # of an earlier update
        if not right:
            raise SystemExit(f"{words[0]}: {name} is not whole after {after}")


def _child(words: list[str], largest: int = 0) -> int:
    """Start a command in a process of its own; return its number. largest: size of its files."""
    child = os.fork()
    if child:
        return child
    if largest:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    if "KILL_RUNS_SHOW" not in os.environ:
        os.dup2(null, 2)
    try:
        os._exit(cli.main(words))
    finally:
        os._exit(TRACEBACK)


def _waited(child: int) -> int:
    """Return the exit code of a process, below 0 if a signal ended it."""
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in (0, 1, -signal.SIGKILL, -signal.SIGTERM, cli.SIGNALLED + signal.SIGTERM):
        raise SystemExit(f"a command ended with code {code}")
    return code


if __name__ == "__main__":
    sys.exit(main())
