"""ghostyolo anchors: anchors that fit a data set, written into a cfg."""

from __future__ import annotations

import argparse

from ghostyolo.cli import shared
from ghostyolo.syntax.arguments import Parser

ABOUT = """\
IoU is that of a box and its best anchor, both centred. Anchors are in pixels
of the input; heads of small stride get the small ones. After a change the
network must be trained again.
"""
EXAMPLES = ("DATA my.cfg", "DATA my.cfg --num 6 --out my.cfg")


def options(p: Parser) -> None:
    """Declare what anchors takes."""
    p.epilog = ABOUT
    shared.add_data(p, "train")
    shared.add_reading(p)
    shared.add_cfg(p)
    group = p.group("clustering")
    text = "number of anchors (the cfg's)"
    group.add_argument("--num", type=shared.count, metavar="N", help=text)
    group.add_argument("--seed", type=int, default=0, help="seed of the clustering (0)")
    text = "write the new cfg here; may be CFG itself"
    p.group("output").add_argument("--out", metavar="NEW.cfg", help=text)
    shared.add_json(p)


def run(args: argparse.Namespace) -> None:
    """Cluster the boxes of a data set and write the anchors into a cfg."""
    from ghostyolo.data.anchors import fit_anchors
    from ghostyolo.files import replace
    from ghostyolo.network import dumps

    network = shared.read_network(args)
    names = ("num", "seed", "allow_outside", "no_cache")
    options = {name: getattr(args, name) for name in names}
    found = fit_anchors(network, args.data, args.split, args.names, **options)
    if args.out:
        replace(args.out, [dumps(found.network).encode()])
    if args.json:
        shared.say(shared.json_text(found.as_dict(args.out)))
        return
    shared.say(found.table(), keep="\n")
    shared.say("")
    shared.say(f"{args.out}: written" if args.out else "--out NEW.cfg writes them into a cfg")
