"""What a run is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ghostyolo.data import Dataset
from ghostyolo.layers.yolo import Yolo
from ghostyolo.network import Network, dumps
from ghostyolo.training.precision import dtype_of
from ghostyolo.training.recipe import Recipe
from ghostyolo.training.schedule import input_size
from ghostyolo.training.task import Task, task_of

_SCALES = 3  # which stream of chance; the batches have others


@dataclass(frozen=True)
class Teacher:
    """A trained network whose answers are learned, in place of labels. weights: its file."""

    network: Network
    weights: str

    @cached_property
    def digest(self) -> str:
        """Return what tells the content of the file from any other, in hexadecimal."""
        return hashlib.sha256(Path(self.weights).read_bytes()).hexdigest()


@dataclass(frozen=True)
class TrainConfig:
    """What a run is made of. network: as trained, its `[net]` included.

    folder: where weights, checkpoint and curves go. loss: one of the task's, the usual one without
    a name. val_every, save_every: in iterations; 0 means at the end only. bn_momentum: share of a
    new batch in the running statistics. amp: see `precision.dtype_of`. compile: whether torch
    compiles the forward pass. patience: validations without a better score after which the run
    ends; 0 for never. teacher: see `limits.check_teacher`.
    """

    network: Network
    train: Dataset
    val: Dataset | None
    folder: Path
    loss: str = ""
    seed: int = 0
    workers: int = 0
    device: str = "cpu"
    val_every: int = 0
    save_every: int = 0
    bn_momentum: float = 0.1
    amp: str = "off"
    compile: bool = False
    patience: int = 0
    teacher: Teacher | None = None

    @property
    def iterations(self) -> int:
        """Return the length of the run."""
        return self.network.options.max_batches

    @property
    def batch(self) -> int:
        """Return the pictures of an update."""
        options = self.network.options
        return options.mini_batch * options.subdivisions

    @property
    def subdivisions(self) -> int:
        """Return the forward passes of an update."""
        return self.network.options.subdivisions

    @property
    def task(self) -> Task:
        """Return what is learned, which the network's end says."""
        return task_of(self.network)

    @property
    def recipe(self) -> Recipe:
        """Return what belongs to the loss."""
        return self.task.recipe(self.loss)[1]

    @property
    def checkpoint(self) -> Path:
        """Return the file from which a run goes on."""
        return self.folder / "checkpoint.pt"

    def due(self, iteration: int, every: int) -> bool:
        """Return whether something falls due after an iteration: now and then, and in the end."""
        return iteration == self.iterations or bool(every and iteration % every == 0)

    def settings(self) -> Callable[[int], Any]:
        """Return how pictures are changed as a function of the iteration."""
        course = self.task.settings(self.network, self.recipe)
        end = self.task.settings(self.network, self.recipe, finish=True)
        start = self.iterations * (1 - self.recipe.finish)
        return lambda iteration: end if iteration >= start else course

    def sizes(self) -> Callable[[int], tuple[int, int]]:
        """Return the input size as a function of the iteration; ten share one."""
        options = self.network.options
        random = [node.layer.random for node in self.network if isinstance(node.layer, Yolo)][-1:]

        def size(iteration: int) -> tuple[int, int]:
            rng = np.random.default_rng((self.seed, _SCALES, iteration // 10))
            return input_size(options, random[0] if random else 0, iteration, rng)

        return size

    def identity(self, processes: int = 1) -> dict[str, str]:
        """Return what must be the same for a run to go on exactly."""
        data = self.train
        return {
            "cfg": dumps(self.network),
            "data set": f"{data.path} {data.split} {len(data)}",
            "list of names": "\n".join(data.names),
            "loss": self.task.recipe(self.loss)[0],
            "teacher": self.teacher.digest if self.teacher else "none",
            "seed": str(self.seed),
            "batch norm momentum": str(self.bn_momentum),
            "precision": str(dtype_of(self.amp, self.device)),
            "number of processes": str(processes),
        }
