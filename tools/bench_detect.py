"""Compare the speed of detection with its limits: tools/bench_detect.py [CFG [WEIGHTS]] [--json].

Prints these measurements, made in turns within one run so that other load slows them all alike:
- the time of the torch runtime (folded, channels last) over that of the network as it is trained
  (separate batch norms, NCHW);
- the time of each installed runtime for one input;
- the time of `detect` for each picture of a folder over that of the network alone: with JSON, and
  with annotated JPEGs;
- the growth of memory in one run of the network over the bytes of its weights and of the largest
  set of feature maps that are live at once.
Without CFG it measures the 80-class GhostNet detector at 416x416 with random weights, which detect
nothing. Run it on an idle machine. `ghostyolo bench` measures each runtime by itself, with its
start and memory.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
import torch
from bars import row, show

from ghostyolo import cli
from ghostyolo.bench.worker import peak_bytes
from ghostyolo.inference.choice import open_runtime
from ghostyolo.model.model import Model
from ghostyolo.network import Network, dumps, load
from ghostyolo.network.cost import FLOAT
from ghostyolo.network.liveness import most_numbers
from ghostyolo.runtime.registry import installed_versions
from ghostyolo.sample_data.painter import write_dataset
from ghostyolo.zoo.ghostnet import GhostNet
from ghostyolo.zoo.networks import detector

EAGER_BAR, JSON_BAR, DRAWN_BAR, MEMORY_BAR = 0.6, 1.25, 1.5, 2.0


def main() -> int:
    """Print the table; return 1 if a ratio exceeds its limit."""
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("cfg", nargs="?", metavar="CFG")
    p.add_argument("weights", nargs="?", metavar="WEIGHTS")
    p.add_argument("--pictures", type=int, default=100, help="in the folder (100)")
    p.add_argument("--runs", type=int, default=15, help="of each network (15)")
    p.add_argument("--threads", type=int, default=2, help="that compute (2)")
    p.add_argument("--batch", type=int, default=1, help="of detect (1)")
    p.add_argument("--runtime", default="auto", help="of detect (auto)")
    p.add_argument("--json", action="store_true", help="print JSON for programs")
    args = p.parse_args()
    network = load(args.cfg) if args.cfg else detector(GhostNet(), classes=80, size=(416, 416))
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            *networks(network, args),
            *commands(network, args, Path(folder)),
            memory(network, args),
        ]
    return show(rows, as_json=args.json)


def networks(network: Network, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Time the network as it is, and in every runtime."""
    model = Model(network, args.weights).eval()
    images = np.random.default_rng(0).random((1, *network.options.shape), np.float32)
    x = torch.from_numpy(images)
    opened = {
        name: open_runtime(network, args.weights, name=name, threads=args.threads, device="cpu")
        for name, version in installed_versions().items()
        if version
    }

    def plain() -> object:
        with torch.inference_mode():
            return model(x)

    calls: dict[str, Callable[[], object]] = {"unfolded, NCHW": plain}
    calls.update((n, lambda r=r: r.run(images)) for n, r in opened.items())  # type: ignore[misc]
    times = in_turns(calls, args.runs)
    rows = [row(f"{name}, one input", 1000 * t, "ms") for name, t in times.items()]
    ratio = times["torch"] / times["unfolded, NCHW"]
    return [row("torch, folded, over unfolded NCHW", ratio, "x", EAGER_BAR), *rows]


def commands(network: Network, args: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Time `detect` on a folder, less its start, against the network on as many inputs."""
    weights = args.weights or folder / "x.weights"
    if not args.weights:
        Model(network).save_weights(weights)
    (folder / "x.cfg").write_text(dumps(network))
    data = write_dataset(folder / "data", {"train": args.pictures + 1}, size=(480, 640))
    pictures = sorted((data / "JPEGImages").iterdir())
    words = ["detect", folder / "x.cfg", weights]
    words += [] if args.weights else ["--thresh", "0.9"]  # random ones find thousands of objects
    words += ["--runtime", args.runtime, "--batch", args.batch, "--threads", args.threads]
    shape = (args.batch, *network.options.shape)
    runtime = open_runtime(
        folder / "x.cfg", weights, name=args.runtime, batch=args.batch, threads=args.threads
    )
    images = np.random.default_rng(0).random(shape, np.float32)

    def bare() -> None:
        for _ in range(args.pictures // args.batch):
            runtime.run(images)

    kinds: dict[str, Callable[[], object]] = {
        "bare": bare,
        "start": lambda: detect([*words, pictures[0], "--json"]),
        "json": lambda: detect([*words, *pictures[1:], "--json"]),
        "drawn": lambda: detect([*words, *pictures[1:], "--project", folder / "out"]),
    }
    took = in_turns(kinds, 3, warm=1)
    name = f"detect with {runtime.name}"
    ratios = {kind: (took[kind] - took["start"]) / took["bare"] for kind in ("json", "drawn")}
    return [
        row(f"{name}, JSON, over the network alone", ratios["json"], "x", JSON_BAR),
        row(f"{name}, annotated JPEGs, likewise", ratios["drawn"], "x", DRAWN_BAR),
        row(f"{name}, pictures a second", args.pictures / took["json"], "1/s"),
    ]


def detect(words: list[object]) -> None:
    """Run the command in this process, without its output."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        if cli.main([str(word) for word in words]):
            raise SystemExit("detect failed")


def in_turns(calls: dict[str, Callable[[], object]], runs: int, warm: int = 2) -> dict[str, float]:
    """Return the median seconds of each call, made in turn."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for count, (name, call) in zip(
        range((runs + warm) * len(calls)), cycle(calls.items()), strict=False
    ):
        begin = time.perf_counter()
        call()
        if count >= warm * len(calls):
            times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values) for name, values in times.items()}


def memory(network: Network, args: argparse.Namespace) -> dict[str, Any]:
    """Measure, in a process of its own, the memory that opening and running the network take."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        grown, weights = pool.apply(_grown, (dumps(network), args.weights, args.threads))
    share = grown / (weights + FLOAT * most_numbers(network))
    return row("memory grown, over weights and live maps", share, "x", MEMORY_BAR)


def _grown(text: str, weights: str | None, threads: int) -> tuple[int, int]:
    """Return the growth of this process's peak memory, and the size of the weights, in bytes."""
    from ghostyolo.network import loads
    from ghostyolo.runtime import pytorch  # noqa: F401 - imported before the memory is measured

    network = loads(text)
    torch.set_num_threads(threads)
    torch.conv2d(torch.ones(1, 3, 8, 8), torch.ones(3, 3, 3, 3))
    before = peak_bytes()
    runtime = open_runtime(network, weights, name="torch", threads=threads, device="cpu")
    runtime.run(np.ones((1, *network.options.shape), np.float32))
    grown = peak_bytes() - before
    return grown, FLOAT * sum(p.numel() for p in Model(network).parameters())


if __name__ == "__main__":
    raise SystemExit(main())
