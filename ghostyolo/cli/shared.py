"""Options and actions that several commands share."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from ghostyolo.errors import CfgError, Findings, OptionError
from ghostyolo.files import SCHEMA
from ghostyolo.network import Network, load
from ghostyolo.network.net_options import parse_size

if TYPE_CHECKING:
    from ghostyolo.model.model import Model

T = TypeVar("T")


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


def add_cfg(p: argparse.ArgumentParser, what: str = "network, a Darknet .cfg file") -> None:
    """Declare CFG, with the help text `what`, and how strictly it is read."""
    p.add_argument("cfg", metavar="CFG", help=what)
    p.add_argument("--strict", action="store_true", help="treat warnings about the cfg as errors")
    p.add_argument(
        "--darknet-compat", action="store_true", help="read mistakes in it as Darknet does"
    )


def add_names(p: argparse.ArgumentParser) -> None:
    """Declare the option for the names of the classes."""
    p.add_argument("--names", metavar="FILE", help="class names, one a line (beside WEIGHTS)")


def add_thresholds(p: argparse.ArgumentParser, thresh: float, nms: float) -> None:
    """Declare the thresholds of detection: None unless given; the help names these defaults."""
    p.add_argument("--thresh", type=fraction, help=f"confidence threshold of boxes ({thresh})")
    p.add_argument("--nms", type=fraction, help=f"IoU threshold of non-maximum suppression ({nms})")


def progress(what: str, unit: str) -> Callable[[int, int], None]:
    """Return a function that shows a progress bar from the number of done and of all units."""
    from ghostyolo.cli.progress import Progress

    shown: list[Progress] = []

    def advance(done: int, total: int) -> None:
        if not shown:
            shown.append(Progress(total, what, unit))
        shown[0].advance_to(done)
        if done == total:
            shown[0].close()

    return advance


def watched(items: Iterator[T], total: int, unit: str, what: str = "detect") -> Iterator[T]:
    """Yield the items; show a progress bar and the items per second on a terminal."""
    if not sys.stderr.isatty():
        yield from items
        return
    from ghostyolo.cli.progress import Progress

    shown = Progress(total, what, unit)
    for done, item in enumerate(items, 1):
        yield item
        shown.advance_to(done)
    shown.close()


def print_above_bar(line: str) -> None:
    """Print a line on standard output, above a progress bar if there is one."""
    if not sys.stderr.isatty():
        print(line)
        return
    from tqdm import tqdm

    tqdm.write(line)


def add_run(p: argparse.ArgumentParser) -> None:
    """Declare the options of every command that runs a network."""
    p.add_argument("--size", metavar="HxW", help="input size in pixels, instead of [net]'s")
    p.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps ... (auto)")


def add_data(p: argparse.ArgumentParser, split: str) -> None:
    """Declare DATA and the split of it to use."""
    from ghostyolo.data.layouts import DATA_HELP

    p.add_argument(
        "data",
        metavar="DATA",
        help=f"{DATA_HELP}; for a classifier a folder with a folder of pictures for each class, or "
        "a .data",
    )
    p.add_argument("--split", default=split, help=f"part of DATA ({split})")
    p.add_argument("--names", metavar="FILE", help="class names, one a line (those of DATA)")
    add_run(p)


def add_input(p: argparse.ArgumentParser, default: str) -> None:
    """Declare the options for a single input."""
    which = p.add_mutually_exclusive_group()
    which.add_argument("--input", metavar="IMAGE", help="run on this picture")
    which.add_argument("--seed", type=int, help=f"run on random numbers instead ({default})")


def print_json(found: dict[str, Any] | list[dict[str, Any]]) -> None:
    """Print a result, or the rows of one, as a JSON document with its schema."""
    rows = found if isinstance(found, list) else [found]
    documents = [{"schema": SCHEMA, **row} for row in rows]
    print(json.dumps(documents if isinstance(found, list) else documents[0]))


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
