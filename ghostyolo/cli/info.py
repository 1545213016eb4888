"""ghostyolo info: print the layers of a cfg and their cost."""

from __future__ import annotations

import argparse

from ghostyolo.cli import shared
from ghostyolo.network import info
from ghostyolo.syntax.arguments import Parser

EXAMPLES = ("my.cfg", "ghostnet-1.0-coco --size 320x320 --cost")


def options(p: Parser) -> None:
    """Declare what info takes."""
    shared.add_cfg(p)
    group = p.group("cost")
    group.add_argument(
        "--cost",
        action="store_true",
        help="print memory traffic, broken design guidelines, the savings of ghost modules, "
        "and the time predicted from this machine's rates, which are measured once",
    )
    text = "with --cost: measure the rates again"
    group.add_argument("--remeasure", action="store_true", help=text)
    shared.add_json(p)


def run(args: argparse.Namespace) -> None:
    """Print the layers of a cfg and what they cost."""
    network = shared.read_network(args)
    if args.cost or args.remeasure:
        from ghostyolo.bench.machine import machine

        rates = machine(fresh=args.remeasure)
        found = info.cost_as_dict(network, rates)
        shared.say(
            shared.json_text(found) if args.json else info.cost_text(network, rates), keep="\n"
        )
        return
    shared.say(
        shared.json_text(info.as_dict(network)) if args.json else info.text(network), keep="\n"
    )
