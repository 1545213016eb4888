"""Options and actions that several commands share."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from ghostyolo.errors import CfgError, Findings, OptionError, printable
from ghostyolo.files import SCHEMA
from ghostyolo.network import Network, load
from ghostyolo.network.net_options import parse_size
from ghostyolo.syntax.arguments import Parser

if TYPE_CHECKING:
    from ghostyolo.cli.progress import Progress
    from ghostyolo.data.tiles import Tiles
    from ghostyolo.model.model import Model

T = TypeVar("T")
CFG = (
    "a Darknet .cfg file, the folder of a training run for its model.cfg, or the name of a "
    "published cfg, such as ghostnet-1.0-coco"
)
OR_CLASS_FOLDERS = "; for a classifier a folder of pictures for each class, or a .data"


def number(kind: type[float] | type[int], least: float, most: float, what: str) -> Any:
    """Return a function that reads a number from `least` to `most`, a type for argparse.

    what: such a number in words, for the message about any other text.
    """

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"'{text}' is not {what}")
        return value

    return read


fraction = number(float, 0, 1, "a number from 0 to 1")
count = number(int, 1, math.inf, "a whole number of 1 or more")


def add_cfg(p: Parser, what: str = CFG, *, weights: str = "", size: bool = True) -> None:
    """Declare CFG and how it is read. weights: the help text of WEIGHTS, if any are read."""
    group = p.group("model")
    group.add_argument("cfg", metavar="CFG", help=what)
    p.or_usage = {"cfg": "RUN", "weights": ""}
    if weights:
        group.add_argument("weights", metavar="WEIGHTS", help=weights)
    group.add_argument("--strict", action="store_true", help="treat warnings about CFG as errors")
    text = "read mistakes in CFG as Darknet does"
    group.add_argument("--darknet-compat", action="store_true", help=text)
    if size:
        add_size(p)


def add_size(p: Parser) -> None:
    """Declare the input size."""
    text = "input size in pixels, instead of [net]'s"
    p.group("model").add_argument("--size", metavar="HxW", help=text)


def add_names(p: Parser, group: str, default: str) -> None:
    """Declare the option for the names of the classes."""
    text = f"class names, one a line ({default})"
    p.group(group).add_argument("--names", metavar="FILE", help=text)


def add_thresholds(p: Parser, thresh: float, nms: float) -> None:
    """Declare the thresholds of detection: None unless given; the help names these defaults."""
    group, text = p.group("thresholds"), "IoU threshold of non-maximum suppression"
    group.add_argument("--thresh", type=fraction, help=f"confidence threshold of boxes ({thresh})")
    group.add_argument("--nms", type=fraction, help=f"{text} ({nms})")


def add_tiles(p: Parser) -> None:
    """Declare how large pictures are divided; see `tiles`."""
    from ghostyolo.data.help_texts import OVERLAP_HELP

    group = p.group("large pictures")
    text = "detect in tiles of this size in pixels of the picture, and in the whole picture; auto: "
    text += "that of the network's input"
    group.add_argument("--tile", metavar="HxW|auto", help=text)
    group.add_argument("--overlap", type=fraction, help=OVERLAP_HELP)
    text = "do not look at the whole picture too: objects larger than a tile are then lost"
    group.add_argument("--tile-only", action="store_true", help=text)


def tiles(args: argparse.Namespace) -> Tiles | None:
    """Return how pictures are divided; None without --tile. Raises `OptionError`."""
    from ghostyolo.data.tiles import Tiles

    return Tiles.read(args.tile or "", args.overlap, whole=not args.tile_only)


def add_limit(p: Parser, group: str, text: str) -> None:
    """Declare the option for a first try on much data."""
    p.group(group).add_argument("--limit", type=count, metavar="N", help=text)


def add_json(p: Parser, text: str = "print JSON for programs") -> None:
    """Declare the option for results that programs read."""
    p.group("output").add_argument("--json", action="store_true", help=text)


def add_quiet(p: Parser) -> None:
    """Declare the option for results, warnings and errors alone."""
    text = "show no progress: only results, warnings and errors"
    p.group("output").add_argument("--quiet", action="store_true", help=text)


@contextmanager
def progress(
    args: argparse.Namespace, what: str, unit: str
) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that shows a progress bar from the number of done and of all units.

    When the number of done ones decreases, another bar begins.
    """
    from ghostyolo.cli.progress_bar import Progress

    shown = Progress(0, what, unit)

    def advance(done: int, total: int) -> None:
        nonlocal shown
        if done < shown.done:
            shown.close()
            shown = Progress(0, what, unit)
        shown.total = total
        shown.advance_to(done)

    try:
        yield (lambda done, total: None) if args.quiet else advance
    finally:
        shown.close()


@contextmanager
def reading(args: argparse.Namespace) -> Iterator[None]:
    """Show how many pictures of a data set have been read, where that is long."""
    from ghostyolo.data import sources

    shown: Progress | None = None

    def on_read(count: int, finished: bool) -> None:
        from ghostyolo.cli.progress import Progress

        nonlocal shown
        if shown is None and not finished:
            shown = Progress(0, "read", "picture", start=count)
        if shown:
            shown.advance_to(count)
        if shown and finished:
            shown.close()
            shown = None

    with nullcontext() if getattr(args, "quiet", False) else sources.watched(on_read):
        try:
            yield
        finally:
            if shown:
                shown.close()


def watched(
    args: argparse.Namespace, items: Iterator[T], total: int, unit: str, what: str
) -> Iterator[T]:
    """Yield the items; show progress, in a log only of long work. total: 0 if it is not known."""
    if args.quiet:
        yield from items
        return
    from ghostyolo.cli.progress_bar import Progress

    shown = Progress(total, what, unit, end=sys.stderr.isatty())
    try:
        for done, item in enumerate(items, 1):
            shown.clear()  # whoever takes the item may print
            yield item
            shown.advance_to(done)
    finally:
        shown.close()


def add_device(p: Parser) -> None:
    """Declare the device that torch computes on."""
    text = "auto, cpu, cuda, cuda:1, mps ... (auto)"
    p.group("device").add_argument("--device", default="auto", help=text)


def add_data(p: Parser, split: str, more: str = "") -> None:
    """Declare DATA, the split of it to use, and the names of its classes. more: kinds of DATA."""
    from ghostyolo.data.layouts import DATA_HELP

    group = p.group("data")
    group.add_argument("data", metavar="DATA", help=f"{DATA_HELP}{more}")
    group.add_argument("--split", default=split, help=f"part of DATA ({split})")
    add_names(p, "data", "those of DATA")


def add_reading(p: Parser, group: str = "data") -> None:
    """Declare how DATA is read: pictures outside of it, and its index."""
    from ghostyolo.data.help_texts import NO_CACHE_HELP, OUTSIDE_HELP

    p.group(group).add_argument("--allow-outside", action="store_true", help=OUTSIDE_HELP)
    p.group(group).add_argument("--no-cache", action="store_true", help=NO_CACHE_HELP)


def add_input(p: Parser, default: str) -> None:
    """Declare the options for a single input."""
    which = p.group("input").add_mutually_exclusive_group()
    which.add_argument("--input", metavar="IMAGE", help="run on this picture")
    which.add_argument("--seed", type=int, help=f"run on random numbers instead ({default})")


def json_text(found: Mapping[str, Any] | Sequence[Any]) -> str:
    """Return a result as a JSON document, with its schema unless it is a list."""
    text = json.dumps({"schema": SCHEMA, **found} if isinstance(found, Mapping) else found)
    return text.replace("\x7f", "\\u007f")  # the only control character that JSON leaves


def say(text: str, *, keep: str = "", err: bool = False) -> None:
    """Print a line, or lines if line breaks are kept; see `printable`. err: on standard error."""
    # one string, as a signal between a line and its end would join it with the next
    print(f"{printable(text, keep)}\n", end="", file=sys.stderr if err else None, flush=True)


def read_network(args: argparse.Namespace) -> Network:
    """Return the network of CFG, at --size. Raises `CfgError`, `OptionError`."""
    findings = Findings(strict=args.strict, compat=args.darknet_compat)
    network = load(args.cfg, findings=findings)
    if not args.size:
        return network
    from ghostyolo.network import passes

    size = parse_size(args.size)
    try:
        return passes.resize(network, size)
    except CfgError as error:
        step = network.options.resize_step
        fitting_ = "x".join(str(max(1, round(side / step)) * step) for side in size)
        hint = f"use multiples of {step}, such as {fitting_}"
        raise OptionError(f"--size {args.size} does not fit: {error}", hint=hint) from None


def read_model(network: Network, args: argparse.Namespace) -> Model:
    """Return the network with WEIGHTS, ready for inference on --device."""
    from ghostyolo.distributed import pick_device
    from ghostyolo.model.model import Model

    device = pick_device(args.device)
    return Model(network, args.weights).to(device)
