"""ghostyolo trace: one run of a network, every layer's output kept in a file."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ghostyolo.cli import shared
from ghostyolo.errors import OptionError

if TYPE_CHECKING:
    from ghostyolo.model.model import Model


def options(p: argparse.ArgumentParser) -> None:
    """Declare what trace takes."""
    shared.add_cfg(p)
    p.add_argument("weights", metavar="WEIGHTS")
    p.add_argument("out", metavar="OUT", help="an .npz for 'ghostyolo parity --against trace:OUT'")
    shared.add_input(p, "0")
    shared.add_run(p)
    p.add_argument("--layers", help="those to keep: 0,4-8,ends (all)")
    p.add_argument(
        "--samples",
        type=int,
        default=0,
        metavar="N",
        help="keep N values of a layer and its statistics (all its values)",
    )


def run(args: argparse.Namespace) -> None:
    """Run a network once and write its trace."""
    from ghostyolo.data.inputs import network_input
    from ghostyolo.parity import trace

    if args.samples < 0:
        raise OptionError(f"--samples {args.samples}", hint="use 1 or more, or 0 for all values")
    network = shared.read_network(args)
    model = shared.read_model(network, args)
    x = network_input(network, args.input, args.seed)
    kept = trace.record(model, x, samples=args.samples, layers=layer_indices(args.layers, model))
    trace.write(args.out, kept)
    size = Path(args.out).stat().st_size / 1e6
    print(f"{args.out}: {len(kept.outputs)} of {len(network)} layers, {size:.1f} MB")


def layer_indices(text: str | None, model: Model) -> set[int] | None:
    """Return the indices of a list such as 0,4-8,ends; None for no list.

    Raises `OptionError` for what is none, or names a layer that is not there.
    """
    if text is None:
        return None
    found: set[int] = set()
    last = len(model.network) - 1
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        indices = range(int(match[1]), int(match[2] or match[1]) + 1) if match else []
        named = set(model.output_indices if part == "ends" else indices)
        if not named or max(named) > last:
            hint = f"write indices and ranges of 0 to {last}, such as 0,2-3,ends"
            raise OptionError(f"--layers {text}: '{part}'", hint=hint)
        found |= named
    return found
