"""ghostyolo train: a cfg's detector on labelled pictures."""

from __future__ import annotations

import argparse
import math
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ghostyolo.cli import shared
from ghostyolo.errors import Findings, OptionError, Span
from ghostyolo.netoptions import NetOptions, read_net
from ghostyolo.network import Network
from ghostyolo.syntax import Option, Section

if TYPE_CHECKING:
    from ghostyolo.train import TrainConfig

VALIDATIONS = 20  # of a run, unless told otherwise
HINT = "give --adapt to rewrite the heads for these"


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
        default="modern",
        help="modern learns small sets faster; darknet is its own, to the digit (modern)",
    )
    add("--seed", type=int, default=0, help="of everything random (0)")
    add("--workers", type=int, help="threads that prepare pictures (0; with a GPU 4)")
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


def run(args: argparse.Namespace) -> int:
    """Train a cfg on pictures."""
    from ghostyolo.console import TrainProgress
    from ghostyolo.train import train

    config = _config(args)
    folder = config.folder
    if folder.is_dir() and any(folder.iterdir()) and not args.resume:
        hint = "give another --name, or --resume to go on"
        raise OptionError("this run exists", span=Span(str(folder)), hint=hint)
    shared.report_defects(config.train)
    observer = TrainProgress(config.iterations)
    try:
        with _deferred_interruption(observer.stop):
            train(config, observer, resume=args.resume, weights=args.weights)
    except KeyboardInterrupt:
        if (folder / "checkpoint.pt").exists():
            print(f"ghostyolo: --resume goes on with {folder}", file=sys.stderr)
        raise
    finally:
        observer.close()
    print(f"{folder}: model.cfg, best.weights, last.weights, results.csv, curve.png")
    return 0


@contextmanager
def _deferred_interruption(stop: Callable[[], None]) -> Iterator[None]:
    """Let the first Ctrl-C call `stop`, which leaves the update under way whole, the next act."""
    before = signal.getsignal(signal.SIGINT)
    hears = threading.current_thread() is threading.main_thread()
    if not hears or before is signal.SIG_IGN:  # as a shell sets it for what runs in its background
        yield
        return

    def interrupted(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        print("ghostyolo: stopping after this iteration; again to stop now", file=sys.stderr)
        stop()

    signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _config(args: argparse.Namespace) -> TrainConfig:
    from ghostyolo import passes
    from ghostyolo.data import open_dataset
    from ghostyolo.train import TrainConfig

    names = shared.names_file(args.names)
    data = open_dataset(args.data, args.split, names)
    watched = None
    if args.val_split != "none":
        watched = open_dataset(args.data, args.val_split, names or data.names)
    network = shared.fitting(shared.read_network(args), data, HINT, adapt=args.adapt)
    network = passes.rebuild(network, options=_net_options(network, len(data), args))
    epoch = len(data) / network.options.batch
    epochs = network.options.max_batches / epoch
    device = shared.pick_device(args.device)
    every = args.val_every or max(1.0, epochs / VALIDATIONS)
    return TrainConfig(
        network=network,
        train=data,
        val=watched,
        folder=Path(args.project, args.name or Path(args.cfg).stem),
        loss=args.loss,
        seed=args.seed,
        workers=(4 if device != "cpu" else 0) if args.workers is None else args.workers,
        device=device,
        val_every=max(1, round(every * epoch)),
        save_every=args.save_every,
        bn_momentum=args.bn_momentum,
    )


def _net_options(network: Network, pictures: int, args: argparse.Namespace) -> NetOptions:
    """Return `[net]` with the flags applied."""
    from ghostyolo.schedule import stretched

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
