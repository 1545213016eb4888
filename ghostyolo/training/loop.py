"""The training loop: batches, gradients, updates, validation and checkpoints.

The `Task` of the run holds the differences between detectors and classifiers; `State` holds
everything that changes during the run and is what a checkpoint saves and restores.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from ghostyolo import report
from ghostyolo.augment.batches import Batches
from ghostyolo.data.anchors import poor_fit_warning
from ghostyolo.distributed import ALONE, World
from ghostyolo.errors import counted
from ghostyolo.evaluation import validation
from ghostyolo.inference.timer import Timer
from ghostyolo.layers.yolo import Yolo
from ghostyolo.model import out_of_memory
from ghostyolo.model.model import Model
from ghostyolo.network.model_files import BEST, LAST
from ghostyolo.network.outputs import detection_heads
from ghostyolo.training import allocator, folder, nan_diagnosis, picture_cache, unsupported
from ghostyolo.training.config import TrainConfig
from ghostyolo.training.freezing import frozen_layers
from ghostyolo.training.gradient import UpdateConfig, check_memory, gradient, update_config
from ghostyolo.training.observers import Observer, tell_validating
from ghostyolo.training.state import State, initial_state, set_learning_rate
from ghostyolo.training.task import DETECTION
from ghostyolo.training.validation_loss import ValidationLoss
from ghostyolo.zoo.net_rules import SMALLEST_BATCH

# On 400 painted pictures of six classes at 192x192, runs of 50, 100 and 200 updates of 4 pictures
# ended at an AP50 of .004, .069 and .175.
FEW_UPDATES = 200
WAITING = 0.2  # of the time of an update, from which on the loader bounds the run
SHORT = 10  # seconds of waiting that are not worth a warning

logger = logging.getLogger(__name__)


def fit(
    config: TrainConfig, *observers: Observer, resume: bool = False, world: World = ALONE
) -> State:
    """Train a detector or classifier and return the state after the last update.

    Writes model.cfg, model.names, last.weights, best.weights (by the mean score on val),
    checkpoint.pt, results.csv and curve.png into `config.folder`.
    If an observer raises KeyboardInterrupt, the run is saved and ends. A KeyboardInterrupt from
    elsewhere may come in the middle of an update, so the run ends without being saved. On a CPU the
    process keeps freed memory from then on, see `allocator`.

    Raises `CfgError` for what training does not support, `OptionError` if the folder is in use or
    cannot be written, `WeightsError` for a checkpoint that cannot be read, `NanError` when the loss
    is not finite.
    """
    if world.first:
        (folder.check_schema if resume else folder.check_unused)(config)
    config.task.check(config.network)
    if config.teacher:
        unsupported.check_teacher(config.network, config.teacher.network)
    size = config.network.options.size
    with folder.locked(config) if world.first else nullcontext():
        check_memory(config, world)
        with out_of_memory.told(batch=config.batch, size=size):
            return _trained(config, observers, resume, world)


def _trained(
    config: TrainConfig, observers: Sequence[Observer], resume: bool, world: World
) -> State:
    """Train in the run's folder, which no other process trains in."""
    update = update_config(config, world)
    state = _first_state(config, resume, world)
    if config.compile:
        update = replace(update, run=torch.compile(state.model.run))
    batches = _batches(config, world)
    if world.first:
        folder.create(config, state.start)
        _log_warnings(config, state)
    for observer in observers:
        observer.started(config, state)
    timer = Timer(state.seconds)
    end = state.iteration if _out_of_patience(state, config) else config.iterations
    for images, targets in batches.iterate(state.iteration, end):
        for observer in observers:
            observer.prepared(state, images, targets)
        timer.lap("pictures")
        rate = set_learning_rate(state, config.network.options, config.seed)
        parts = gradient(state, images, targets, update)
        if not nan_diagnosis.usable(state, parts):
            batch = nan_diagnosis.Batch(images, targets, batches.paths(state.iteration))
            raise nan_diagnosis.nan_error(state, config, update, batch, parts)
        state.advance(parts)
        speed = config.batch / timer.lap("network")
        if config.validates(state.iteration):
            row = _validate(state, config, update, rate, observers)
            timer.lap("validation")
            for observer in observers:
                observer.validated(row)
            if world.first and len(state.rows) == 1 and (line := _waiting_warning(state, config)):
                logger.warning("%s", line)
        if config.saves(state.iteration):
            _save(state, config, world)
        stop = _interrupted(observers, state, rate, speed)
        if world.any(stop is not None):
            _save(state, config, world)
            raise stop or KeyboardInterrupt
        if _out_of_patience(state, config):
            break
        timer.lap("the rest")
    return state


def _first_state(config: TrainConfig, resume: bool, world: World) -> State:
    """Return the state that the run starts from: the initial one, or that of its checkpoint."""
    if torch.device(config.device).type == "cpu":
        allocator.keep_freed()
    torch.manual_seed(config.seed)
    state = initial_state(config, world)
    if resume and not folder.left_before_checkpoint(config):
        state.restore(config.checkpoint, config, world)
        config.train.add_defects(state.defects)
    return state


def _log_warnings(config: TrainConfig, state: State) -> None:
    """Log what spoils a run: defects of the data, too few updates, poor anchors, frozen layers."""
    for data in (config.train, config.val):
        if data is not None:
            data.log_defects()
    if not state.iteration and (line := _few_updates_warning(config)):
        logger.warning("%s", line)
    if config.task is DETECTION:
        lines = poor_fit_warning(config.train, config.network), _crowded_warning(config)
        for line in filter(None, lines):
            logger.warning("%s", line)
    if count := frozen_layers(config.network):
        whole = sum(p.numel() for p in state.model.parameters())
        frozen = whole - sum(p.numel() for p in state.model.parameters() if p.requires_grad)
        layers = f"the first {count} of {len(config.network)} layers are frozen"
        how = "" if config.weights else ", at random values: no --weights"
        logger.warning("%s, %s of %s parameters%s", layers, f"{frozen:,}", f"{whole:,}", how)


def _few_updates_warning(config: TrainConfig) -> str:
    """Return a warning if a run from scratch is too short to learn, else ""."""
    if config.weights or config.iterations >= FEW_UPDATES:
        return ""
    count = f"{counted(config.iterations, 'update')} of {config.batch} pictures"
    epochs = math.ceil(FEW_UPDATES * config.batch / len(config.train))
    smaller = f", or --batch {SMALLEST_BATCH}" * (config.batch > SMALLEST_BATCH)
    hint = f"give --epochs {epochs} or more{smaller}"
    return f"this run has {count}, and little is learned in fewer than {FEW_UPDATES}; {hint}"


def _waiting_warning(state: State, config: TrainConfig) -> str:
    """Return a warning if the network waits for its pictures, else ""."""
    waited, computed = (state.seconds.get(phase, 0.0) for phase in ("pictures", "network"))
    if waited < max(WAITING * (waited + computed), SHORT):
        return ""
    share = f"{waited / (waited + computed):.0%} of the time of an update is waiting for pictures"
    if not config.workers:
        return f"{share}, which this process prepares itself; give --workers"
    return f"{share}, not computing; give more --workers than {config.workers} if there are cores"


def _crowded_warning(config: TrainConfig) -> str:
    """Return a warning if pictures have more boxes than a head learns from, else ""."""
    most = min(head.max for _, head in detection_heads(config.network) if isinstance(head, Yolo))
    boxes = config.train.columns.trained
    crowded = int((boxes > most).sum())
    if not crowded:
        return ""
    highest = int(boxes.max())
    path = max(config.train.samples[int(each)].path for each in np.flatnonzero(boxes == highest))
    return (
        f"{crowded} pictures have more boxes than the {most} that [yolo] max= lets a picture "
        f"hold, such as {path} with {highest}: the others are not learned; set max={highest}"
    )


def _interrupted(
    observers: Sequence[Observer], state: State, rate: float, speed: float
) -> KeyboardInterrupt | None:
    """Call the observers after an update; return the KeyboardInterrupt if one of them raises it."""
    try:
        for observer in observers:
            observer.updated(state, rate, speed)
    except KeyboardInterrupt as interruption:
        return interruption
    return None


def _batches(config: TrainConfig, world: World) -> Batches:
    gpu = torch.device(config.device).type == "cuda"
    return Batches(
        config.train,
        config.augmentation,
        config.batch,
        config.sizes(),
        config.seed,
        config.workers,
        **picture_cache.chosen(config, world),
        shard=(world.rank, world.size),
        levels=gpu,
        pin_memory=gpu,
        compose=config.task.compose,
        channels=config.network.options.channels,
        factors=config.factors,
    )


def _out_of_patience(state: State, config: TrainConfig) -> bool:
    return 0 < config.patience <= state.stale


def _validate(
    state: State,
    config: TrainConfig,
    update: UpdateConfig,
    rate: float,
    observers: Sequence[Observer],
) -> dict[str, float]:
    """Score the model on val, add a row to results.csv, save the weights if they are the best."""
    world = update.world
    row = {
        "iteration": state.iteration,
        "epoch": config.epochs(state.iteration),
        "loss": state.loss,
        **(state.parts if len(state.parts) > 1 else {}),
        "rate": rate,
    }
    with state.averaged():
        if config.val is not None:
            row |= _scores(state.model, config, update, observers)
        best = state.record_score(config.task.mean_score(row))
        if world.first and (best or config.val is None):
            state.save_weights(config.folder / BEST, config.batch)
    state.rows.append(row)
    if world.first:
        report.write_rows(config.folder / "results.csv", state.rows)
        report.draw_curve(config.folder / "curve.png", state.rows)
    return row


def _scores(
    model: Model, config: TrainConfig, update: UpdateConfig, observers: Sequence[Observer]
) -> dict[str, float]:
    """Return the loss and the scores of a model on val, the same on all ranks."""
    world, loss = update.world, ValidationLoss(model.eval(), update)
    assert config.val is not None and config.val_samples is not None
    found, val = validation.predict(
        loss,
        config.val_samples,
        world=world,
        on_batch=loss.expect,
        on_progress=partial(tell_validating, observers),
    )
    if config.tiles:
        found, val = validation.in_pictures(found, val, config.val, model.network)
    model.train()
    mean = loss.mean(world)
    scores = validation.score(found, val).row() if world.first else {}
    return {"val_loss": mean, **world.gather(scores)[0]}


def _save(state: State, config: TrainConfig, world: World) -> None:
    """Write last.weights and the checkpoint."""
    rng_states = world.gather(state.rng_state())
    config.train.gather_defects(world.gather)
    state.defects = sorted(config.train.picture_defects)
    if world.first:
        with state.averaged():
            state.save_weights(config.folder / LAST, config.batch)
        state.save(config.checkpoint, config, rng_states)
    world.wait()  # torchrun ends rank 0 while it writes if another rank exits earlier
