"""Ghosts among feature maps: which are near-linear images of others.

Source: Han et al., GhostNet, CVPR 2020, figure 1 and table 2 (the error of d x d linear maps from
one feature map to another).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ghostyolo.layers.convolutional import Convolutional
from ghostyolo.model import Model
from ghostyolo.network import Node

PLACES = 4096  # of a layer's maps that are looked at, at most
RIDGE = 1e-6  # of the mean energy, added to what is solved, so that equal columns do no harm
THRESHOLD = 0.1  # share of a map's variance that a linear image may miss to be a ghost
SMALLEST = 5  # pixels; below, a kernel of 3 fits anything


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
    """A layer's live maps and how well each is made from another one, the best pairs first."""

    index: int
    name: str
    maps: int
    pairs: tuple[Pair, ...]
    dead: int

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


def candidates(model: Model) -> Iterator[Node]:
    """Yield the convolutions whose maps are worth a look: not of heads, large enough, several."""
    heads = {node.inputs[0] for node, _ in model.heads}
    for node in model.network:
        large = min(node.shape[1:]) >= SMALLEST and node.shape.c > 3
        if isinstance(node.layer, Convolutional) and large and node.index not in heads:
            yield node


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
    return LayerGhosts(node.index, name, maps.shape[1], tuple(pairs), int((~alive).sum()))


def pairwise(maps: Tensor, dw: int = 3, targets: Tensor | None = None) -> Tensor:
    """Return E[p, j], the share of map j's variance missed by the best dw x dw image of map p.

    maps: (N, C, H, W). targets: other maps of the same shape to be made from them, by default
    themselves. The image has a bias; borders are zeros, as a padded convolution sees them. At most
    `PLACES` pixels are looked at, the same of all maps.
    """
    windows, wanted = samples(maps, maps if targets is None else targets, dw)
    wanted = (wanted - wanted.mean(0)).double()
    energy = wanted.square().sum(0)
    errors = torch.empty(maps.shape[1], wanted.shape[1])
    for source in range(maps.shape[1]):
        x = windows[:, source].double()
        x = x - x.mean(0)
        gram = x.T @ x
        ridge = RIDGE * gram.diagonal().mean() + 1e-12
        gram.diagonal().add_(ridge)
        cross = x.T @ wanted
        explained = (cross * torch.linalg.solve(gram, cross)).sum(0)
        errors[source] = 1 - explained / energy.clamp(min=1e-20)
    return errors.clamp(0, 1)


def image(maps: Tensor, source: int, target: int, dw: int = 3) -> Tensor:
    """Return the best linear image (N, H, W) of one map as another."""
    x = windows_of(maps[:, source : source + 1], dw).flatten(0, 1).flatten(1)
    x = torch.cat((x, torch.ones(len(x), 1)), 1)
    y = maps[:, target].flatten()
    found = torch.linalg.lstsq(x, y[:, None]).solution
    return (x @ found).reshape(maps[:, target].shape)


def windows_of(maps: Tensor, dw: int) -> Tensor:
    """Return the dw x dw neighbourhoods (N, H * W, C, dw * dw) of maps (N, C, H, W)."""
    n, c = maps.shape[:2]
    columns = F.unfold(maps, dw, padding=dw // 2)
    return columns.view(n, c, dw * dw, -1).permute(0, 3, 1, 2)


def samples(maps: Tensor, targets: Tensor, dw: int) -> tuple[Tensor, Tensor]:
    """Return neighbourhoods (S, C, dw * dw) and targets (S, C) at evenly spread pixels."""
    n, c, h, w = maps.shape
    places = n * h * w
    step = max(1, -(-places // PLACES))
    while gcd(step, h * w) > 1:
        step += 1  # else only some of the columns would be seen
    chosen = torch.arange(0, places, step)
    image_, y, x = chosen // (h * w), chosen % (h * w) // w, chosen % w
    padded = F.pad(maps, [dw // 2] * 4)
    taps = [padded[image_, :, y + i, x + j] for i in range(dw) for j in range(dw)]
    return torch.stack(taps, 2), targets[image_, :, y, x]
