"""A whole training run, as `ghostyolo train` performs it: from the options to the report."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, Protocol

import torch

from ghostyolo import report
from ghostyolo.data import Dataset
from ghostyolo.data.class_names import check_classes
from ghostyolo.data.hold_out import remaining
from ghostyolo.data.limit import limited
from ghostyolo.data.tiled import tiled, to_train
from ghostyolo.distributed import ALONE, World, joined, pick_device
from ghostyolo.errors import DataError, Findings, OptionError, Place, Span, printable
from ghostyolo.evaluation.validation import Validation, validate
from ghostyolo.files import replace
from ghostyolo.inference.environment import versions
from ghostyolo.loss import loss_config
from ghostyolo.model.classifier import check_no_boxes
from ghostyolo.model.model import Model
from ghostyolo.network import Network, load, passes
from ghostyolo.network.model_files import BEST, model_files, model_name, weights_path
from ghostyolo.network.net_options import NetOptions, read_net
from ghostyolo.syntax.sections import Option, Section
from ghostyolo.syntax.values import write
from ghostyolo.training.adaptation import adapted
from ghostyolo.training.config import Teacher, TrainConfig
from ghostyolo.training.freezing import frozen
from ghostyolo.training.loop import fit
from ghostyolo.training.machine import default_workers
from ghostyolo.training.observers import Observer, deferred_signals, tell_validating, watched
from ghostyolo.training.options import PROJECT, VALIDATIONS, TrainOptions
from ghostyolo.training.schedule import stretched
from ghostyolo.training.state import State
from ghostyolo.training.task import CLASSIFICATION, task_of

logger = logging.getLogger(__name__)
Options = ParamSpec("Options")


@dataclass(frozen=True, repr=False)
class Run:
    """A run that has ended.

    state: after the last update. validation: of the best weights on val; None on other ranks than 0
    and without val. rank: the rank of this process; rank 0 wrote the files.
    """

    folder: Path
    state: State
    validation: Validation | None = None
    rank: int = 0

    @property
    def weights(self) -> Path:
        """Return the file of the best weights."""
        return self.folder / BEST

    @property
    def scores(self) -> dict[str, float]:
        """Return the scores of the best weights on val, by name; empty without val."""
        return self.validation.scores if self.validation else {}

    @property
    def results(self) -> list[dict[str, float]]:
        """Return the rows of results.csv, one for each validation."""
        return self.state.rows

    @property
    def best(self) -> dict[str, float]:
        """Return the row of results.csv with the scores of the best weights; {} without val."""
        if self.validation is None:
            return {}
        return max(reversed(self.results), key=task_of(self.validation.network).mean_score)

    def __repr__(self) -> str:
        scores = ", ".join(f"{name} {value:.4f}" for name, value in self.scores.items())
        return f"run {printable(str(self.folder))}: {scores or 'without validation'}"


class _Train(Protocol[Options]):
    """The signature of `train`, with the fields of `TrainOptions` as keywords."""

    def __call__(
        self,
        cfg: str | Path | Network,
        data: str | Path,
        *args: Options.args,
        **options: Options.kwargs,
    ) -> Run: ...


def _typed(_: Callable[Options, TrainOptions]) -> Callable[[Callable[..., Run]], _Train[Options]]:
    """Show the parameters of a class as keywords of a function to editors and type checkers."""
    return lambda function: function


@_typed(TrainOptions)
def train(cfg: str | Path | Network, data: str | Path, **options: Any) -> Run:
    """Train a detector or classifier on a data set and write the run into a folder.

    cfg: a network, or whatever `load` reads. data: a data set, as `open_dataset` takes it; for a
    classifier a folder with a folder of pictures for each class, or a Darknet .data file.

    options: the fields of `TrainOptions`, all optional, such as `epochs=100`, `batch=16`,
    `adapt=True`. Most are described there. observers: they are called in rank 0 only. command:
    the words of the command line, for the report. split: the split to train on ("train"). names:
    class names, or a file of them. device: "auto", "cpu", "cuda:1" ... folder: of the run, empty or
    new unless `resume` is true (runs/train/ and the name of the cfg). overrides: keys of `[net]`,
    such as `{"learning_rate": 0.01}`. teacher: (cfg, weights) of a trained network with the same
    heads, whose predictions replace the labels, or the folder of its run.

    On the first Ctrl-C or SIGTERM the current update is finished, the run is saved, and
    KeyboardInterrupt is raised.

    Raises `GhostyoloError`: `CfgError`, `DataError`, `WeightsError`, `OptionError` or `NanError`.

    >>> run = ghostyolo.train("my.cfg", "DATA", epochs=1, folder="runs/train/second")
    >>> run.weights.name, sorted(run.scores)[:2]
    ('best.weights', ['AP', 'AP50'])
    """
    chosen = TrainOptions(**options)
    with _threads(chosen.threads):
        return _train(cfg, data, chosen)


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Let torch compute in so many threads, None: in as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _train(cfg: str | Path | Network, data: str | Path, chosen: TrainOptions) -> Run:
    """Train as `train` describes."""
    with ExitStack() as stack:
        with joined(chosen.device) as world:
            config = prepare(cfg, data, chosen, pick_device(world.device), world)
            given = chosen.observers if world.first else None
            watching = stack.enter_context(watched(config, given, tensorboard=chosen.tensorboard))
            state = _fitted(config, chosen, watching, world)
        if not world.first:
            return Run(config.folder, state, rank=world.rank)
        if state.iteration < config.iterations:
            waited = f"{' and '.join(config.task.scores)} no better in {state.stale} validations"
            done = f"{state.iteration} of {config.iterations} iterations"
            logger.warning("%s, stopped after %s", waited, done)
        validation = _write_report(config, state, chosen.command, watching)
    return Run(config.folder, state, validation)


def _fitted(
    config: TrainConfig, chosen: TrainOptions, watching: Sequence[Observer], world: World
) -> State:
    """Train until the end or a signal."""
    try:
        with deferred_signals() as interruption:
            return fit(config, *watching, interruption, resume=chosen.resume, world=world)
    except KeyboardInterrupt:
        if world.first and config.checkpoint.exists():
            logger.warning("--resume continues %s", config.folder)
        raise


def _write_report(
    config: TrainConfig, state: State, command: Sequence[str], watching: Sequence[Observer]
) -> Validation | None:
    """Write report.html and val_batch*.jpg; return their validation, of the best weights."""
    validation = None
    if config.val is not None:
        best = Model(config.network, config.folder / BEST).to(config.device)
        tell = partial(tell_validating, watching)
        validation = validate(best, config.val, tiles=config.tiles, on_progress=tell)
    page = report.RunReport(
        title=config.folder.name
        + (f", limited to {config.limit} pictures of each split" if config.limit else ""),
        network=config.network,
        command=command,
        rows=state.rows,
        seconds=state.seconds,
        train=config.train,
        validation=validation,
        weights=BEST,
        batches=report.batch_files(config.folder),
        versions=versions(config.device),
        date=time.strftime("%Y-%m-%d %H:%M"),
    )
    for number, grid in enumerate(page.scored.get("grids", ())):
        replace(config.folder / f"val_batch{number}.jpg", [grid])
    report.write(config.folder / "report.html", page)
    return validation


def prepare(
    cfg: str | Path | Network,
    data: str | Path,
    options: TrainOptions,
    device: str,
    world: World = ALONE,
) -> TrainConfig:
    """Return the configuration of a run; opens the data sets.

    Raises `CfgError`, `DataError` and `OptionError` for what cannot be trained.
    """
    network, stem = (cfg, "network") if isinstance(cfg, Network) else (load(cfg), model_name(cfg))
    task = task_of(network)
    task.check_loss(options.loss)
    if task is CLASSIFICATION:
        check_no_boxes(tile=options.tiles)
    train, val = world.once(lambda: _opened(network, data, options))
    if tiles := options.tiles:
        size = net_options(network.options, len(train), options).size
        train = to_train(tiled(train, tiles, size), options.seed)
    if options.adapt:
        network = adapted(network, train, options)
    check_classes(network, train, "give --adapt to fit the cfg to these")
    network = passes.rebuild(network, options=net_options(network.options, len(train), options))
    if options.freeze is not None:
        network = frozen(network, options.freeze)
    epochs = network.options.max_batches * network.options.batch / len(train)
    if options.patience and val is None:
        raise OptionError("--patience needs a validation set", hint="give --val-split")
    unchanged = (
        "loss", "optimizer", "seed", "save_every", "bn_momentum", "amp", "compile", "patience",
        "limit", "exact_decode", "cache",
    )  # fmt: skip
    return TrainConfig(
        network=network,
        train=train,
        val=val,
        folder=Path(options.folder or Path(PROJECT, stem)),
        workers=default_workers(device) if options.workers is None else options.workers,
        device=device,
        val_every=options.val_every or max(1, round(epochs / VALIDATIONS)),
        weights=None if options.weights is None else weights_path(options.weights),
        teacher=_teacher(options, network),
        tiles=tiles,
        **{name: getattr(options, name) for name in unchanged},
    )


def _opened(
    network: Network, data: str | Path, options: TrainOptions
) -> tuple[Dataset, Dataset | None]:
    """Return the data sets to train and to validate on."""
    task = task_of(network)
    undivided = options.val_split == "none" and options.split == "train" and task.is_undivided(data)
    split, outside = "all" if undivided else options.split, options.allow_outside
    train = task.read(data, split, options.names, allow_outside=outside, no_cache=options.no_cache)
    val = _validation_set(network, data, options, train)
    train = limited(remaining(train, val), options.limit)
    return train, val and limited(val, options.limit)


def _validation_set(
    network: Network, data: str | Path, options: TrainOptions, train: Dataset
) -> Dataset | None:
    if options.val_split == "none":
        return None
    try:
        names, outside = options.names or train.names, options.allow_outside
        return task_of(network).read(
            data, options.val_split, names, allow_outside=outside, no_cache=options.no_cache
        )
    except DataError as error:
        found = error.diagnostic
        hint = str(found.hint).replace("--split", "--val-split")
        hint += "; or give --val-split none to train without validation"
        raise DataError(found.message, span=found.span, hint=hint) from None


def net_options(net: NetOptions, pictures: int, options: TrainOptions) -> NetOptions:
    """Return `[net]` with the overrides, the batch size and the length of the run applied.

    pictures: number of pictures in an epoch. Raises `CfgError` and `OptionError` for invalid
    values.
    """
    span, values = Span("--set"), dict(options.overrides)
    for name, key in (("epochs", "max_batches"), ("batch", "batch")):
        if key in values and (given := getattr(options, name)) is not None:
            message = f"{name}={given} and net.{key}={values[key]} set the same"
            raise OptionError(message, hint="give one of them")
    if options.batch is not None:
        values["batch"] = options.batch
    net = net.set([(key, write(value)) for key, value in values.items()], span)
    if net.subdivisions > 0 and net.batch % net.subdivisions:
        message = f"batch={net.batch} is not a multiple of subdivisions={net.subdivisions}"
        raise OptionError(message, hint="change one, such as --set net.subdivisions=1")
    lines = tuple(Option(key, value, Place(span, "net")) for key, value in net.items())
    net = read_net(Section("net", lines, span), Findings(strict=True))
    if options.epochs is None:
        return net
    return stretched(net, math.ceil(options.epochs * pictures / net.batch))


def _teacher(options: TrainOptions, network: Network) -> Teacher | None:
    """Return the teacher, resized to the input of the network."""
    if options.teacher is None:
        return None
    if not loss_config(task_of(network).check_loss(options.loss)).distillation:
        message, hint = f"--loss {options.loss} learns from labels", "leave it or --teacher out"
        raise OptionError(message, hint=hint)
    given = options.teacher
    cfg, weights = given if isinstance(given, tuple) else (given, None)
    if not isinstance(cfg, Network):
        cfg, weights = model_files(cfg, weights)
    if weights is None:
        hint = "give teacher=(cfg, weights), or the folder of a run"
        raise OptionError("a teacher without weights", hint=hint)
    teacher = cfg if isinstance(cfg, Network) else load(cfg)
    return Teacher(passes.resize(teacher, network.options.size), weights_path(weights))
