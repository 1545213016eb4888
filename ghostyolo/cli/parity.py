"""ghostyolo parity: compare a network with another program's run of it, layer by layer."""

from __future__ import annotations

import argparse

from ghostyolo.cli import model_argument, shared
from ghostyolo.syntax.arguments import Parser

EXAMPLES = (
    "runs/train/first --against onnx:my.onnx",
    "my.cfg my.weights --against trace:my.npz --all",
)


def options(p: Parser) -> None:
    """Declare what parity takes."""
    from ghostyolo.parity import TOLERANCE

    model_argument.add_model(p)
    group = p.group("other program")
    group.add_argument(
        "--against",
        required=True,
        metavar="OTHER",
        help="opencv (version 4), onnx:FILE, or trace:FILE from 'ghostyolo trace'",
    )
    group.add_argument(
        "--keep-eps",
        action="store_true",
        help="opencv: do not correct the weights for its batch-norm epsilon of 1e-6",
    )
    shared.add_input(p, "0, or the input of the trace")
    text = f"largest difference, as a share of a layer's largest magnitude ({TOLERANCE:g})"
    p.group("thresholds").add_argument(
        "--tolerance", type=float, default=TOLERANCE, metavar="SHARE", help=text
    )
    shared.add_device(p)
    text = "list every layer, not only the outputs"
    p.group("output").add_argument("--all", action="store_true", help=text)
    shared.add_json(p)


def run(args: argparse.Namespace) -> int:
    """Compare a network with another program's run of it; return 1 if they differ."""
    from ghostyolo import parity

    found = parity.compare_with(
        shared.read_model(shared.read_network(args), args),
        args.against,
        picture=args.input,
        seed=args.seed,
        tolerance=args.tolerance,
        keep_eps=args.keep_eps,
    )
    text = found.text(all_layers=args.all)
    shared.say(shared.json_text(found.as_dict()) if args.json else text, keep="\n")
    return 0 if found.equal else 1
