"""ghostyolo train: a cfg's detector or classifier on labelled pictures."""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ghostyolo.cli import shared
from ghostyolo.errors import DataError, Findings, OptionError, Span
from ghostyolo.network import Network
from ghostyolo.network.net_options import NetOptions, read_net
from ghostyolo.syntax.sections import Option, Section

if TYPE_CHECKING:
    from ghostyolo.cli.progress import Watch
    from ghostyolo.training.config import Teacher, TrainConfig
    from ghostyolo.training.state import State

VALIDATIONS = 20  # of a run, unless told otherwise
MOST_WORKERS = 4
MADE = "report.html, model.cfg, best.weights, last.weights, results.csv, curve.png"
HINT = "give --adapt to rewrite the {} for these"


def options(p: argparse.ArgumentParser) -> None:
    """Declare what train takes."""
    shared.add_cfg(p)
    shared.add_data(p, "train")
    add = p.add_argument
    add("--val-split", default="val", help="part to watch, or 'none' (val)")
    add("--adapt", action="store_true", help="rewrite the heads for the classes of DATA")
    add("--weights", metavar="FILE", help="start from this .weights file")
    add(
        "--epochs",
        type=shared.count,
        help="passes over the pictures; the rate's steps are stretched to it",
    )
    add("--batch", type=shared.count, help="pictures of an update, instead of [net]'s")
    add("--set", action="append", default=[], metavar="net.KEY=VALUE", help="override [net]")
    add(
        "--loss",
        choices=("modern", "darknet"),
        default="",
        help="of boxes: modern learns small sets faster; darknet is its own, to the digit (modern)",
    )
    add(
        "--teacher",
        nargs=2,
        metavar=("CFG", "WEIGHTS"),
        help="learn what this trained network answers instead of labels, such as the one that CFG "
        "is the ghost version of; it has the same heads",
    )
    add("--seed", type=int, default=0, help="of everything random (0)")
    add(
        "--amp",
        choices=("auto", "off", "bf16", "fp16"),
        default="auto",
        help="numbers of the forward pass; auto: bf16 or fp16 on a GPU that has it (auto)",
    )
    add("--compile", action="store_true", help="let torch compile the forward pass")
    add(
        "--workers",
        type=int,
        help=f"processes that prepare pictures (one for every four threads, up to {MOST_WORKERS}; "
        f"with a GPU {MOST_WORKERS})",
    )
    add(
        "--val-every",
        type=shared.count,
        metavar="N",
        help=f"epochs between validations ({VALIDATIONS} in all)",
    )
    add(
        "--save-every",
        type=shared.count,
        default=0,
        metavar="N",
        help="also save every N iterations",
    )
    add(
        "--patience",
        type=shared.count,
        default=0,
        metavar="N",
        help="end after N validations without a better AP or top-1",
    )
    add(
        "--bn-momentum",
        type=shared.share,
        default=0.1,
        help="share of a batch in running statistics (0.1)",
    )
    add(
        "--project", default="runs/train", metavar="FOLDER", help="where runs are kept (runs/train)"
    )
    add("--name", help="name of the run (the cfg's)")
    add("--resume", action="store_true", help="go on with a run where it stopped")
    add("--tensorboard", action="store_true", help="write the run's course for TensorBoard")


def run(args: argparse.Namespace) -> int:
    """Train a cfg on pictures."""
    from ghostyolo.distributed import joined
    from ghostyolo.training.loop import train

    config = _config(args)
    folder = config.folder
    with joined(config.device) as world:
        watch = _watch(config, args, shown=world.first)
        try:
            with _deferred_signals(watch.stop):
                state = train(config, watch, resume=args.resume, weights=args.weights, world=world)
        except KeyboardInterrupt:
            if world.first and config.checkpoint.exists():
                print(f"ghostyolo: --resume goes on with {folder}", file=sys.stderr)
            raise
        finally:
            watch.close()
    if world.first:
        if state.iteration < config.iterations:
            told = f"stopped after {state.iteration} of {config.iterations} iterations"
            waited = f"{' and '.join(config.task.scores)} no better in {state.stale} validations"
            told = f"{waited}, {told}"
            print(f"ghostyolo: {told}", file=sys.stderr)
        _report(config, state, args.words)
        print(f"{folder}: {MADE}")
    return 0


def _report(config: TrainConfig, state: State, words: Sequence[str]) -> None:
    """Write the page of the run, with what its best weights find in val."""
    from ghostyolo import report
    from ghostyolo.evaluation.validation import validate
    from ghostyolo.model.model import Model

    validation = None
    if config.val is not None:
        best = Model(config.network, config.folder / "best.weights").to(config.device)
        validation = validate(best, config.val)
    page = report.RunReport(
        title=config.folder.name,
        network=config.network,
        command=("ghostyolo", *words),
        rows=state.rows,
        seconds=state.seconds,
        train=config.train,
        validation=validation,
        weights="best.weights",
        versions=report.versions(config.device),
        date=time.strftime("%Y-%m-%d %H:%M"),
    )
    report.write(config.folder / "report.html", page)


def _watch(config: TrainConfig, args: argparse.Namespace, *, shown: bool) -> Watch:
    """Return who watches the run; of several processes one shows it. Raises `OptionError`."""
    from ghostyolo.cli.progress import TrainProgress, Watch
    from ghostyolo.data.anchors import poor_fit_warning
    from ghostyolo.training.task import DETECTION
    from ghostyolo.training.tensorboard import TensorBoard

    if not shown:
        return Watch([])
    folder = config.folder
    if folder.is_dir() and any(folder.iterdir()) and not args.resume:
        hint = "give another --name, or --resume to go on"
        raise OptionError("this run exists", span=Span(str(folder)), hint=hint)
    for data in (config.train, config.val):
        if data is not None:
            data.log_defects()
    boards = [TensorBoard(folder / "tensorboard")] if args.tensorboard else []
    warning = poor_fit_warning(config.train, config.network) if config.task is DETECTION else None
    progress = TrainProgress(config.iterations, warning)
    return Watch([*boards, progress])


@contextmanager
def _deferred_signals(stop: Callable[[int], None]) -> Iterator[None]:
    """Let the first Ctrl-C or SIGTERM call `stop`, which leaves the update under way whole.

    The next acts at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    own = os.getpid()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # a shell sets it so for what runs in its background
    heard = [number for number, handler in before.items() if handler is not signal.SIG_IGN]

    def restore() -> None:
        for number in heard:
            signal.signal(number, before[number])

    def interrupted(number: int, _: object) -> None:
        restore()
        if os.getpid() != own:  # a worker, which heard what was sent to all
            return
        with suppress(RuntimeError):  # where the signal came in the midst of another line
            print("ghostyolo: stopping after this iteration; again to stop now", file=sys.stderr)
        stop(number)

    for number in heard:
        signal.signal(number, interrupted)
    try:
        yield
    finally:
        restore()


def _config(args: argparse.Namespace) -> TrainConfig:
    from ghostyolo.data.class_names import adapted, check_classes
    from ghostyolo.distributed import own_device, pick_device
    from ghostyolo.network import passes
    from ghostyolo.training.config import TrainConfig
    from ghostyolo.training.task import DETECTION, task_of

    network = shared.read_network(args)
    task = task_of(network)
    task.recipe(args.loss)  # which is refused where it is of another task
    data = task.read(args.data, args.split, args.names)
    watched = None
    if args.val_split != "none":
        try:
            watched = task.read(args.data, args.val_split, args.names or data.names)
        except DataError as error:
            found = error.diagnostic
            own = str(found.hint).replace("--split", "--val-split")
            hint = f"{own}; or give --val-split none to train without"
            raise DataError(found.message, span=found.span, hint=hint) from None
    hint = HINT.format("heads" if task is DETECTION else "last layer")
    if args.adapt:
        network = adapted(network, data)
    check_classes(network, data, hint)
    network = passes.rebuild(network, options=_net_options(network, len(data), args))
    epoch = len(data) / network.options.batch
    epochs = network.options.max_batches / epoch
    device = own_device(pick_device(args.device))
    if args.patience and watched is None:
        raise OptionError("--patience needs a val split to watch", hint="give --val-split")
    every = args.val_every or max(1.0, epochs / VALIDATIONS)
    return TrainConfig(
        network=network,
        train=data,
        val=watched,
        folder=Path(args.project, args.name or Path(args.cfg).stem),
        loss=args.loss,
        seed=args.seed,
        workers=_workers(device) if args.workers is None else args.workers,
        device=device,
        val_every=max(1, round(every * epoch)),
        save_every=args.save_every,
        bn_momentum=args.bn_momentum,
        amp=args.amp,
        compile=args.compile,
        patience=args.patience,
        teacher=_teacher(args, network),
    )


def _workers(device: str) -> int:
    """Return how many processes keep a device fed.

    A picture takes one core a twentieth of what its step takes all of them together.
    """
    import torch

    return min(MOST_WORKERS, torch.get_num_threads() // 4) if device == "cpu" else MOST_WORKERS


def _teacher(args: argparse.Namespace, network: Network) -> Teacher | None:
    """Return who is learned from, at the network's size. Raises `OptionError` beside --loss."""
    from ghostyolo.network import load, passes
    from ghostyolo.training.config import Teacher

    if not args.teacher:
        return None
    if args.loss == "darknet":
        raise OptionError("--loss darknet learns from labels", hint="leave it or --teacher out")
    cfg, weights = args.teacher
    findings = Findings(strict=args.strict, compat=args.darknet_compat)
    return Teacher(passes.resize(load(cfg, findings=findings), network.options.size), weights)


def _net_options(network: Network, pictures: int, args: argparse.Namespace) -> NetOptions:
    """Return `[net]` with the flags applied."""
    from ghostyolo.training.schedule import stretched

    options, texts = network.options, []
    for text in args.set:
        key, equals, value = text.removeprefix("net.").partition("=")
        if not equals or not text.startswith("net."):
            hint = "write it as --set net.learning_rate=0.01"
            raise OptionError(f"--set {text}", hint=hint)
        texts.append((key.strip(), value))
    if args.batch is not None:
        texts.append(("batch", str(args.batch)))
    span = Span("--set")
    options = options.set(texts, span)
    if options.subdivisions > 0 and options.batch % options.subdivisions:
        message = f"batch={options.batch} is not a multiple of subdivisions={options.subdivisions}"
        raise OptionError(message, hint="change one, such as --set net.subdivisions=1")
    lines = tuple(Option(key, value, span) for key, value in options.items())
    options = read_net(Section("net", lines, span), Findings(strict=True))
    if args.epochs is None:
        return options
    return stretched(options, math.ceil(args.epochs * pictures / options.batch))
