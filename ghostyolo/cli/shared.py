"""What several commands take and do alike."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from ghostyolo.errors import CfgError, Findings, OptionError
from ghostyolo.network import Network, load
from ghostyolo.network.net_options import parse_size

if TYPE_CHECKING:
    from ghostyolo.model.model import Model

T = TypeVar("T")


def add_cfg(p: argparse.ArgumentParser, what: str = "network, a Darknet .cfg file") -> None:
    """Declare CFG, that is what it says, and how strictly it is read."""
    p.add_argument("cfg", metavar="CFG", help=what)
    p.add_argument("--strict", action="store_true", help="take warnings about the cfg as errors")
    p.add_argument(
        "--darknet-compat", action="store_true", help="read its mistakes as Darknet does"
    )


def add_names(p: argparse.ArgumentParser) -> None:
    """Declare where the names of the classes come from."""
    p.add_argument("--names", metavar="FILE", help="class names, one a line (beside WEIGHTS)")


def add_thresholds(p: argparse.ArgumentParser, thresh: float, nms: float) -> None:
    """Declare the thresholds of detection, None if not given, which means these defaults."""
    p.add_argument("--thresh", type=share, help=f"confidence threshold of boxes ({thresh})")
    p.add_argument("--nms", type=share, help=f"IoU threshold of non-maximum suppression ({nms})")


def progress(what: str, unit: str) -> Callable[[int, int], None]:
    """Return a function that shows how many of how many are done; unit: what is counted."""
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
    """Yield the items, with a bar and their number a second on a terminal."""
    if not sys.stderr.isatty():
        yield from items
        return
    from ghostyolo.cli.progress import Progress

    shown = Progress(total, what, unit)
    for done, item in enumerate(items, 1):
        yield item
        shown.advance_to(done)
    shown.close()


def add_run(p: argparse.ArgumentParser) -> None:
    """Declare what every command that computes takes."""
    p.add_argument("--size", metavar="HxW", help="input size in pixels, instead of [net]'s")
    p.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps ... (auto)")


def add_data(p: argparse.ArgumentParser, split: str) -> None:
    """Declare DATA and which part of it, by default `split`."""
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
    """Declare where a single input comes from."""
    which = p.add_mutually_exclusive_group()
    which.add_argument("--input", metavar="IMAGE", help="picture to run on")
    which.add_argument("--seed", type=int, help=f"run on random numbers instead ({default})")


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
    return Model(network, args.weights).to(device).eval()


def share(text: str) -> float:
    """Read a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 0 to 1")
    return value


def count(text: str) -> int:
    """Read a whole number of 1 or more."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of 1 or more")
    return int(text)
