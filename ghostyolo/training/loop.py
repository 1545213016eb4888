"""Training: the cfg's `[net]` and `[yolo]`, a loss and its update rule, one visible loop.

What differs between detectors and classifiers is the run's `Task`. Everything that changes while
training lies in `State`, which is saved and restored whole.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from typing import Protocol

import torch
from torch import nn

from ghostyolo import report
from ghostyolo.augment.batches import Batches
from ghostyolo.distributed import World
from ghostyolo.errors import OptionError, Span
from ghostyolo.evaluation import validation
from ghostyolo.files import replace
from ghostyolo.model.model import Model
from ghostyolo.network import dumps
from ghostyolo.training import allocator, nan_diagnosis, precision
from ghostyolo.training.config import TrainConfig
from ghostyolo.training.ema import Ema
from ghostyolo.training.nan_diagnosis import NanError
from ghostyolo.training.state import State
from ghostyolo.training.step import Step, freeze, gradient, initialise_heads, optimizer, set_rate
from ghostyolo.training.unsupported import check_teacher

__all__ = ["NanError", "Observer", "Timer", "TrainConfig", "start", "train"]

FIRST_ROW = 2  # line of the first validation in results.csv, which comes just before a checkpoint

logger = logging.getLogger(__name__)


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
    config: TrainConfig,
    observer: Observer,
    *,
    resume: bool = False,
    weights: str | None = None,
    world: World = World(),  # noqa: B008 (a value)
) -> State:
    """Train a detector or classifier and return the last state.

    weights: a `.weights` file to start from. Writes into `config.folder`: model.cfg, model.names,
    last.weights, best.weights (by AP and AP50, or top-1, on val), checkpoint.pt, results.csv and
    curve.png. Raises `CfgError` for what training cannot honour, `NanError` when the loss is no
    number. An interruption that does not come from the observer may tear an update, so nothing
    is saved. On a CPU the process keeps from then on what memory it frees, see `allocator`.
    """
    config.task.check(config.network)
    if config.teacher:
        check_teacher(config.network, config.teacher.network)
    step = plan(config, world)
    if torch.device(config.device).type == "cpu":
        allocator.keep_freed()
    torch.manual_seed(config.seed)
    state = start(config, weights, world)
    step = compiled(step, state.model) if config.compile else step
    if resume and not _unsaved(config):
        state.restore(config.checkpoint, config.identity(world.size), world.rank)
        config.train.add_defects(state.noted)
    batches = _batches(config, world)
    _describe(config, world)
    timer = Timer(state.seconds)
    ends = state.iteration if _exhausted(state, config) else config.iterations
    for images, truths in batches.iterate(state.iteration, ends):
        timer.lap("pictures")
        rate = set_rate(state, config.network.options, config.seed)
        parts = gradient(state, images, truths, step)
        if not nan_diagnosis.sound(state, parts):
            batch = nan_diagnosis.Batch(images, truths, batches.paths(state.iteration))
            raise nan_diagnosis.failure(state, config, step, batch, parts)
        state.advance(parts)
        speed = config.batch / timer.lap("network")
        row, stop = None, None
        if config.due(state.iteration, config.val_every):
            row = _validate(state, config, rate, world)
            timer.lap("validation")
            observer.validated(row)
        if row or config.due(state.iteration, config.save_every):
            _save(state, config, world)
        try:
            observer.step(state, rate, speed)
        except KeyboardInterrupt as interruption:
            stop = interruption
        if world.any(stop is not None):
            _save(state, config, world)
            raise stop or KeyboardInterrupt
        if _exhausted(state, config):
            break
        timer.lap("the rest")
    return state


def plan(config: TrainConfig, world: World) -> Step:
    """Return how updates are made. Raises `OptionError` where processes cannot share a batch."""
    amp = precision.dtype_of(config.amp, config.device)
    share, left = divmod(config.batch, world.size)
    passes = math.ceil(config.subdivisions / world.size)  # no larger than in one process
    if left or share % passes:
        message = f"{world.size} processes cannot share a batch of {config.batch}"
        if not left:
            message += f" in {config.subdivisions} subdivisions"
        hint = "give a --batch that is a multiple, and --set net.subdivisions=1"
        raise OptionError(message, hint=hint)
    teacher = _teacher(config)
    return Step(config.recipe, passes, config.device, amp, None, world, config.task, teacher)


def _teacher(config: TrainConfig) -> Model | None:
    if config.teacher is None:
        return None
    model = Model(config.teacher.network, config.teacher.weights).eval().requires_grad_(False)
    return model.to(config.device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def compiled(step: Step, model: Model) -> Step:
    """Return the step with a forward pass that torch compiles when it first meets a size."""
    return dataclasses.replace(step, run=torch.compile(model.run))


def start(config: TrainConfig, weights: str | None = None, world: World = World()) -> State:  # noqa: B008
    """Return the state before the first update, the same in all processes."""
    model = Model(config.network)
    initialise_heads(model)  # also before a partial file, which ends above them
    if weights:
        model.load_weights(weights)
        model.seen = 0
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = config.bn_momentum
    if world.size > 1 and torch.device(config.device).type == "cuda":
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    if world.size > 1:
        torch.manual_seed(config.seed + world.rank)  # dropout is not to be the same in all
    model.to(config.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    freeze(model.train())
    recipe, amp = config.recipe, precision.dtype_of(config.amp, config.device)
    ema = Ema(model, recipe.ema * config.iterations) if recipe.ema else None
    scaler = precision.scaler(amp, config.device)
    return State(model, optimizer(model, recipe), ema, scaler)


def _batches(config: TrainConfig, world: World) -> Batches:
    far = torch.device(config.device).type == "cuda"
    return Batches(
        config.train,
        config.settings(),
        config.batch,
        config.sizes(),
        config.seed,
        config.workers,
        shard=(world.rank, world.size),
        levels=far,
        pin_memory=far,
        compose=config.task.compose,
    )


def _unsaved(config: TrainConfig) -> bool:
    """Return, and log, whether a run was left before its first checkpoint: it starts again.

    Where it had come further somebody has taken the checkpoint away, and going on is refused.
    """
    folder = config.folder
    if config.checkpoint.exists() or not folder.is_dir() or (folder / "report.html").exists():
        return False
    rows = folder / "results.csv"
    if rows.exists() and len(rows.read_text().splitlines()) > FIRST_ROW:
        return False
    logger.warning("%s: it was left before its first checkpoint, so it starts again", folder)
    return True


def _exhausted(state: State, config: TrainConfig) -> bool:
    """Return whether the run has waited for a better score for long enough."""
    return 0 < config.patience <= state.stale


def _validate(state: State, config: TrainConfig, rate: float, world: World) -> dict[str, float]:
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
            row |= _scores(state.model, config, world)
        if (state.judge(config.task.score(row)) or config.val is None) and world.first:
            state.save_weights(config.folder / "best.weights", config.batch)
    state.rows.append(row)
    if world.first:
        report.write_rows(config.folder / "results.csv", state.rows)
        report.draw_curve(config.folder / "curve.png", state.rows)
    return row


def _scores(model: Model, config: TrainConfig, world: World) -> dict[str, float]:
    """Validate; each process computes every world_size-th picture, rank 0 the scores."""
    assert config.val is not None
    predictions, dataset = validation.predict(model, config.val, world=world)
    scores = validation.score(predictions, dataset).row() if world.first else {}
    return world.gather(scores)[0]


def _save(state: State, config: TrainConfig, world: World) -> None:
    chances = world.gather(state.chance())
    config.train.gather_defects(world.gather)
    state.noted = sorted(config.train.picture_defects)
    if world.first:
        with state.averaged():
            state.save_weights(config.folder / "last.weights", config.batch)
        state.save(config.checkpoint, config.identity(world.size), chances)
    world.wait()  # who leaves now is no reason for torchrun to end the one that writes


def _describe(config: TrainConfig, world: World) -> None:
    """Make the folder and write into it what the run is made of. Raises `OptionError`."""
    if not world.first:
        return
    try:
        config.folder.mkdir(parents=True, exist_ok=True)
        for torn in config.folder.glob("*.part"):  # of a run that was killed
            torn.unlink()
    except OSError as error:
        message, hint = f"cannot make it: {error.strerror}", "give a folder that can be written"
        raise OptionError(message, span=Span(str(config.folder)), hint=hint) from None
    replace(config.folder / "model.cfg", [dumps(config.network).encode()])
    names = "".join(f"{name}\n" for name in config.train.names)
    replace(config.folder / "model.names", [names.encode()])
