"""Time a loss, forward and backward from the heads' inputs, by boxes a picture and classes.

python tools/bench_loss.py                                  against the bars of the modern loss
python tools/bench_loss.py --before FOLDER                  beside other sources of ghostyolo

The heads are those of a network at 416x416 that has not learned. Each measurement is a process of
one thread: CPU seconds are of the faster of two calls, memory is what both add to the peak. The
gradient of the heads alone needs the memory of the last column. FOLDER is a checkout, such as
`git worktree add FOLDER COMMIT` makes; the bar of the classes is then a multiple of its figure for
80 classes. Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, os.environ.get("BENCH_LOSS_SOURCES", str(ROOT)))

import numpy as np
import torch
from bars import row, show
from torch import Tensor

from ghostyolo.layers.yolo import Yolo
from ghostyolo.loss import loss_config
from ghostyolo.loss.base import HeadOutput
from ghostyolo.loss.distillation import distillation_loss

LOSSES = ("modern", "darknet", "distillation")
BOXES, CLASSES = (500, 2_000), (80, 601, 1_203)  # of a picture; of COCO, Open Images and LVIS
CLASSES_BAR, BOXES_BAR = 2.0, 4.0  # most against fewest
SIZE = 416
SLOTS = 3 * (52 * 52 + 26 * 26 + 13 * 13)  # of a picture
ANCHORS = (10, 13, 16, 30, 33, 23, 30, 61, 62, 45, 59, 119, 116, 90, 156, 198, 373, 326)
MEGABYTE = 1 << 20


class Case(NamedTuple):
    """What is measured. boxes: of each picture."""

    loss: str
    boxes: int
    classes: int
    batch: int


class Cost(NamedTuple):
    """CPU seconds of a call, and the growth of the process in MB."""

    seconds: float
    memory: float


def main() -> int:
    """Print the tables; return 1 when a ratio is above its bar."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", metavar="FOLDER", help="sources to compare with")
    parser.add_argument("--loss", choices=LOSSES, nargs="+", default=LOSSES, help="(all)")
    parser.add_argument("--boxes", type=int, nargs="+", default=BOXES, help="(500 2000)")
    parser.add_argument("--classes", type=int, nargs="+", default=CLASSES, help="(80 601 1203)")
    parser.add_argument("--batch", type=int, default=2, help="pictures (2)")
    parser.add_argument("--one", metavar="CASE", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(cost(Case(*json.loads(args.one)))))
        return 0
    print(
        "loss           boxes  classes    CPU s     MB" + "    before      MB" * bool(args.before)
    )
    now, before = {}, {}
    for loss in args.loss:
        for boxes in args.boxes if loss != "distillation" else args.boxes[:1]:
            for classes in args.classes:
                case = Case(loss, boxes, classes, args.batch)
                now[case] = measured(case, ROOT)
                if args.before:
                    before[case] = measured(case, Path(args.before))
                print(line(case, now[case], before.get(case)), flush=True)
    return show(list(ratios(now, before or now, args)), as_json=False)


def line(case: Case, now: Cost, before: Cost | None) -> str:
    """Return a row of the table."""
    text = f"{case.loss:<14}{case.boxes:>6}{case.classes:>9}{now.seconds:>9.3f}{now.memory:>7.0f}"
    if before:
        text += f"{before.seconds:>10.3f}{before.memory:>8.0f}"
        text += f"  {before.seconds / now.seconds:5.1f} x{before.memory / now.memory:5.1f} x"
    gradient = case.batch * SLOTS * (5 + case.classes) * 4 / MEGABYTE
    return f"{text}  gradient {gradient:.0f} MB"


def measured(case: Case, sources: Path) -> Cost:
    """Return the cost of a case in a process of its own."""
    variables = {"BENCH_LOSS_SOURCES": str(sources.resolve()), "OMP_NUM_THREADS": "1"}
    variables["PYTHONPATH"] = ""  # else it may name other sources
    command = [sys.executable, __file__, "--one", json.dumps(case)]
    done = subprocess.run(command, env={**os.environ, **variables}, stdout=-1, check=True)
    return Cost(*json.loads(done.stdout))


def ratios(
    now: dict[Case, Cost], before: dict[Case, Cost], args: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """Yield the rows that have bars."""
    fewest, most = min(args.classes), max(args.classes)
    boxes, many = min(args.boxes), max(args.boxes)
    if "modern" not in args.loss:
        return
    for unit, number in (("time", 0), ("memory", 1)):
        base = before[Case("modern", boxes, fewest, args.batch)][number]
        value = now[Case("modern", boxes, most, args.batch)][number] / base
        whose = f"{fewest}{' before' * (before is not now)}"
        yield row(
            f"{unit} of {most} classes against {whose}, {boxes} boxes", value, "x", CLASSES_BAR
        )
    for classes in args.classes:
        few, lot = (now[Case("modern", n, classes, args.batch)].seconds for n in (boxes, many))
        yield row(
            f"time of {many} boxes against {boxes}, {classes} classes", lot / few, "x", BOXES_BAR
        )


def cost(case: Case) -> Cost:
    """Return the CPU seconds of a loss, forward and backward, and what it adds to the peak."""
    torch.set_num_threads(1)
    call = prepared(case)
    prepared(Case(case.loss, 2, 2, 1))()  # what the first call of torch loads
    before, times = peak(), []
    for _ in range(2):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return Cost(min(times), peak() - before)


def peak() -> float:
    """Return the most memory that the process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MEGABYTE


def prepared(case: Case) -> Callable[[], None]:
    """Return a call of a loss, forward and backward."""
    torch.manual_seed(0)
    own, size = heads(case), (SIZE, SIZE)
    if case.loss == "distillation":
        taught = [(head, raw.detach()) for head, raw in heads(case)]
        total = lambda: distillation_loss(outputs(own), outputs(taught), size).total  # noqa: E731
    else:
        function, rows = loss_config(case.loss).function, truths(case)
        total = lambda: function(outputs(own), rows, size).total  # noqa: E731

    def call() -> None:
        for _, raw in own:
            raw.grad = None
        total().backward()

    return call


def outputs(heads: list[tuple[Yolo, Tensor]]) -> list[HeadOutput]:
    """Return what a loss takes; older sources computed the activated output for every loss."""
    if "output" not in HeadOutput._fields:
        return [HeadOutput(head, raw) for head, raw in heads]
    return [HeadOutput(head, raw, head.module()(raw)) for head, raw in heads]  # type: ignore[call-arg]


def heads(case: Case) -> list[tuple[Yolo, Tensor]]:
    """Return the heads of a network that has not learned, laid out as a convolution does."""
    found = []
    for scale in range(3):
        side, mask = SIZE // (8 << scale), tuple(range(3 * scale, 3 * scale + 3))
        keys = {"iou_loss": "ciou", "iou_thresh": 0.213, "scale_x_y": 1.1, "max": max(BOXES)}
        head = Yolo(mask=mask, anchors=ANCHORS, num=9, classes=case.classes, **keys)
        raw = torch.randn(case.batch, side, side, 3 * (5 + case.classes)).mul_(0.5)
        found.append((head, raw.permute(0, 3, 1, 2).requires_grad_()))
    return found


def truths(case: Case) -> Tensor:
    """Return boxes of 2 to 37 % of the sides, everywhere."""
    rng, number = np.random.default_rng(0), case.batch * case.boxes
    sides = np.exp(rng.uniform(-4, -1, (number, 2)))
    label = rng.integers(0, case.classes, number)
    image = np.arange(number) % case.batch
    return torch.from_numpy(np.column_stack((image, rng.random((number, 2)), sides, label))).float()


if __name__ == "__main__":
    sys.exit(main())
