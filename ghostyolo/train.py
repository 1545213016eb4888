"""Training: the cfg's `[net]` and `[yolo]`, Darknet's loss and update rule, one visible loop.

Everything that changes while training lies in `State`, which is saved and restored whole.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import nn

from ghostyolo import evaluate, report
from ghostyolo.data import Dataset
from ghostyolo.data.augment import Augmentation
from ghostyolo.data.batches import Batches
from ghostyolo.ema import Ema
from ghostyolo.errors import GhostyoloError, OptionError, Span
from ghostyolo.files import replace
from ghostyolo.layers.yolo import Yolo
from ghostyolo.limits import check
from ghostyolo.model import Model
from ghostyolo.network import Network, dumps
from ghostyolo.recipe import RECIPES, Recipe, augmentation
from ghostyolo.schedule import input_size
from ghostyolo.state import State
from ghostyolo.update import gradient, initialise_heads, optimizer, set_rate

_SCALES = 3  # which stream of chance; the batches have others


class NanError(GhostyoloError):
    """The loss or a weight stopped being a number."""


@dataclass(frozen=True)
class TrainConfig:
    """What a run is made of. network: as trained, its `[net]` included.

    folder: where weights, checkpoint and curves go. val_every, save_every: in iterations; 0 means
    at the end only. bn_momentum: share of a new batch in the running statistics.
    """

    network: Network
    train: Dataset
    val: Dataset | None
    folder: Path
    loss: str = "modern"
    seed: int = 0
    workers: int = 0
    device: str = "cpu"
    val_every: int = 0
    save_every: int = 0
    bn_momentum: float = 0.1

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
    def recipe(self) -> Recipe:
        """Return what belongs to the loss."""
        return RECIPES[self.loss]


class Timer:
    """Adds up where the time goes. seconds: by phase, changed in place."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds, self.last = seconds, time.monotonic()

    def lap(self, phase: str) -> float:
        """Book what has passed since the last lap on a phase and return it, in seconds above 0."""
        now = time.monotonic()
        passed, self.last = max(now - self.last, 1e-9), now
        self.seconds[phase] = self.seconds.get(phase, 0.0) + passed
        return passed


class Observer(Protocol):
    """Who watches a run."""

    def step(self, state: State, rate: float, images_per_second: float) -> None:
        """Hear of an update; raise KeyboardInterrupt to save the run and leave it there."""

    def validated(self, row: dict[str, float]) -> None:
        """Hear of a validation."""


def train(
    config: TrainConfig, observer: Observer, *, resume: bool = False, weights: str | None = None
) -> State:
    """Train a detector and return the last state.

    weights: a `.weights` file to start from. Writes into `config.folder`: model.cfg, model.names,
    last.weights, best.weights (by AP on val), checkpoint.pt, results.csv and curve.png.
    Raises `CfgError` for keys that training cannot honour, `NanError` when the loss is no number.
    An interruption that does not come from the observer may tear an update, so nothing is saved.
    """
    check(config.network)
    torch.manual_seed(config.seed)
    state = start(config, weights)
    if resume:
        state.restore(config.folder / "checkpoint.pt", _identity(config))
    batches = Batches(
        config.train,
        _settings(config),
        config.batch,
        _sizes(config),
        config.seed,
        config.workers,
    )
    _describe(config)
    timer = Timer(state.seconds)
    for images, truths in batches.iterate(state.iteration, config.iterations):
        timer.lap("pictures")
        rate = set_rate(state, config.network.options, config.seed)
        parts = gradient(state, images, truths, config.recipe, config.subdivisions, config.device)
        _check(state, config, parts)
        state.advance(parts)
        speed = len(images) / timer.lap("network")
        if _due(state, config, config.val_every):
            row = _validate(state, config, rate)
            timer.lap("validation")
            observer.validated(row)
        if _due(state, config, config.val_every) or _due(state, config, config.save_every):
            _save(state, config)
        try:
            observer.step(state, rate, speed)
        except KeyboardInterrupt:
            _save(state, config)
            raise
        timer.lap("the rest")
    return state


def start(config: TrainConfig, weights: str | None = None) -> State:
    """Return the state before the first update."""
    model = Model(config.network)
    initialise_heads(model)  # also before a partial file, which ends above them
    if weights:
        model.load_weights(weights)
        model.seen = 0
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = config.bn_momentum
    model.to(config.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    recipe, model = config.recipe, model.train()
    ema = Ema(model, recipe.ema * config.iterations) if recipe.ema else None
    return State(model, optimizer(model, recipe), ema)


def _settings(config: TrainConfig) -> Callable[[int], Augmentation]:
    """Return how pictures are changed as a function of the iteration."""
    course = augmentation(config.network, config.recipe)
    end = augmentation(config.network, config.recipe, finish=True)
    start = config.iterations * (1 - config.recipe.finish)
    return lambda iteration: end if iteration >= start else course


def _sizes(config: TrainConfig) -> Callable[[int], tuple[int, int]]:
    """Return the input size as a function of the iteration; ten share one."""
    options = config.network.options
    random = [node.layer.random for node in config.network if isinstance(node.layer, Yolo)][-1:]

    def size(iteration: int) -> tuple[int, int]:
        rng = np.random.default_rng((config.seed, _SCALES, iteration // 10))
        return input_size(options, random[0] if random else 0, iteration, rng)

    return size


def _check(state: State, config: TrainConfig, parts: dict[str, float]) -> None:
    """Raise `NanError` unless loss and gradient are finite; what was saved before stays."""
    if all(map(math.isfinite, parts.values())):
        return
    named = ", ".join(f"{name} {value}" for name, value in parts.items())
    last = config.folder / "last.weights"
    kept = f"{last} holds what was good; " if last.exists() else ""
    hint = f"{kept}lower the rate with --set net.learning_rate=..."
    message = f"the loss is no number after iteration {state.iteration} ({named})"
    raise NanError(message, span=Span(config.train.path), hint=hint)


def _due(state: State, config: TrainConfig, every: int) -> bool:
    return state.iteration == config.iterations or bool(every and state.iteration % every == 0)


def _validate(state: State, config: TrainConfig, rate: float) -> dict[str, float]:
    """Measure, note a row of results, and keep the best weights."""
    row = {
        "iteration": state.iteration,
        "epoch": state.iteration * config.batch / len(config.train),
        "loss": state.loss,
        **(state.parts if len(state.parts) > 1 else {}),
        "rate": rate,
    }
    with state.averaged():
        if config.val is not None:
            scores = evaluate.evaluate(state.model.detector(**evaluate.LIMITS), config.val).mean
            named = {"AP": scores.ap, "AP50": scores.ap50, "AP75": scores.ap75}
            row |= {**named, "VOC": scores.voc_area}
            row = {key: float(value) for key, value in row.items()}  # a checkpoint holds no numpy
        score = row.get("AP", 0.0)
        score = 0.0 if math.isnan(score) else score  # no truths to count
        if score >= state.best or config.val is None:
            state.best = score
            state.save_weights(config.folder / "best.weights", config.batch)
    state.rows.append(row)
    report.write_rows(config.folder / "results.csv", state.rows)
    report.curve(config.folder / "curve.png", state.rows)
    return row


def _save(state: State, config: TrainConfig) -> None:
    with state.averaged():
        state.save_weights(config.folder / "last.weights", config.batch)
    state.save(config.folder / "checkpoint.pt", _identity(config))


def _identity(config: TrainConfig) -> dict[str, str]:
    """Return what must be the same for a run to go on exactly."""
    data = config.train
    return {
        "cfg": dumps(config.network),
        "data set": f"{data.path} {data.split} {len(data)}",
        "list of names": "\n".join(data.names),
        "loss": config.loss,
        "seed": str(config.seed),
        "batch norm momentum": str(config.bn_momentum),
    }


def _describe(config: TrainConfig) -> None:
    """Make the folder and write into it what the run is made of. Raises `OptionError`."""
    try:
        config.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message, hint = f"cannot make it: {error.strerror}", "give a folder that can be written"
        raise OptionError(message, span=Span(str(config.folder)), hint=hint) from None
    replace(config.folder / "model.cfg", [dumps(config.network).encode()])
    names = "".join(f"{name}\n" for name in config.train.names)
    replace(config.folder / "model.names", [names.encode()])
