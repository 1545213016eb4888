"""ghostyolo anchors: anchors that fit a data set, written into a cfg."""

from __future__ import annotations

import argparse
import json

from ghostyolo.cli import shared

ABOUT = (
    "IoU is that of a box and its best anchor, both centred. Anchors are in pixels of the input; "
    "heads of small stride get the small ones. After a change the network must be trained again."
)


def options(p: argparse.ArgumentParser) -> None:
    """Declare what anchors takes."""
    from ghostyolo.data.layouts import DATA_HELP

    p.epilog = ABOUT
    p.add_argument("data", metavar="DATA", help=DATA_HELP)
    shared.add_cfg(p)
    p.add_argument("--split", default="train", help="split of DATA (train)")
    p.add_argument("--names", metavar="FILE", help="class names, one a line (those of DATA)")
    p.add_argument("--size", metavar="HxW", help="input size in pixels, instead of [net]'s")
    p.add_argument("--num", type=shared.count, metavar="N", help="number of anchors (the cfg's)")
    p.add_argument("--seed", type=int, default=0, help="seed of the clustering (0)")
    p.add_argument("--out", metavar="NEW.cfg", help="write the new cfg here; may be CFG itself")
    p.add_argument("--json", action="store_true", help="print JSON for programs")


def run(args: argparse.Namespace) -> None:
    """Cluster the boxes of a data set and write the anchors into a cfg."""
    from ghostyolo.data.anchors import fit_anchors
    from ghostyolo.files import replace
    from ghostyolo.network import dumps

    network = shared.read_network(args)
    found = fit_anchors(network, args.data, args.split, args.names, num=args.num, seed=args.seed)
    if args.out:
        replace(args.out, [dumps(found.network).encode()])
    if args.json:
        print(json.dumps(found.as_dict(args.out)))
        return
    print(found.table())
    print(f"\n{args.out}: written" if args.out else "\n--out NEW.cfg writes them into a cfg")
