"""The model argument of commands: CFG WEIGHTS, or an exported file in their place.

`ghostyolo.inference.choice` decides which runtime computes it.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from ghostyolo.cli import shared
from ghostyolo.network.net_options import parse_size

if TYPE_CHECKING:
    from ghostyolo.network import Network
    from ghostyolo.runtime.interface import Runtime


def add_model(p: argparse.ArgumentParser) -> None:
    """Declare CFG and WEIGHTS; an exported file replaces both, see `cli.with_weights`."""
    from ghostyolo.exporters.formats import usual_suffixes

    exported = usual_suffixes(read=True)
    shared.add_cfg(p, f"network, a Darknet .cfg file; or an exported {exported} file")
    p.add_argument("weights", metavar="WEIGHTS", help="none if CFG is an exported file")


def add_runtime(p: argparse.ArgumentParser, batch: int = 1) -> None:
    """Declare the runtime, the batch size and the number of threads."""
    from ghostyolo.runtime.registry import AUTO, CHOICES

    p.add_argument(
        "--runtime",
        default=AUTO,
        choices=CHOICES,
        help=f"runtime that computes; auto: the fastest one with the outputs of torch ({AUTO})",
    )
    p.add_argument(
        "--batch", type=shared.count, default=batch, help=f"pictures computed at once ({batch})"
    )
    p.add_argument(
        "--threads", type=shared.count, help="number of threads (all that this process may use)"
    )


def source(args: argparse.Namespace) -> tuple[Network | str, tuple[int, int] | None]:
    """Return CFG's network at --size; or the path of an exported file, and the size (h, w)."""
    from ghostyolo.runtime.registry import is_exported

    if is_exported(args.cfg):
        return args.cfg, parse_size(args.size) if args.size else None
    return shared.read_network(args), None


def open_model(args: argparse.Namespace) -> Runtime:
    """Open CFG with WEIGHTS, or the exported file, in the runtime of --runtime."""
    from ghostyolo.inference.choice import open_runtime

    model, size = source(args)
    return open_runtime(
        model,
        args.weights or None,
        name=args.runtime,
        size=size,
        batch=args.batch,
        threads=args.threads,
        device=args.device,
    )


def class_names(args: argparse.Namespace, runtime: Runtime) -> tuple[str, ...]:
    """Return the names in --names, else those in the exported file or beside WEIGHTS, else none."""
    from ghostyolo.data.class_names import class_names

    beside = args.weights or args.cfg
    return class_names(runtime.network, args.names, runtime.class_names, beside=beside, warn=True)


def print_runtime(title: str) -> None:
    """Print the runtime that computed the results of a command, on standard error."""
    print(f"ghostyolo: computed in {title}", file=sys.stderr)
