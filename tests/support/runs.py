"""Runs on the tiny network, and how tests compare them."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ghostyolo.data import open_dataset
from ghostyolo.network import loads
from ghostyolo.training.config import TrainConfig
from ghostyolo.training.observers import Observer
from ghostyolo.training.state import State
from support import ROOT, tiny

# Mosaics, and sizes that change at iterations 10, 20, 30 ...
RESUMABLE = tiny.CFG.replace(
    "max_batches=4", "max_batches=135\nmosaic=1\nmixup=1\nblur=1\ngaussian_noise=1"
)
RESUMABLE = RESUMABLE.replace("jitter=.2", "jitter=.2\nrandom=1")


def variables() -> dict[str, str]:
    """Return the environment of a process that is to run this checkout, on this OpenCV."""
    paths = [str(ROOT), str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


class Silent(Observer):
    """Records what it is told; may stop a run after an update."""

    def __init__(self, stop_after: int = 0) -> None:
        self.stop_after = stop_after
        self.losses: list[float] = []
        self.rates: list[float] = []
        self.rows: list[dict[str, float]] = []

    def updated(self, state: State, learning_rate: float, images_per_second: float) -> None:
        self.losses.append(state.loss)
        self.rates.append(learning_rate)
        assert images_per_second > 0
        if state.iteration == self.stop_after:
            raise KeyboardInterrupt

    def validated(self, row: dict[str, float]) -> None:
        self.rows.append(row)


def configured(data: Path, folder: Path, text: str = tiny.CFG, **values: Any) -> TrainConfig:
    """Return the configuration of a run on the pictures in `data`, without validation."""
    settings: dict[str, Any] = {
        "network": loads(text, path="x.cfg"),
        "train": open_dataset(data, "train"),
        "val": None,
        "folder": folder,
        "loss": "darknet",
    }
    return TrainConfig(**{**settings, **values})


def resumable(data: Path, folder: Path, loss: str) -> TrainConfig:
    """Return the configuration of a run that is to be left and resumed, by one of the losses."""
    return configured(data, folder, RESUMABLE, loss=loss, save_every=5)


def same(a: Any, b: Any) -> bool:
    """Return whether two contents of checkpoints are equal bit for bit, but for the seconds."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        keys = a.keys() - {"seconds"}
        return keys == b.keys() - {"seconds"} and all(same(a[key], b[key]) for key in keys)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or (a != a and b != b)


def checkpoint(folder: Path) -> dict[str, Any]:
    """Return what a run saved."""
    return torch.load(folder / "checkpoint.pt", weights_only=True)


@contextmanager
def no_larger_than(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size, in bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
