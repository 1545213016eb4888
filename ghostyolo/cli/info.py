"""ghostyolo info: the layers of a cfg and what they cost."""

from __future__ import annotations

import argparse
import json

from ghostyolo import info
from ghostyolo.cli import shared


def options(p: argparse.ArgumentParser) -> None:
    """Declare what info takes."""
    shared.add_cfg(p)
    p.add_argument("--size", metavar="HxW", help="input size in pixels, instead of [net]'s")
    p.add_argument("--json", action="store_true", help="print JSON for programs")


def run(args: argparse.Namespace) -> None:
    """Print the layers of a cfg and what they cost."""
    network = shared.read_network(args)
    print(json.dumps(info.as_dict(network)) if args.json else info.text(network))
