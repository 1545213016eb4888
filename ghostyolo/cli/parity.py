"""ghostyolo parity: compare a network with another program's run of it, layer by layer."""

from __future__ import annotations

import argparse
import json

from ghostyolo.cli import shared


def options(p: argparse.ArgumentParser) -> None:
    """Declare what parity takes."""
    from ghostyolo.parity import TOLERANCE

    shared.add_cfg(p)
    p.add_argument("weights", metavar="WEIGHTS")
    p.add_argument(
        "--against",
        required=True,
        metavar="OTHER",
        help="opencv (version 4), onnx:FILE, or trace:FILE from 'ghostyolo trace'",
    )
    shared.add_input(p, "0, or the input of the trace")
    shared.add_run(p)
    p.add_argument(
        "--tolerance",
        type=float,
        default=TOLERANCE,
        metavar="SHARE",
        help=f"largest difference, as a share of a layer's largest magnitude ({TOLERANCE:g})",
    )
    p.add_argument(
        "--keep-eps",
        action="store_true",
        help="opencv: do not correct the weights for its batch-norm epsilon of 1e-6",
    )
    p.add_argument("--all", action="store_true", help="list every layer, not only the outputs")
    p.add_argument("--json", action="store_true", help="print JSON for programs")


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
    print(json.dumps(found.as_dict()) if args.json else found.text(all_layers=args.all))
    return 0 if found.equal else 1
