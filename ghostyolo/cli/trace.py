"""ghostyolo trace: run a network once and write every layer's output to a file."""

from __future__ import annotations

import argparse
from pathlib import Path

from ghostyolo.cli import model_argument, shared
from ghostyolo.syntax.arguments import Parser

EXAMPLES = (
    "runs/train/first first.npz --input dog.jpg",
    "my.cfg my.weights my.npz --layers 0-2,outputs",
)


def options(p: Parser) -> None:
    """Declare what trace takes."""
    model_argument.add_model(p)
    shared.add_input(p, "0")
    shared.add_device(p)
    group, text = p.group("output"), "an .npz for 'ghostyolo parity --against trace:OUT'"
    group.add_argument("out", metavar="OUT", help=text)
    group.add_argument("--layers", help="layers to keep, such as 0,4-8,outputs (all)")
    group.add_argument(
        "--samples",
        type=int,
        default=0,
        metavar="N",
        help="values to keep of each layer, in addition to its statistics (all)",
    )


def run(args: argparse.Namespace) -> None:
    """Run a network once and write its trace."""
    from ghostyolo.data.inputs import network_input
    from ghostyolo.parity import trace

    network = shared.read_network(args)
    model = shared.read_model(network, args)
    x = network_input(network, args.input, args.seed)
    kept = trace.record(model, x, samples=args.samples, layers=args.layers)
    trace.write(args.out, kept)
    size = Path(args.out).stat().st_size / 1e6
    shared.say(f"{args.out}: {len(kept.outputs)} of {len(network)} layers, {size:.1f} MB")
