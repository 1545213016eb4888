"""Time a training step against its floor, and whole training against another trainer.

python tools/bench_train.py                                   the parts of a step
python tools/bench_train.py --peer PEER/bin/python            and pictures a second beside a peer

PEER/bin/python: of an environment of its own in which ultralytics is installed; it trains
yolov8n-ghost at its defaults on the same painted pictures. Runs take turns, ratios are of medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bars import row, show

from ghostyolo.augment.batches import Batches
from ghostyolo.data import Dataset, open_dataset
from ghostyolo.distributed import World
from ghostyolo.network import passes
from ghostyolo.sample_data.painter import write_dataset
from ghostyolo.training import allocator
from ghostyolo.training.config import TrainConfig
from ghostyolo.training.gradient import gradient, update_config
from ghostyolo.training.loop import fit
from ghostyolo.training.observers import Observer
from ghostyolo.training.state import State, initial_state, set_learning_rate
from ghostyolo.zoo.ghostnet import GhostNet
from ghostyolo.zoo.networks import detector

PICTURES, CLASSES = 208, 6
LOSS_BAR, STEP_BAR, PEER_BAR = 1.10, 1.20, 1.20
PEER = """
import sys, time
from ultralytics import YOLO
data, size, batch, epochs = sys.argv[1], *map(int, sys.argv[2:])
ends = []
model = YOLO("yolov8n-ghost.yaml")
model.add_callback("on_train_epoch_end", lambda trainer: ends.append(time.monotonic()))
model.train(data=data, imgsz=size, epochs=epochs, batch=batch, device="cpu", pretrained=False,
            val=False, save=False, plots=False, verbose=False, project=sys.argv[1] + ".runs")
print("SECONDS", *(b - a for a, b in zip(ends, ends[1:])))
"""


def main() -> int:
    """Print the table; return 1 when a ratio is on the wrong side of its bar."""
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--size", type=int, default=320, help="of the input, in pixels (320)")
    p.add_argument("--batch", type=int, default=16, help="pictures of a step (16)")
    p.add_argument("--width", type=float, default=1.0, help="of the detector (1.0)")
    p.add_argument("--steps", type=int, default=24, help="of each kind (24)")
    p.add_argument("--workers", type=int, default=1, help="processes that prepare pictures (1)")
    p.add_argument("--peer", metavar="PYTHON", help="that has ultralytics")
    p.add_argument("--json", action="store_true", help="print JSON for programs")
    args = p.parse_args()
    allocator.keep_freed()  # as `train` does
    with tempfile.TemporaryDirectory() as folder:
        config = configured(Path(folder), args)
        rows = parts_of_a_step(config, args)
        if args.peer:
            rows += beside_a_peer(config, Path(folder), args)
    return show(rows, as_json=args.json)


def configured(folder: Path, args: argparse.Namespace) -> TrainConfig:
    """Paint pictures and return a run of the default detector on them."""
    data = open_dataset(write_dataset(folder / "data", {"train": PICTURES}, size=(480, 640)))
    network = detector(GhostNet(width=args.width), classes=CLASSES, size=(args.size, args.size))
    network = passes.rebuild(network, options=network.options.changed(batch=args.batch))
    return TrainConfig(network, data, None, folder / "run", workers=args.workers)


def parts_of_a_step(config: TrainConfig, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Time the bare network, then with loss and update, then with the loader, in turns."""
    state = initial_state(config)
    size = config.network.options.size
    batches = Batches(config.train, config.augmentation, config.batch, size, workers=config.workers)
    held = batches.batch_at(0)
    loaded = batches.iterate(1, 1 << 30)
    kinds: dict[str, Callable[[], object]] = {
        "bare": lambda: bare(state, held[0]),
        "held": lambda: step(state, held, config),
        "whole": lambda: step(state, next(loaded), config),
    }
    times = in_turns(kinds, args.steps)
    median = {name: statistics.median(values) for name, values in times.items()}
    return [
        row("forward and backward of the bare network", median["bare"], "s"),
        row("the same with loss and update", median["held"] / median["bare"], "x", LOSS_BAR),
        row("the whole step, pictures included", median["whole"] / median["bare"], "x", STEP_BAR),
        row("pictures a second", config.batch / median["whole"], "1/s"),
    ]


def bare(state: State, images: torch.Tensor) -> None:
    """Run the network forward and back, with nothing of training around it."""
    state.optimizer.zero_grad(set_to_none=True)
    model = state.model
    x = images.to(memory_format=torch.channels_last)
    raw = frozenset(node.inputs[0] for node, _ in model.heads)
    outputs = model.run(x, raw)
    torch.autograd.backward(
        list(outputs.values()), [torch.full_like(y, 1e-6) for y in outputs.values()]
    )


def step(state: State, batch: tuple[torch.Tensor, torch.Tensor], config: TrainConfig) -> None:
    """Do one update as `train` does."""
    set_learning_rate(state, config.network.options)
    state.advance(gradient(state, *batch, update_config(config, World())))


def in_turns(kinds: dict[str, Callable[[], object]], steps: int) -> dict[str, list[float]]:
    """Time each kind in turn, so that what else the machine does meets all of them."""
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for count, (name, call) in zip(range(steps * len(kinds)), cycle(kinds.items())):
        begin = time.perf_counter()
        call()
        if count >= 2 * len(kinds):  # the first two of each warm up
            times[name].append(time.perf_counter() - begin)
    return times


def beside_a_peer(
    config: TrainConfig, folder: Path, args: argparse.Namespace
) -> list[dict[str, Any]]:
    """Train epochs of both in turns and compare pictures a second."""
    yaml = yolo_layout({"train": config.train, "val": config.train}, folder / "yolo")
    ours, theirs = [], []
    for _ in range(2):
        theirs += peer_epochs(args.peer, yaml, args)
        ours += own_epochs(config)
    count = len(config.train)
    mine, other = (count / statistics.median(seconds) for seconds in (ours, theirs))
    return [
        row("pictures a second, training", mine, "1/s"),
        row("the peer's", other, "1/s"),
        row("ours over the peer's", mine / other, "x", PEER_BAR, at_least=True),
    ]


def own_epochs(config: TrainConfig) -> list[float]:
    """Return the seconds of two epochs, after one to warm up."""
    epoch = len(config.train) // config.batch
    options = config.network.options.changed(max_batches=3 * epoch)
    network = passes.rebuild(config.network, options=options)
    ends: list[float] = []

    class Clock(Observer):
        def updated(self, state: State, *_: object) -> None:
            if state.iteration % epoch == 0:
                ends.append(time.monotonic())

    with tempfile.TemporaryDirectory() as folder:
        fit(replace(config, network=network, folder=Path(folder) / "run"), Clock())
    return [b - a for a, b in zip(ends, ends[1:], strict=False)]


def peer_epochs(python: str, yaml: Path, args: argparse.Namespace) -> list[float]:
    """Return the seconds of the peer's two epochs after the first."""
    words = [python, "-c", PEER, str(yaml), str(args.size), str(args.batch), "3"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=yaml.parent)
    lines = [line for line in done.stdout.splitlines() if line.startswith("SECONDS")]
    if done.returncode or not lines:
        raise SystemExit(f"the peer failed:\n{done.stderr[-2000:]}")
    return [float(word) for word in lines[-1].split()[1:]]


def yolo_layout(sets: dict[str, Dataset], folder: Path) -> Path:
    """Write labels and links to pictures as YOLO's readers want them; return the .yaml."""
    for split, dataset in sets.items():
        for name in ("images", "labels"):
            (folder / split / name).mkdir(parents=True, exist_ok=True)
        for sample in dataset.samples:
            picture = Path(sample.path)
            link = folder / split / "images" / picture.name
            if not link.is_symlink():
                link.symlink_to(picture.resolve())
            label = folder / split / "labels" / f"{picture.stem}.txt"
            label.write_text("".join(lines_of(sample)))
    names = dict(enumerate(next(iter(sets.values())).names))
    pictures = {split: f"{split}/images" for split in sets}
    yaml = folder / "data.yaml"
    yaml.write_text(json.dumps({"path": str(folder.resolve()), **pictures, "names": names}))
    return yaml


def lines_of(sample: Any) -> Iterator[str]:
    h, w = sample.size
    for (x1, y1, x2, y2), cls in zip(sample.boxes_xyxy_px.tolist(), sample.classes, strict=True):
        centre = (x1 + x2) / 2 / w, (y1 + y2) / 2 / h
        yield " ".join(map(str, (cls, *centre, (x2 - x1) / w, (y2 - y1) / h))) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
