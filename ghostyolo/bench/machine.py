"""The rates of this machine: multiply-adds and bytes per second, and the time of a small call."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from ghostyolo.files import cache_folder, replace
from ghostyolo.network.cost import Machine

Clock = Callable[[], float]
SIDE = 1024  # of the matrices that are multiplied
COPIED = 1 << 24  # floats, 64 MB: beyond the caches
SMALL = 4  # channels, height and width of feature maps whose arithmetic takes no time
SECONDS = 0.3  # for each of the three measures


def machine(path: Path | None = None, *, fresh: bool = False) -> Machine:
    """Return the rates of this machine from the cache; measure them if they are missing or `fresh`.

    path: the cache, by default ghostyolo/machine.json among the user's caches.
    Raises `OptionError` if the cache cannot be written.
    """
    path = path or cache_path()
    known = _read(path)
    own = f"{platform.node()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    if own not in known or fresh:
        known[own] = asdict(measure())
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, [json.dumps(known, indent=1).encode()])
    return Machine(**known[own])


def measure(seconds: float = SECONDS, clock: Clock = time.perf_counter) -> Machine:
    """Measure a matrix product, a copy and a small call in torch: each the fastest of many calls.

    seconds: for each of the three. clock: `time.thread_time` leaves out the time that other
    programs take, if torch computes on one thread.
    """
    a, b = torch.ones(SIDE, SIDE), torch.ones(SIDE, SIDE)
    source, target = torch.ones(COPIED), torch.empty(COPIED)
    c, small = torch.empty(SIDE, SIDE), torch.ones(1, SMALL, SMALL, SMALL)
    kernel = torch.ones(SMALL, SMALL, 1, 1)
    with torch.inference_mode():
        product = _least(lambda: torch.mm(a, b, out=c), seconds, clock)
        copy = _least(lambda: target.copy_(source), seconds, clock)
        call = _least(lambda: torch.conv2d(small, kernel), seconds / 10, clock)
    return Machine(SIDE**3 / product, 2 * source.nbytes / copy, call)


def best(one: Machine, other: Machine) -> Machine:
    """Return the higher rates of two measurements: other load slows the machine at times."""
    return Machine(
        macs_per_s=max(one.macs_per_s, other.macs_per_s),
        bytes_per_s=max(one.bytes_per_s, other.bytes_per_s),
        call_s=min(one.call_s, other.call_s),
    )


def cache_path() -> Path:
    """Return the file of the cache."""
    return cache_folder() / "machine.json"


def _least(call: Callable[[], object], seconds: float, clock: Clock) -> float:
    """Return the least time of a call; call until the time is over, at least three times."""
    least, start, calls = float("inf"), time.perf_counter(), 0
    while calls < 3 or time.perf_counter() - start < seconds:
        begin = clock()
        call()
        least = min(least, clock() - begin)
        calls += 1
    return least


def _read(path: Path) -> dict[str, dict[str, float]]:
    """Return the contents of the cache; a damaged one counts as empty."""
    try:
        known = json.loads(path.read_text())
        return {name: asdict(Machine(**rates)) for name, rates in known.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
