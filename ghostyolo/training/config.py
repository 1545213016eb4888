"""The configuration of a training run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from ghostyolo import files
from ghostyolo.augment import reduction
from ghostyolo.data import Dataset
from ghostyolo.data.tiled import tiled
from ghostyolo.data.tiles import Tiles
from ghostyolo.errors import OptionError
from ghostyolo.layers.yolo import Yolo
from ghostyolo.loss import loss_config
from ghostyolo.loss.base import LossConfig
from ghostyolo.network import Network, dumps
from ghostyolo.training import label_record
from ghostyolo.training.options import BN_MOMENTUM
from ghostyolo.training.precision import dtype_of
from ghostyolo.training.schedule import input_size, largest_size
from ghostyolo.training.task import Task, task_of

_SIZES = 3  # number of this stream of random numbers; `Batches` and `set_learning_rate` have others


@dataclass(frozen=True)
class Teacher:
    """A trained network whose predictions replace the labels. weights: its `.weights` file."""

    network: Network
    weights: str

    @cached_property
    def digest(self) -> str:
        """Return the SHA-256 of the weights file, in hexadecimal."""
        return files.digest(self.weights)


@dataclass(frozen=True)
class TrainConfig:
    """The configuration of a training run: `TrainOptions` with everything opened and computed.

    network: with the `[net]` of the run. val: None to train without validation. folder: of the run.
    loss, optimizer: their names, "" for the default of the task and of the loss. weights: a
    `.weights` file to start from. workers: number of processes that prepare pictures. val_every: in
    epochs, save_every: in iterations; 0 for the end of the run only. bn_momentum: weight of a new
    batch in the running statistics. amp: see `precision.dtype_of`. compile: whether torch compiles
    the forward pass. patience: number of validations without a better score after which the run
    ends; 0 for never.
    teacher: it has the same heads as the network. limit: the most pictures of each data set, which
    has been applied to them; None for all. exact_decode: decode every training picture whole.
    cache: where decoded pictures are kept, see `picture_cache`. tiles: of which the samples of
    `train` are parts, and into which the pictures of `val` are divided; None for whole pictures.
    """

    network: Network
    train: Dataset
    val: Dataset | None
    folder: Path
    loss: str = ""
    optimizer: str = ""
    weights: str | None = None
    seed: int = 0
    workers: int = 0
    device: str = "cpu"
    val_every: int = 0
    save_every: int = 0
    bn_momentum: float = BN_MOMENTUM
    amp: str = "off"
    compile: bool = False
    patience: int = 0
    teacher: Teacher | None = None
    limit: int | None = None
    exact_decode: bool = False
    cache: str = "auto"
    tiles: Tiles | None = None

    @property
    def iterations(self) -> int:
        """Return the number of updates of the run."""
        return self.network.options.max_batches

    @property
    def batch(self) -> int:
        """Return the batch size: the number of pictures of an update."""
        options = self.network.options
        return options.mini_batch * options.subdivisions

    @property
    def task(self) -> Task:
        """Return the task of the network."""
        return task_of(self.network)

    @property
    def loss_config(self) -> LossConfig:
        """Return the configuration of the loss."""
        return loss_config(self.task.check_loss(self.loss))

    @property
    def optimizer_name(self) -> str:
        """Return the name of the optimizer: adam by `[net]`, else `optimizer`, or that of the loss.

        Raises `OptionError` for one that does not go with `[net]` or the loss.
        """
        name, adam = self.optimizer, bool(self.network.options.adam)
        if adam and name:
            message = f"--optimizer {name} beside adam=1 in [net]"
            raise OptionError(message, hint="leave it out, or give --set net.adam=0")
        if name == "muon" and not self.loss_config.muon_factor:
            message = f"--optimizer muon is not for --loss {self.task.check_loss(self.loss)}"
            raise OptionError(message, hint="leave it out, or give --loss modern")
        usual = "muon" if self.loss_config.muon_factor else "sgd"
        return "adam" if adam else name or usual

    @property
    def splits(self) -> dict[str, Dataset]:
        """Return the data sets by what they are for, train or val."""
        return {"train": self.train} | ({"val": self.val} if self.val else {})

    @cached_property
    def val_samples(self) -> Dataset | None:
        """Return the pictures to validate on, or all their tiles."""
        if self.val is None or self.tiles is None:
            return self.val
        return tiled(self.val, self.tiles, self.network.options.size)

    @cached_property
    def labels(self) -> dict[str, label_record.Record]:
        """Return the records of the data sets' labels."""
        return {split: label_record.record(data) for split, data in self.splits.items()}

    @property
    def checkpoint(self) -> Path:
        """Return the path of the checkpoint."""
        return self.folder / "checkpoint.pt"

    def epochs(self, iteration: int) -> int:
        """Return the number of whole epochs after an iteration."""
        return iteration * self.batch // len(self.train)

    def validates(self, iteration: int) -> bool:
        """Return whether a validation is due after an iteration.

        It comes at the end of every `val_every`-th epoch and after the last iteration; the latter
        takes the place of a validation for which less than an epoch would follow.
        """
        before, now, last = map(self.epochs, (iteration - 1, iteration, self.iterations))
        every = self.val_every
        passed = bool(every) and before // every < now // every
        return iteration == self.iterations or (passed and now < last)

    def saves(self, iteration: int) -> bool:
        """Return whether a checkpoint is due after an iteration."""
        every = self.save_every
        return self.validates(iteration) or bool(every and iteration % every == 0)

    @property
    def no_mosaic(self) -> int:
        """Return the first iteration of the end of the run, which is without mosaics."""
        return math.ceil(self.iterations * (1 - self.loss_config.no_mosaic))

    @cached_property
    def augmentation(self) -> Callable[[int], Any]:
        """Return the augmentation as a function of the iteration."""
        make = partial(self.task.augmentation, self.network, self.loss_config)
        usual = make(object_side=self.train.columns.object_side)
        last = make(no_mosaic=True)
        first_without = self.no_mosaic
        return lambda iteration: last if iteration >= first_without else usual

    def sizes(self) -> Callable[[int], tuple[int, int]]:
        """Return the input size as a function of the iteration; it changes every ten iterations."""
        options, random = self.network.options, self._random

        def size(iteration: int) -> tuple[int, int]:
            rng = np.random.default_rng((self.seed, _SIZES, iteration // 10))
            return input_size(options, random, iteration, rng)

        return size

    @property
    def _random(self) -> float:
        """Return the key of the last `[yolo]`, see `input_size`."""
        last = [node.layer.random for node in self.network if isinstance(node.layer, Yolo)][-1:]
        return last[0] if last else 0.0

    @cached_property
    def factors(self) -> np.ndarray | None:
        """Return by what the sides of each training picture are divided; None: all are whole."""
        if self.exact_decode:
            return None
        largest = largest_size(self.network.options, self._random)
        ends = self.augmentation(0), self.augmentation(self.iterations)
        found = reduction.factors(self.train.columns.sizes, ends, largest)
        return found if found.max() > 1 else None

    def identity(self, processes: int = 1) -> dict[str, str]:
        """Return the values, by name, that must be equal when a checkpoint is resumed."""
        data = self.train
        return {
            "cfg": dumps(self.network),
            "data set": f"{data.path} {data.split} {len(data)}",
            "list of names": "\n".join(data.names),
            "loss": self.task.check_loss(self.loss),
            "optimizer": self.optimizer_name,
            "teacher": self.teacher.digest if self.teacher else "none",
            "seed": str(self.seed),
            "batch norm momentum": str(self.bn_momentum),
            "precision": str(dtype_of(self.amp, self.device)),
            "number of processes": str(processes),
            "decoding": "whole" if self.factors is None else "scaled",
        }
