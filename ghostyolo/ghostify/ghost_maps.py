"""Ghosts among feature maps: maps that are nearly a linear image of another map.

A linear image of a map is its convolution with one d x d kernel, and a bias.
Source: Han et al., GhostNet, CVPR 2020, figure 1 and table 2 (the error of d x d linear maps from
one feature map to another).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ghostyolo.errors import OptionError
from ghostyolo.ghostify.least_squares import pairwise, samples
from ghostyolo.ghostify.options import THRESHOLD, GhostOptions
from ghostyolo.ghostify.selection import reasons_to_stay
from ghostyolo.layers.convolutional import Convolutional
from ghostyolo.model.model import Model
from ghostyolo.network import Network, Node
from ghostyolo.network.ghost_modules import ghost_modules
from ghostyolo.network.outputs import detection_heads

WORTHWHILE = 0.4  # share of ghosts from which a module at ratio 2 loses little
KERNELS = (1, 3, 5, 7)  # of the paper's table 2
EXACT = 1e-5  # share of the variance that rounding alone misses
PIXELS_PER_WEIGHT = 10  # least pixels of a map; with fewer, a linear image fits any map
VISIBLE = 1000  # least pixels of a map in which a person recognises the picture
NEAREST = 4  # best sources kept for each map
LISTED = 5  # pairs of a layer in the text


@dataclass(frozen=True)
class MapPair:
    """A map, its source, and the error of the best linear image of the source.

    error: share of the map's variance that is missed. mse: mean squared error of the map scaled to
    [0, 1], as in the paper.
    """

    map: int
    source: int
    error: float
    mse: float


@dataclass(frozen=True)
class LayerGhosts:
    """The maps of a layer, and the pairs in which one nearly makes another, the best pairs first.

    maps: the number of maps. dead: the number of constant maps, which are in no pair. pixels: of
    each map.
    """

    index: int
    name: str
    maps: int
    pairs: tuple[MapPair, ...]
    dead: int
    pixels: int

    def ghosts(self, threshold: float = THRESHOLD) -> int:
        """Return the number of maps that could be made from others, see `ghost_pairs`."""
        return len(self.ghost_pairs(threshold))

    def ghost_pairs(self, threshold: float = THRESHOLD) -> list[MapPair]:
        """Return the pairs whose map could be left out and made from its source.

        Pairs are taken from the best to the worst. A map that is made from another one cannot be a
        source, and a source cannot be made from another map.
        """
        made, sources, kept = set[int](), set[int](), []
        for pair in self.pairs:
            free = pair.map not in made | sources and pair.source not in made
            if pair.error <= threshold and free:
                made.add(pair.map)
                sources.add(pair.source)
                kept.append(pair)
        return kept


@dataclass(frozen=True)
class GhostMaps:
    """The ghosts among a network's maps.

    shown: the layers whose pairs are printed and drawn. outputs: by layer, (1, C, H, W).
    worthwhile: convolutions that a ghost module could replace at little loss.
    """

    layers: tuple[LayerGhosts, ...]
    shown: tuple[LayerGhosts, ...]
    outputs: Mapping[int, Tensor]
    worthwhile: tuple[int, ...]
    threshold: float
    dw: int

    def as_dict(self) -> dict[str, Any]:
        """Return layers and pairs for a program to read."""
        rows = []
        for layer in self.layers:
            pairs = [asdict(pair) for pair in layer.ghost_pairs(self.threshold)]
            row = {"index": layer.index, "name": layer.name, "maps": layer.maps, "dead": layer.dead}
            rows.append({**row, "ghosts": len(pairs), "pairs": pairs})
        numbers = {"threshold": self.threshold, "dw": self.dw}
        return {**numbers, "layers": rows, "worthwhile": list(self.worthwhile)}

    def text(self) -> str:
        """Return a line for each layer, then the best pairs of the layers shown."""
        lines = [f"{'#':>4} {'maps':>5} {'ghosts':>6} {'share':>6} {'dead':>5} {'best':>7}  name"]
        for layer in self.layers:
            count = layer.ghosts(self.threshold)
            best = f"{layer.pairs[0].error:.2%}" if layer.pairs else ""
            lines.append(
                f"{layer.index:>4} {layer.maps:>5} {count:>6} {count / layer.maps:>6.0%} "
                f"{layer.dead:>5} {best:>7}  {layer.name}".rstrip()
            )
        return "\n".join([*lines, *map(self._errors, self.shown)])

    def _errors(self, layer: LayerGhosts) -> str:
        """Return a layer's best pairs, with their errors as in the paper's table 2."""
        heads = "".join(f"{f'{dw}x{dw}':>10}" for dw in KERNELS)
        lines = [f"\nlayer {layer.index}: MSE of maps in [0, 1] by kernel\n{'pair':>12} {heads}"]
        for pair in (layer.ghost_pairs(self.threshold) or list(layer.pairs))[:LISTED]:
            mses = mse_by_kernel(self.outputs[layer.index], pair).values()
            errors = "".join(f"{mse:>10.2e}" for mse in mses)
            lines.append(f"{f'{pair.source} -> {pair.map}':>12} {errors}")
        return "\n".join(lines)


# Takes the results of layers as they come, their number and its unit, and passes them on.
Watch = Callable[[Iterator[LayerGhosts], int, str], Iterable[LayerGhosts]]


def analyse(
    model: Model,
    x: np.ndarray,
    *,
    layers: Sequence[int] | None = None,
    threshold: float = THRESHOLD,
    dw: int = 3,
    watch: Watch = lambda items, total, unit: items,
) -> GhostMaps:
    """Run a model on x (1, C, h, w) and return the ghosts among its maps.

    layers: indices of the layers to compare, by default those of `candidates`. dw: size of the
    linear images' kernels. watch: passes the results of the layers on and shows progress. Raises
    `OptionError` for an even kernel and for a layer with one map.
    """
    if dw < 1 or dw % 2 == 0:
        raise OptionError(f"--dw {dw}", hint="use an odd kernel, such as 3")
    network = model.network
    for index in layers or ():
        if not 0 <= index < len(network) or network[index].shape.c < 2:
            message = f"--layer {index}: no layer with several maps"
            raise OptionError(message, hint=f"use 0 to {len(network) - 1}")
    nodes = [network[index] for index in layers] if layers else candidates(network, dw)
    if not nodes:
        raise OptionError("no layer has maps to compare", hint="give one with --layer")
    with torch.inference_mode():
        image = torch.from_numpy(x).to(model.device)
        kept = model.run(image, frozenset(node.index for node in nodes))
    outputs = {node.index: kept[node.index].float().cpu() for node in nodes}
    each = (find_ghosts(network[index], maps, dw) for index, maps in outputs.items())
    found = tuple(watch(each, len(outputs), "layer"))
    shown = found if layers else tuple(most_redundant(found, threshold))
    worth = tuple(worth_replacing(network, found, threshold))
    return GhostMaps(found, shown, outputs, worth, threshold, dw)


def candidates(network: Network, dw: int = 3) -> list[Node]:
    """Return the convolutions and ghost modules with more than three maps that are large enough.

    The parts of ghost modules and the inputs of heads are left out.
    """
    modules = list(ghost_modules(network))
    parts = {node.index for module in modules for node in (module.primary, *module.cheap)}
    heads = {node.inputs[0] for node, _ in detection_heads(network)}
    found = [node for node in network if isinstance(node.layer, Convolutional)]
    found = [node for node in found if node.index not in parts | heads]
    found += [module.out for module in modules]
    least = PIXELS_PER_WEIGHT * (dw * dw + 1)
    found = [n for n in found if n.shape.h * n.shape.w >= least and n.shape.c > 3]
    return sorted(found, key=lambda node: node.index)


def find_ghosts(node: Node, maps: Tensor, dw: int = 3) -> LayerGhosts:
    """Return the ghosts among the outputs (N, C, H, W) of a node, by kernels of dw x dw."""
    errors = pairwise(maps, dw)
    variance = maps.var((0, 2, 3), correction=0)
    alive = variance > 1e-8 * variance.max().clamp(min=1e-20)
    span = maps.amax((0, 2, 3)) - maps.amin((0, 2, 3))
    pairs = []
    for index in torch.nonzero(alive).flatten().tolist():
        column = errors[:, index].clone()
        column[index] = torch.inf
        column[~alive] = torch.inf
        for source in torch.argsort(column)[:NEAREST].tolist():
            error = float(column[source])
            if np.isfinite(error):
                mse = error * float(variance[index] / span[index] ** 2)
                pairs.append(MapPair(index, source, error, mse))
    pairs.sort(key=lambda pair: pair.error)
    _, channels, h, w = maps.shape
    return LayerGhosts(node.index, node.title, channels, tuple(pairs), int((~alive).sum()), h * w)


def most_redundant(
    layers: Sequence[LayerGhosts], threshold: float, most: int = 3
) -> list[LayerGhosts]:
    """Return the `most` layers with the largest shares of ghosts, in the order of the network.

    Layers whose maps are too small for a person to recognise anything come after the others. Layers
    with exact ghosts, which are linear ghost modules already, are returned only if there are no
    others.
    """

    def rank(layer: LayerGhosts) -> tuple[bool, float]:
        share = layer.ghosts(threshold) / layer.maps
        return not share or layer.pixels < VISIBLE, -share

    inexact = [layer for layer in layers if layer.pairs and layer.pairs[0].error > EXACT]
    best = sorted(inexact or layers, key=rank)[:most]
    return sorted(best, key=lambda layer: layer.index)


def worth_replacing(network: Network, layers: Sequence[LayerGhosts], threshold: float) -> list[int]:
    """Return the convolutions that a ghost module could replace at little loss.

    `ghostify` replaces them by default, and at least `WORTHWHILE` of their maps are ghosts; a
    module at ratio 2 makes half of the maps from others.
    """
    reasons = reasons_to_stay(network, GhostOptions())
    enough = [layer for layer in layers if layer.ghosts(threshold) >= WORTHWHILE * layer.maps]
    return [layer.index for layer in enough if reasons.get(layer.index) == ""]


def mse_by_kernel(maps: Tensor, pair: MapPair) -> dict[int, float]:
    """Return a pair's error by kernel size, of maps scaled to [0, 1], as in the paper's table 2."""
    target = maps[:, pair.map]
    span = (target.amax() - target.amin()).clamp(min=1e-12)
    return {
        dw: float(((linear_image(maps, pair.source, pair.map, dw) - target) / span).square().mean())
        for dw in KERNELS
    }


def linear_image(maps: Tensor, source: int, target: int, dw: int = 3) -> Tensor:
    """Return the linear image (N, H, W) of map `source` that is closest to map `target`."""
    wanted = maps[:, target]
    x, y = samples(maps[:, [source]], maps[:, [target]], dw, most=wanted.numel())
    x = x.flatten(1).double()
    x = torch.cat((x, torch.ones(len(x), 1)), 1)
    found = torch.linalg.lstsq(x, y.double()).solution
    return (x @ found).reshape(wanted.shape).to(maps.dtype)
