"""ghostyolo ghosts: find feature maps that are nearly linear images of other maps."""

from __future__ import annotations

import argparse
from functools import partial

from ghostyolo.cli import model_argument, shared
from ghostyolo.ghostify.options import THRESHOLD
from ghostyolo.syntax.arguments import Parser

EXAMPLES = (
    "runs/train/first dog.jpg --out ghosts.png",
    "my.cfg best.weights dog.jpg --layer 1 2 --json",
)


def options(p: Parser) -> None:
    """Declare what ghosts takes."""
    model_argument.add_model(p)
    p.group("input").add_argument("input", metavar="IMAGE", help="picture to run on")
    group, text = p.group("ghosts"), "layers to show (the most redundant)"
    group.add_argument("--layer", type=int, nargs="+", metavar="N", help=text)
    group.add_argument(
        "--threshold",
        type=shared.fraction,
        default=THRESHOLD,
        help=f"largest share of a map's variance that its linear image misses ({THRESHOLD})",
    )
    text = "odd size of the kernels of the linear images (3)"
    group.add_argument("--dw", type=int, default=3, help=text)
    shared.add_device(p)
    text = "draw the best pairs side by side in a .png"
    p.group("output").add_argument("--out", metavar="FILE", help=text)
    shared.add_json(p)
    shared.add_quiet(p)


def run(args: argparse.Namespace) -> None:
    """Find the ghosts among the maps of a network and print which convolutions to replace."""
    from ghostyolo.data.inputs import picture_input
    from ghostyolo.ghostify.ghost_maps import analyse
    from ghostyolo.ghostify.ghost_maps_figure import write_figure

    model = shared.read_model(shared.read_network(args), args)
    x = picture_input(model.network, args.input, hint="give a network that takes pictures")
    watch = partial(shared.watched, args, what="ghosts")
    found = analyse(model, x, layers=args.layer, threshold=args.threshold, dw=args.dw, watch=watch)
    if args.out:
        write_figure(args.out, found)
    if args.json:
        shared.say(shared.json_text(found.as_dict()))
        return
    shared.say(found.text(), keep="\n")
    shared.say("")
    if args.out:
        shared.say(f"{args.out}: written")
    if found.worthwhile:
        select = ",".join(map(str, found.worthwhile))
        shared.say(
            f"worth replacing by ghost modules: ghostyolo ghostify {args.cfg} --select {select} "
            f"--from-weights {args.weights} ..."
        )
    else:
        shared.say("no convolution has enough ghosts to be replaced at little loss")
