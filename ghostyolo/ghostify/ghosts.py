"""Ghosts among feature maps: which are near-linear images of others.

Source: Han et al., GhostNet, CVPR 2020, figure 1 and table 2 (the error of d x d linear maps from
one feature map to another).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ghostyolo.ghostify.choice import Wish, choose
from ghostyolo.ghostify.linear import pairwise, windows_of
from ghostyolo.layers import Head
from ghostyolo.layers.convolutional import Convolutional
from ghostyolo.network import Network, Node
from ghostyolo.network.ghost_modules import ghost_modules

THRESHOLD = 0.1  # share of a map's variance that a linear image may miss to be a ghost
WORTH = 0.4  # share of ghosts from which a module at ratio 2 loses little
KERNELS = (1, 3, 5, 7)  # of the paper's table 2
EXACT = 1e-5  # share missed, from rounding alone
PIXELS = 10  # of a map for each number that is fitted; with fewer, anything fits
VISIBLE = 1000  # pixels of a map from which a person sees what it shows


@dataclass(frozen=True)
class Pair:
    """A map, the one that it is nearly an image of, and the error of the image.

    error: share of the map's variance that is missed. mse: of the maps scaled to [0, 1], as the
    paper gives it.
    """

    map: int
    source: int
    error: float
    mse: float


@dataclass(frozen=True)
class LayerGhosts:
    """A layer's live maps and how well each is made from another one, the best pairs first.

    dead: maps of one value everywhere. pixels: of each map.
    """

    index: int
    name: str
    maps: int
    pairs: tuple[Pair, ...]
    dead: int
    pixels: int

    def ghosts(self, threshold: float = THRESHOLD) -> int:
        """Return the maps that could be made from others, each of those staying itself.

        Pairs are taken from the best on; a map that was made cannot be a source, nor a source made.
        """
        return len(self.taken(threshold))

    def taken(self, threshold: float = THRESHOLD) -> list[Pair]:
        """Return the pairs that `ghosts` counts."""
        made, sources, kept = set[int](), set[int](), []
        for pair in self.pairs:
            free = pair.map not in made | sources and pair.source not in made
            if pair.error <= threshold and free:
                made.add(pair.map)
                sources.add(pair.source)
                kept.append(pair)
        return kept


def candidates(network: Network, dw: int = 3) -> list[Node]:
    """Return the nodes whose maps are worth a look: of several, large enough, and not results.

    They are convolutions, and of ghost modules the joined maps.
    """
    modules = list(ghost_modules(network))
    parts = {node.index for module in modules for node in (module.primary, *module.cheap)}
    heads = {node.inputs[0] for node in network if isinstance(node.layer, Head)}
    found = [node for node in network if isinstance(node.layer, Convolutional)]
    found = [node for node in found if node.index not in parts | heads]
    found += [module.out for module in modules]
    least = PIXELS * (dw * dw + 1)
    found = [n for n in found if n.shape.h * n.shape.w >= least and n.shape.c > 3]
    return sorted(found, key=lambda node: node.index)


def find(node: Node, maps: Tensor, dw: int = 3) -> LayerGhosts:
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
        for source in torch.argsort(column)[:4].tolist():
            error = float(column[source])
            if np.isfinite(error):
                mse = error * float(variance[index] / span[index] ** 2)
                pairs.append(Pair(index, source, error, mse))
    pairs.sort(key=lambda pair: pair.error)
    name = node.name.splitlines()[-1] if node.name else ""
    _, channels, h, w = maps.shape
    return LayerGhosts(node.index, name, channels, tuple(pairs), int((~alive).sum()), h * w)


def telling(layers: Sequence[LayerGhosts], threshold: float, most: int = 3) -> list[LayerGhosts]:
    """Return the layers with the largest shares of ghosts, in the order of the network.

    Those with maps too small to see something in come after the others, and those whose ghosts are
    exact last: they are linear ghost modules, and no news.
    """

    def rank(layer: LayerGhosts) -> tuple[bool, float]:
        share = layer.ghosts(threshold) / layer.maps
        return not share or layer.pixels < VISIBLE, -share

    news = [layer for layer in layers if layer.pairs and layer.pairs[0].error > EXACT]
    best = sorted(news or layers, key=rank)[:most]
    return sorted(best, key=lambda layer: layer.index)


def worthwhile(network: Network, layers: Sequence[LayerGhosts], threshold: float) -> list[int]:
    """Return the convolutions that a ghost module could replace at little loss.

    They are those that ghostify would take and of whose maps at least `WORTH` are ghosts: at ratio
    2 half of them have to be.
    """
    open_ = {index for index, reason in choose(network, Wish()).items() if not reason}
    enough = [layer for layer in layers if layer.ghosts(threshold) >= WORTH * layer.maps]
    return [layer.index for layer in enough if layer.index in open_]


def mse_by_kernel(maps: Tensor, pair: Pair) -> dict[int, float]:
    """Return a pair's error by kernel size, of maps scaled to [0, 1], as the paper's table 2."""
    target = maps[:, pair.map]
    span = (target.amax() - target.amin()).clamp(min=1e-12)
    return {
        dw: float(((image(maps, pair.source, pair.map, dw) - target) / span).square().mean())
        for dw in KERNELS
    }


def image(maps: Tensor, source: int, target: int, dw: int = 3) -> Tensor:
    """Return the best linear image (N, H, W) of one map as another."""
    x = windows_of(maps[:, source : source + 1], dw).flatten(0, 1).flatten(1)
    x = torch.cat((x, torch.ones(len(x), 1)), 1)
    y = maps[:, target].flatten()
    found = torch.linalg.lstsq(x, y[:, None]).solution
    return (x @ found).reshape(maps[:, target].shape)
