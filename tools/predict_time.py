"""Compare predicted with measured times: tools/predict_time.py [CFG ...] [--plot FILE] [--json].

Each network runs single-threaded on one picture. The best of some runs is compared with the time
that `ghostyolo info --cost` predicts from this machine's rates, which are measured in the same
process. Prints both times, their ratio and the rank correlation over all networks, and plots them.
Without CFG: classifiers of the families, GhostNet's detectors, and the published cfgs that
tests/support/published.py finds, three of them also ghostified. Times are CPU times of the thread,
so the CPU time of other programs does not count; but their use of caches and memory slows it down:
run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ghostyolo.bench import machine
from ghostyolo.errors import Findings
from ghostyolo.ghostify import ghostify
from ghostyolo.model.model import Model
from ghostyolo.network import Network, info, load, passes
from ghostyolo.network.cost import Machine
from ghostyolo.zoo import networks as recipes
from ghostyolo.zoo.ghostnet import GhostNet
from ghostyolo.zoo.mobilenet import MobileNetV1, MobileNetV2
from ghostyolo.zoo.mobilenetv3 import MobileNetV3
from ghostyolo.zoo.resnet import ResNet
from ghostyolo.zoo.shufflenet import ShuffleNetV1, ShuffleNetV2
from ghostyolo.zoo.squeezenet import SqueezeNet
from support import published

FAMILIES = {
    "SqueezeNet 1.1": SqueezeNet("1.1"),
    "MobileNetV1": MobileNetV1(),
    "MobileNetV1 0.5": MobileNetV1(0.5),
    "MobileNetV2": MobileNetV2(),
    "MobileNetV3-small": MobileNetV3(variant="small"),
    "MobileNetV3-large": MobileNetV3(variant="large"),
    "ShuffleNetV1, 3 groups": ShuffleNetV1(),
    "ShuffleNetV2": ShuffleNetV2(),
    "ResNet-18": ResNet(18),
    "ResNet-50": ResNet(50),
    "GhostNet 0.5": GhostNet(0.5),
    "GhostNet": GhostNet(),
    "GhostNet 1.3": GhostNet(1.3),
}
DETECTORS = ("0.5-voc", "1.0-voc", "1.3-voc")
PUBLISHED = ("tiny", "darknet19", "yolov3-tiny", "yolov4-tiny", "yolov7-tiny", "efficientnet_b0")
GHOSTLY = ("darknet19", "yolov3-tiny", "yolov4-tiny")
SIDE = 224  # pixels of every input, a multiple of every stride


class Timing(NamedTuple):
    """A network's predicted and measured time for one picture, in seconds."""

    name: str
    predicted: float
    measured: float


def main() -> int:
    """Measure, print the table, and with --plot draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cfg", nargs="*", metavar="CFG")
    parser.add_argument(
        "--runs", type=int, default=10, help="number of runs of each network; the best counts (10)"
    )
    parser.add_argument("--plot", metavar="FILE", help="draw predicted against measured, a .png")
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rates = machine.measure(clock=time.thread_time)
    rows = [timing(name, network, rates, args.runs) for name, network in networks(args.cfg)]
    rank = spearman([row.predicted for row in rows], [row.measured for row in rows])
    if args.plot:
        plot(args.plot, rows, rates, rank)
    if args.json:
        print(json.dumps({"rank": rank, "rows": [row._asdict() for row in rows]}))
        return 0
    print(f"{'network':<28} {'predicted':>10} {'measured':>10} {'ratio':>6}")
    for row in sorted(rows, key=lambda row: row.measured):
        times = f"{row.predicted * 1e3:>7.1f} ms {row.measured * 1e3:>7.1f} ms"
        print(f"{row.name:<28} {times} {row.measured / row.predicted:>6.2f}")
    print(f"rank correlation {rank:.3f} over {len(rows)} networks; {words(rates)}")
    return 0


def networks(paths: list[str]) -> Iterator[tuple[str, Network]]:
    """Yield the networks to be timed, small enough to be quick."""
    own = [Path(path) for path in paths]
    if not own:
        for name, family in FAMILIES.items():
            yield name, recipes.classifier(family, size=(SIDE, SIDE))
        own = [ROOT / f"cfg/ghostnet-{name}.cfg" for name in DETECTORS]
        own += [published.CFGS.path / f"cfg/{name}.cfg" for name in PUBLISHED]
    for path in filter(Path.exists, own):
        network = load(path, findings=Findings(quiet=True, compat=True))
        network = passes.resize(network, (SIDE, SIDE))
        yield path.stem, network
        if path.stem in GHOSTLY:
            yield f"{path.stem}, ghostified", ghostify(network).network


def timing(name: str, network: Network, rates: Machine, runs: int) -> Timing:
    """Predict and measure one network."""
    predicted = info.totals(info.rows(network, rates)).seconds
    model = Model(network).eval()
    x, taken = torch.rand(1, *network.options.shape), []
    with torch.inference_mode():
        for _ in range(runs + 1):
            start = time.thread_time()
            model(x)
            taken.append(time.thread_time() - start)
    return Timing(name, predicted or 0.0, min(taken[1:]))


def spearman(a: list[float], b: list[float]) -> float:
    """Return the rank correlation of two lists without ties."""
    ranks = [np.argsort(np.argsort(values)) for values in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


def words(rates: Machine) -> str:
    """Return the machine's rates in words."""
    return (
        f"{rates.macs_per_s / 1e9:.1f} G multiply-adds/s, {rates.bytes_per_s / 1e9:.1f} GB/s, "
        f"{rates.call_s * 1e6:.1f} us a call"
    )


def plot(path: str, rows: list[Timing], rates: Machine, rank: float) -> None:
    """Draw measured over predicted time, both logarithmic, each network by its number."""
    figure = Figure(figsize=(8.4, 5.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    low = min(min(row.predicted, row.measured) for row in rows) * 1e3 / 1.3
    high = max(max(row.predicted, row.measured) for row in rows) * 1e3 * 1.3
    axes.plot([low, high], [low, high], color="0.7", linewidth=1)
    for number, row in enumerate(sorted(rows, key=lambda row: row.measured), start=1):
        x, y = row.predicted * 1e3, row.measured * 1e3
        label = f"{number} {row.name}"
        axes.scatter(x, y, s=90, color="tab:blue", alpha=0.85, label=label, zorder=3)
        axes.annotate(
            str(number), (x, y), ha="center", va="center", fontsize=6, color="white", zorder=4
        )
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.set_xlabel("predicted, ms")
    axes.set_ylabel("measured, ms")
    axes.set_title(f"rank correlation {rank:.2f}\n{words(rates)}", fontsize=9)
    axes.grid(which="both", color="0.93", linewidth=0.6)
    axes.legend(
        loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=8, frameon=False, markerscale=0
    )
    figure.savefig(path)


if __name__ == "__main__":
    sys.exit(main())
