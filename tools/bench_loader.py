"""Time how many training pictures a core prepares, by phase and beside others.

python tools/bench_loader.py                               this program's loader, by phase
python tools/bench_loader.py --before CHECKOUT             and beside an older checkout of it
python tools/bench_loader.py --peer PEER/bin/python        and beside a peer's loader

Painted pictures of 640x480 with noise, JPEGs of about 167 kB as those of COCO are, become mosaics,
or with --mosaic 0 single pictures, at 416 x 416, without worker processes. No decoded pictures are
kept but the window of recent ones, unless a row says so. Each of those compared is a process of one
thread; they take turns with a batch each, and figures are medians of CPU time, so that what else
the machine does meets all of them.

PEER/bin/python: of an environment of its own in which ultralytics is installed; the batches of its
training loader are bytes, so it is compared with ours on their way to a GPU, which are bytes too.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bars import row, show
from bench_train import yolo_layout

from ghostyolo.augment import batches, detection, mosaic
from ghostyolo.data import Sample, images, open_dataset
from ghostyolo.sample_data.painter import write_dataset

BEFORE_BAR, PEER_BAR = 1.8, 1.5
COUNT, NOISE = 600, 12  # pictures, and the standard deviation of the noise in them
OURS = """
import sys, time
import cv2, torch
from ghostyolo.augment import batches
from ghostyolo.augment.detection import Augmentation
from ghostyolo.data import open_dataset
from ghostyolo.training import allocator
folder, size, batch, levels = sys.argv[1], *map(int, sys.argv[2:5])
torch.set_num_threads(1)
cv2.setNumThreads(0)
allocator.keep_freed()  # as `train` does
settings = Augmentation(jitter=.2, flip=True, hue=.1, saturation=1.5, exposure=1.5,
                        mosaic=float(sys.argv[5]), min_visible=.25)
batches.CACHE_BYTES = 0  # the set counts as one that does not fit
made = batches.Batches(open_dataset(folder, "train"), settings, batch, (size, size),
                       cache_bytes=%s, levels=bool(levels))
"""
STEP = """
print("ready", flush=True)
for number, _ in enumerate(sys.stdin):
    begin = time.process_time()
    %s
    print(time.process_time() - begin, flush=True)
"""
OWN_STEP = STEP % "made.batch_at(number)"
PEER = (
    """
import sys, time
import cv2, torch
from ultralytics.cfg import get_cfg
from ultralytics.data.build import build_yolo_dataset
from ultralytics.data.utils import check_det_dataset
yaml, size, batch = sys.argv[1], *map(int, sys.argv[2:4])
torch.set_num_threads(1)
cv2.setNumThreads(0)
options = get_cfg(overrides={"imgsz": size, "mosaic": float(sys.argv[5]), "cache": False})
data = check_det_dataset(yaml)
dataset = build_yolo_dataset(options, data["train"], batch, data, mode="train")
loader = torch.utils.data.DataLoader(dataset, batch, shuffle=True, collate_fn=dataset.collate_fn)
def endless():
    while True:
        yield from loader
made = endless()
"""
    + STEP % 'next(made)["img"]'
)


def main() -> int:
    """Print the table; return 1 when a ratio is on the wrong side of its bar."""
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--pictures", type=Path, help="JPEGs in place of painted ones")
    p.add_argument("--quality", type=int, default=94, help="of the painted JPEGs (94)")
    p.add_argument("--mosaic", type=float, default=1.0, help="probability of a mosaic (1)")
    p.add_argument("--size", type=int, default=416, help="of the input, in pixels (416)")
    p.add_argument("--batch", type=int, default=16, help="pictures of a batch (16)")
    p.add_argument("--steps", type=int, default=30, help="batches of each (30)")
    p.add_argument("--before", metavar="CHECKOUT", help="folder of an older version")
    p.add_argument("--peer", metavar="PYTHON", help="that has ultralytics")
    p.add_argument("--json", action="store_true", help="print JSON for programs")
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        data = painted(Path(temporary) / "data", args)
        rows = phases(data, args) + beside(data, Path(temporary), args)
    return show(rows, as_json=args.json)


def painted(folder: Path, args: argparse.Namespace) -> Path:
    """Paint pictures with noise, or give painted labels to the pictures of a folder."""
    write_dataset(folder, {"train": COUNT}, size=(480, 640))
    rng = np.random.default_rng(0)
    given = sorted(args.pictures.glob("*.jpg")) if args.pictures else []
    for number, path in enumerate(sorted((folder / "JPEGImages").iterdir())):
        if given:
            path.write_bytes(given[number % len(given)].read_bytes())
            continue
        noisy = cv2.imread(str(path)) + rng.normal(0, NOISE, (480, 640, 3))
        quality = [cv2.IMWRITE_JPEG_QUALITY, args.quality]
        cv2.imwrite(str(path), noisy.clip(0, 255).astype(np.uint8), quality)
    return folder


def phases(data: Path, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the CPU time of the parts of a mosaic, in this process."""
    cv2.setNumThreads(0)
    space: dict[str, Any] = {}
    with mock.patch.object(sys, "argv", ["", *words(data, args, levels=0)]):
        exec(OURS % "None", space)
    made, spent = space["made"], dict.fromkeys(("read", "decode", "resize", "colours", "planes"), 0)
    filled = warm_up(args)
    for number in range(filled):
        made.batch_at(number)
    with ExitStack() as stack:
        for name, owner, function in (
            ("read", Sample, "read"),
            ("decode", images, "_rgb"),
            ("resize", mosaic, "cut"),
            ("colours", detection, "recolour"),
            ("planes", batches, "to_planes"),
        ):
            stack.enter_context(timed(owner, function, name, spent))
        begin = time.process_time()
        for number in range(filled, filled + args.steps):
            made.batch_at(number)
        whole = time.process_time() - begin
    spent["read"] -= spent["decode"]
    spent["draws, boxes, copies"] = whole - sum(spent.values())
    pictures = args.steps * args.batch
    return [row(f"a picture: {name}", t / pictures * 1e3, "ms") for name, t in spent.items()]


@contextmanager
def timed(owner: Any, function: str, name: str, spent: dict[str, float]) -> Iterator[None]:
    """Add the CPU time of a function to spent[name]."""
    inner: Callable[..., Any] = getattr(owner, function)

    def outer(*args: Any, **options: Any) -> Any:
        begin = time.process_time()
        try:
            return inner(*args, **options)
        finally:
            spent[name] += time.process_time() - begin

    with mock.patch.object(owner, function, outer):
        yield


def beside(data: Path, folder: Path, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Time whole batches of this program and of those it is compared with, in turns."""
    own = [sys.executable, "-c"]
    recent, kept = (OURS % room + OWN_STEP for room in ("None", "1 << 40"))
    commands = {
        "floats": ([*own, recent, *words(data, args, 0)], ROOT),
        "bytes": ([*own, recent, *words(data, args, 1)], ROOT),
        "bytes, all kept": ([*own, kept, *words(data, args, 1)], ROOT),
    }
    if args.before:
        commands["before"] = ([*own, OURS % "0" + OWN_STEP, *words(data, args, 0)], args.before)
    if args.peer:
        yaml = yolo_layout(open_dataset(data, "train"), folder / "yolo")
        commands["peer"] = ([args.peer, "-c", PEER, *words(yaml, args, 0)], folder)
    seconds = in_turns(commands, warm_up(args), args.steps)
    rate = {name: args.batch / statistics.median(each) for name, each in seconds.items()}
    rows = [row(f"pictures a CPU second: {name}", value, "1/s") for name, value in rate.items()]
    for ours, other, bar in (("floats", "before", BEFORE_BAR), ("bytes", "peer", PEER_BAR)):
        if other in rate:
            name = f"ours ({ours}) over {other}"
            rows.append(row(name, rate[ours] / rate[other], "x", bar, at_least=True))
    return rows


def warm_up(args: argparse.Namespace) -> int:
    """Return the number of batches until every window of recent pictures is full."""
    return 2 + max(batches.RECENT_BATCHES, -(-batches.RECENT_PICTURES // args.batch))


def words(data: Path, args: argparse.Namespace, levels: int) -> list[str]:
    return [str(data), *map(str, (args.size, args.batch, levels, args.mosaic))]


def in_turns(
    commands: dict[str, tuple[list[str], Any]], filled: int, steps: int
) -> dict[str, list[float]]:
    """Start the processes, let each make a batch in turn, and return their CPU seconds.

    filled: the number of batches before the first that counts.
    """
    with ExitStack() as stack:
        running = {}
        for name, (command, folder) in commands.items():
            environment = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
            running[name] = stack.enter_context(
                subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                    env=environment, cwd=folder,
                )
            )  # fmt: skip
            stack.callback(running[name].kill)
            while answer(running[name], name) != "ready":
                pass
        seconds: dict[str, list[float]] = {name: [] for name in running}
        for step in range(filled + steps):
            for name, process in running.items():
                print(file=process.stdin, flush=True)
                if (spent := float(answer(process, name))) and step >= filled:
                    seconds[name].append(spent)
    return seconds


def answer(process: subprocess.Popen[str], name: str) -> str:
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        raise SystemExit(f"{name} failed")
    return line.strip()


if __name__ == "__main__":
    raise SystemExit(main())
