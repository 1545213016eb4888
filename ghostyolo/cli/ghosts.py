"""ghostyolo ghosts: which feature maps of a trained network are near-linear images of others."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ghostyolo.cli import shared
from ghostyolo.errors import OptionError

if TYPE_CHECKING:
    from torch import Tensor

    from ghostyolo.ghostify.ghosts import LayerGhosts

SHOWN = 5  # pairs of a layer in words


def options(p: argparse.ArgumentParser) -> None:
    """Declare what ghosts takes."""
    shared.add_cfg(p)
    p.add_argument("weights", metavar="WEIGHTS")
    p.add_argument("input", metavar="IMAGE", help="picture to run on")
    p.add_argument(
        "--layer", type=int, nargs="+", metavar="N", help="those to show (the most telling)"
    )
    p.add_argument(
        "--threshold",
        type=shared.share,
        default=0.1,
        help="share of a map's variance that its image may miss (0.1)",
    )
    p.add_argument("--dw", type=int, default=3, help="kernel of the linear maps, odd (3)")
    p.add_argument("--out", metavar="FILE", help="draw the best pairs side by side in a .png")
    p.add_argument("--json", action="store_true", help="print JSON for programs")
    shared.add_run(p)


def run(args: argparse.Namespace) -> None:
    """Find the ghosts among the maps of a network and say what they are good for."""
    from ghostyolo.ghostify import ghosts
    from ghostyolo.ghostify.sheet import write_sheet

    if args.dw < 1 or args.dw % 2 == 0:
        raise OptionError(f"--dw {args.dw}", hint="use an odd kernel, such as 3")
    network = shared.read_network(args)
    maps = _maps(args)
    found = [ghosts.find(network[index], maps[index], args.dw) for index in maps]
    shown = found if args.layer else ghosts.telling(found, args.threshold)
    if args.out:
        write_sheet(args.out, shown, maps, args.threshold, args.dw)
    worth = ghosts.worthwhile(network, found, args.threshold)
    if args.json:
        print(json.dumps(_as_dict(found, worth, args)))
        return
    print(_table(found, args.threshold))
    for layer in shown:
        print(_pairs(layer, maps[layer.index], args.threshold))
    print(_hint(args, worth))


def _maps(args: argparse.Namespace) -> dict[int, Tensor]:
    """Return the outputs of the layers in question, on the picture."""
    import torch

    from ghostyolo.ghostify import ghosts

    network = shared.read_network(args)
    model = shared.read_model(network, args)
    nodes = ghosts.candidates(network, args.dw)
    if args.layer:
        bad = [n for n in args.layer if not 0 <= n < len(network) or network[n].shape.c < 2]
        if bad:
            message = f"--layer {bad[0]}: no layer with several maps"
            raise OptionError(message, hint=f"use 0 to {len(network) - 1}")
        nodes = [network[index] for index in args.layer]
    if not nodes:
        raise OptionError("no layer has maps to compare", hint="give one with --layer")
    args.seed = None
    x = torch.from_numpy(shared.read_input(network, args)).to(next(model.parameters()).device)
    with torch.inference_mode():
        kept = model.run(x, frozenset(node.index for node in nodes))
    return {node.index: kept[node.index].float().cpu() for node in nodes}


def _table(found: list[LayerGhosts], threshold: float) -> str:
    lines = [f"{'#':>4} {'maps':>5} {'ghosts':>6} {'share':>6} {'dead':>5} {'best':>7}  name"]
    for layer in found:
        count = layer.ghosts(threshold)
        best = f"{layer.pairs[0].error:.2%}" if layer.pairs else ""
        lines.append(
            f"{layer.index:>4} {layer.maps:>5} {count:>6} {count / layer.maps:>6.0%} "
            f"{layer.dead:>5} {best:>7}  {layer.name}".rstrip()
        )
    return "\n".join(lines)


def _pairs(layer: LayerGhosts, maps: Tensor, threshold: float) -> str:
    """Return a layer's best pairs, with their errors as in the paper's table 2."""
    from ghostyolo.ghostify.ghosts import KERNELS, mse_by_kernel

    heads = "".join(f"{f'{dw}x{dw}':>10}" for dw in KERNELS)
    lines = [f"\nlayer {layer.index}: MSE of maps in [0, 1] by kernel\n{'pair':>12} {heads}"]
    for pair in (layer.taken(threshold) or list(layer.pairs))[:SHOWN]:
        errors = "".join(f"{error:>10.2e}" for error in mse_by_kernel(maps, pair).values())
        lines.append(f"{f'{pair.source} -> {pair.map}':>12} {errors}")
    return "\n".join(lines)


def _hint(args: argparse.Namespace, worth: list[int]) -> str:
    where = f"\n{args.out}: written" if args.out else ""
    if not worth:
        return f"{where}\nno convolution has enough ghosts to be replaced at little loss"
    words = ",".join(map(str, worth))
    return (
        f"{where}\nworth replacing by ghost modules: ghostyolo ghostify {args.cfg} "
        f"--select {words} --from-weights {args.weights} ..."
    )


def _as_dict(
    found: list[LayerGhosts], worth: list[int], args: argparse.Namespace
) -> dict[str, Any]:
    rows = []
    for layer in found:
        taken = layer.taken(args.threshold)
        row = {"index": layer.index, "name": layer.name, "maps": layer.maps, "dead": layer.dead}
        rows.append({**row, "ghosts": len(taken), "pairs": [asdict(pair) for pair in taken]})
    return {"threshold": args.threshold, "dw": args.dw, "layers": rows, "worthwhile": worth}
