"""ghostyolo ghosts: find feature maps that are nearly linear images of other maps."""

from __future__ import annotations

import argparse
import json

from ghostyolo.cli import shared
from ghostyolo.ghostify.options import THRESHOLD


def options(p: argparse.ArgumentParser) -> None:
    """Declare what ghosts takes."""
    shared.add_cfg(p)
    p.add_argument("weights", metavar="WEIGHTS")
    p.add_argument("input", metavar="IMAGE", help="picture to run on")
    p.add_argument(
        "--layer", type=int, nargs="+", metavar="N", help="layers to show (the most redundant)"
    )
    p.add_argument(
        "--threshold",
        type=shared.fraction,
        default=THRESHOLD,
        help=f"largest share of a map's variance that its linear image misses ({THRESHOLD})",
    )
    p.add_argument(
        "--dw", type=int, default=3, help="odd size of the kernels of the linear images (3)"
    )
    p.add_argument("--out", metavar="FILE", help="draw the best pairs side by side in a .png")
    p.add_argument("--json", action="store_true", help="print JSON for programs")
    shared.add_run(p)


def run(args: argparse.Namespace) -> None:
    """Find the ghosts among the maps of a network and print which convolutions to replace."""
    from ghostyolo.data.inputs import picture_input
    from ghostyolo.ghostify.ghost_maps import analyse
    from ghostyolo.ghostify.ghost_maps_figure import write_figure

    model = shared.read_model(shared.read_network(args), args)
    x = picture_input(model.network, args.input, hint="give a network that takes pictures")
    found = analyse(model, x, layers=args.layer, threshold=args.threshold, dw=args.dw)
    if args.out:
        write_figure(args.out, found)
    if args.json:
        print(json.dumps(found.as_dict()))
        return
    print(found.text())
    print(f"\n{args.out}: written" if args.out else "")
    if found.worthwhile:
        select = ",".join(map(str, found.worthwhile))
        print(
            f"worth replacing by ghost modules: ghostyolo ghostify {args.cfg} --select {select} "
            f"--from-weights {args.weights} ..."
        )
    else:
        print("no convolution has enough ghosts to be replaced at little loss")
