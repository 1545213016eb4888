"""Ghosts among feature maps: maps that are nearly linear images of others.

Source: Han et al., GhostNet, CVPR 2020, figure 1 and table 2 (the error of d x d linear maps from
one feature map to another).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ghostyolo.errors import OptionError
from ghostyolo.ghostify.eligibility import eligibility
from ghostyolo.ghostify.least_squares import pairwise, windows_of
from ghostyolo.ghostify.options import THRESHOLD, GhostOptions
from ghostyolo.layers.convolutional import Convolutional
from ghostyolo.model.model import Model
from ghostyolo.network import Network, Node
from ghostyolo.network.ghost_modules import ghost_modules
from ghostyolo.network.outputs import detection_heads
from ghostyolo.parity.difference import on_device_of

WORTHWHILE = 0.4  # share of ghosts from which a module at ratio 2 loses little
KERNELS = (1, 3, 5, 7)  # of the paper's table 2
EXACT = 1e-5  # share of the variance missed, from rounding alone
PIXELS_PER_WEIGHT = 10  # of a map, at least; with fewer a linear image fits anything
VISIBLE = 1000  # pixels of a map from which a person sees what it shows
NEAREST = 4  # sources that are kept for each map
LISTED = 5  # pairs of a layer in the text


@dataclass(frozen=True)
class MapPair:
    """A map, a source that it is nearly a linear image of, and the image's error.

    error: share of the map's variance that is missed. mse: of the maps scaled to [0, 1], as the
    paper gives it.
    """

    map: int
    source: int
    error: float
    mse: float


@dataclass(frozen=True)
class LayerGhosts:
    """A layer's maps and how well each is made from another one, the best pairs first.

    dead: maps of one value everywhere, which are in no pair. pixels: of each map.
    """

    index: int
    name: str
    maps: int
    pairs: tuple[MapPair, ...]
    dead: int
    pixels: int

    def ghosts(self, threshold: float = THRESHOLD) -> int:
        """Return how many maps could be made from others, see `ghost_pairs`."""
        return len(self.ghost_pairs(threshold))

    def ghost_pairs(self, threshold: float = THRESHOLD) -> list[MapPair]:
        """Return the pairs in which the map could be left out and made from its source.

        Pairs are taken from the best on; a map that was made cannot be a source, nor a source made.
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
    """The ghosts among a network's maps. shown: the layers to look at, outputs: of all layers.

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
        """Return a line for each layer and the best pairs of those shown, for a person to read."""
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


def analyse(
    model: Model,
    x: np.ndarray,
    *,
    layers: Sequence[int] | None = None,
    threshold: float = THRESHOLD,
    dw: int = 3,
) -> GhostMaps:
    """Run a model on x (1, C, h, w) and return the ghosts among its maps.

    layers: indices of those to look at, by default all `candidates`. dw: size of the linear images'
    kernels. Raises `OptionError` for an even kernel and for layers without several maps.
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
        kept = model.run(on_device_of(model, x), frozenset(node.index for node in nodes))
    outputs = {node.index: kept[node.index].float().cpu() for node in nodes}
    found = tuple(find_ghosts(network[index], maps, dw) for index, maps in outputs.items())
    shown = found if layers else tuple(most_redundant(found, threshold))
    worth = tuple(worth_replacing(network, found, threshold))
    return GhostMaps(found, shown, outputs, worth, threshold, dw)


def candidates(network: Network, dw: int = 3) -> list[Node]:
    """Return the convolutions and ghost modules with several maps that are large enough.

    The parts of ghost modules and what heads read are left out.
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
    """Return the layers with the largest shares of ghosts, in the order of the network.

    Layers whose maps are too small for a person to see what they show come after the others.
    Layers with exact ghosts, which are linear ghost modules already, come in only without others.
    """

    def rank(layer: LayerGhosts) -> tuple[bool, float]:
        share = layer.ghosts(threshold) / layer.maps
        return not share or layer.pixels < VISIBLE, -share

    inexact = [layer for layer in layers if layer.pairs and layer.pairs[0].error > EXACT]
    best = sorted(inexact or layers, key=rank)[:most]
    return sorted(best, key=lambda layer: layer.index)


def worth_replacing(network: Network, layers: Sequence[LayerGhosts], threshold: float) -> list[int]:
    """Return the convolutions that a ghost module could replace at little loss.

    `ghostify` replaces them by default, and a share of at least `WORTHWHILE` of their maps are
    ghosts; a module at ratio 2 makes half of them.
    """
    reasons = eligibility(network, GhostOptions())
    enough = [layer for layer in layers if layer.ghosts(threshold) >= WORTHWHILE * layer.maps]
    return [layer.index for layer in enough if reasons.get(layer.index) == ""]


def mse_by_kernel(maps: Tensor, pair: MapPair) -> dict[int, float]:
    """Return a pair's error by kernel size, of maps scaled to [0, 1], as the paper's table 2."""
    target = maps[:, pair.map]
    span = (target.amax() - target.amin()).clamp(min=1e-12)
    return {
        dw: float(((linear_image(maps, pair.source, pair.map, dw) - target) / span).square().mean())
        for dw in KERNELS
    }


def linear_image(maps: Tensor, source: int, target: int, dw: int = 3) -> Tensor:
    """Return the best linear image (N, H, W) of one map as another."""
    x = windows_of(maps[:, source : source + 1], dw).flatten(0, 1).flatten(1).double()
    x = torch.cat((x, torch.ones(len(x), 1)), 1)
    y = maps[:, target].flatten().double()
    found = torch.linalg.lstsq(x, y[:, None]).solution
    return (x @ found).reshape(maps[:, target].shape).to(maps.dtype)
