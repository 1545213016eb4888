"""Time a training step beside busy processes, for several settings of OpenMP.

python tools/bench_busy.py                         the settings to choose from, alone and in company
python tools/bench_busy.py --settings one two      only these
python tools/bench_busy.py --task detect           the network's forward pass in torch instead

Each measurement is a process of its own, as OpenMP reads its environment once. It does some steps,
alone (busy 0) or beside so many processes that compute without pause, which this tool starts and
ends. Settings take turns; the figures are medians of all steps, ratios are to one thread in the
same company and to two threads with nothing set, alone.
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
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bars import row, show

from ghostyolo.runtime.threads import share_processors

# Threads, and the environment.
SETTINGS: dict[str, tuple[int, dict[str, str]]] = {
    "one": (1, {}),
    "two": (2, {}),
    "chosen": (2, {}),  # what `train` chooses by the load
    "passive": (2, {"OMP_WAIT_POLICY": "passive"}),
    "spin0": (2, {"GOMP_SPINCOUNT": "0"}),
    "spin1000": (2, {"GOMP_SPINCOUNT": "1000"}),
    "spin10000": (2, {"GOMP_SPINCOUNT": "10000"}),
    "spin30000": (2, {"GOMP_SPINCOUNT": "30000"}),
    "spin100000": (2, {"GOMP_SPINCOUNT": "100000"}),
    "bound": (2, {"OMP_PROC_BIND": "true"}),
}
VARIABLES = ("OMP_", "GOMP_", "KMP_", "MKL_")
BUSY_BAR, QUIET_BAR = 1.5, 1.05
CLASSES, WARM = 6, 2


def main() -> int:
    """Print the table; return 1 if a ratio exceeds its limit."""
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    p.add_argument("--busy", type=int, nargs="+", default=[0, 2], help="processes beside it (0 2)")
    p.add_argument("--task", choices=TASKS, default="train", help="what is timed (train)")
    p.add_argument("--rounds", type=int, default=3, help="processes of each setting (3)")
    p.add_argument("--steps", type=int, default=6, help="that a process times (6)")
    p.add_argument("--batch", type=int, default=4, help="pictures of a step (4)")
    p.add_argument("--width", type=float, default=1.0, help="of the detector (1.0)")
    p.add_argument("--size", type=int, default=320, help="of the input, in pixels (320)")
    p.add_argument("--json", action="store_true", help="print JSON for programs")
    p.add_argument("--worker", type=int, metavar="THREADS", help=argparse.SUPPRESS)
    p.add_argument("--chosen", action="store_true", help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.chosen:
        share_processors()
    if args.worker:
        print(*TASKS[args.task](args))
        return 0
    return show(list(rows(measured(args))), as_json=args.json)


def measured(args: argparse.Namespace) -> dict[tuple[str, int], float]:
    """Return the median seconds of a step of each setting beside each number of processes."""
    times: dict[tuple[str, int], list[float]] = {}
    for _ in range(args.rounds):
        for busy in args.busy:
            for name in args.settings:
                with company(busy):
                    times.setdefault((name, busy), []).extend(worker(name))
    return {key: statistics.median(values) for key, values in times.items()}


def rows(times: dict[tuple[str, int], float]) -> Iterator[dict[str, Any]]:
    """Yield the rows of the table."""
    for (name, busy), seconds in times.items():
        yield row(f"{name}, beside {busy}", 1000 * seconds, "ms")
        against, bar = ("one", BUSY_BAR) if busy else ("two", QUIET_BAR)
        if name not in ("one", "two") and (against, busy) in times:
            yield row(
                f"{name}, beside {busy}, over {against}", seconds / times[against, busy], "x", bar
            )


@contextmanager
def company(count: int) -> Iterator[None]:
    """Keep so many processes of one thread busy meanwhile."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for each in others:
            each.kill()
            each.wait()


def worker(name: str) -> list[float]:
    """Run this program as a worker with a setting, and return the seconds of its steps."""
    threads, variables = SETTINGS[name]
    clean = {key: value for key, value in os.environ.items() if not key.startswith(VARIABLES)}
    command = [sys.executable, __file__, *sys.argv[1:], "--worker", str(threads)]
    command += ["--chosen"] if name == "chosen" else []
    done = subprocess.run(command, env={**clean, **variables}, stdout=subprocess.PIPE, check=True)
    return [float(word) for word in done.stdout.split()]


def train(args: argparse.Namespace) -> list[float]:
    """Return the seconds of updates as `train` does them, without preparing pictures."""
    import torch
    from bench_train import step

    from ghostyolo.augment.batches import Batches
    from ghostyolo.data import open_dataset
    from ghostyolo.network import passes
    from ghostyolo.sample_data.painter import write_dataset
    from ghostyolo.training import allocator
    from ghostyolo.training.config import TrainConfig
    from ghostyolo.training.state import initial_state
    from ghostyolo.zoo.ghostnet import GhostNet
    from ghostyolo.zoo.networks import detector

    torch.set_num_threads(args.worker)
    allocator.keep_freed()
    network = detector(GhostNet(width=args.width), classes=CLASSES, size=(args.size, args.size))
    network = passes.rebuild(network, options=network.options.changed(batch=args.batch))
    with tempfile.TemporaryDirectory() as folder:
        data = open_dataset(write_dataset(Path(folder) / "data", {"train": 4 * args.batch}))
        config = TrainConfig(network, data, None, Path(folder) / "run", workers=0)
        state = initial_state(config)
        held = Batches(
            config.train, config.augmentation, config.batch, network.options.size, workers=0
        ).batch_at(0)
        return timed(lambda: step(state, held, config), args.steps)


def detect(args: argparse.Namespace) -> list[float]:
    """Return the seconds of forward passes in torch, as `detect` does them."""
    import numpy as np

    from ghostyolo.inference.choice import open_runtime
    from ghostyolo.zoo.ghostnet import GhostNet
    from ghostyolo.zoo.networks import detector

    network = detector(GhostNet(width=args.width), classes=CLASSES, size=(args.size, args.size))
    runtime = open_runtime(
        network, None, name="torch", batch=args.batch, threads=args.worker, device="cpu"
    )
    images = np.random.default_rng(0).random((args.batch, *network.options.shape), np.float32)
    return timed(lambda: runtime.run(images), args.steps)


def timed(call: Callable[[], object], count: int) -> list[float]:
    """Return the seconds of each call, after a few."""
    seconds = []
    for _ in range(WARM + count):
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return seconds[WARM:]


TASKS: dict[str, Callable[[argparse.Namespace], list[float]]] = {"train": train, "detect": detect}

if __name__ == "__main__":
    raise SystemExit(main())
