"""Maps as linear images of others: their neighbourhoods, and what the best image misses."""

from __future__ import annotations

from math import gcd

import torch
from torch import Tensor
from torch.nn import functional as F

PLACES = 4096  # of a layer's maps that are looked at, at most
RIDGE = 1e-6  # of the mean energy, added to what is solved, so that equal columns do no harm


def pairwise(maps: Tensor, dw: int = 3, targets: Tensor | None = None) -> Tensor:
    """Return E[p, j], the share of map j's variance missed by the best dw x dw image of map p.

    maps: (N, C, H, W). targets: other maps of the same shape to be made from them, by default
    themselves. The image has a bias; borders are zeros, as a padded convolution sees them. At most
    `PLACES` pixels are looked at, the same of all maps. Sums are in double precision: small errors
    are differences of large numbers.
    """
    windows, wanted = samples(maps, maps if targets is None else targets, dw)
    wanted = (wanted - wanted.mean(0)).double()
    energy = wanted.square().sum(0)
    errors = torch.empty(maps.shape[1], wanted.shape[1])
    for source in range(maps.shape[1]):
        x = (windows[:, source] - windows[:, source].mean(0)).double()
        gram, cross = x.T @ x, x.T @ wanted
        ridge = RIDGE * gram.diagonal().mean() + 1e-12
        kernels = torch.linalg.solve(gram + ridge * torch.eye(len(gram)).double(), cross)
        explained = (kernels * (2 * cross - gram @ kernels)).sum(0)
        errors[source] = 1 - explained / energy.clamp(min=1e-20)
    return errors.clamp(0, 1)


def windows_of(maps: Tensor, dw: int) -> Tensor:
    """Return the dw x dw neighbourhoods (N, H * W, C, dw * dw) of maps (N, C, H, W)."""
    n, c = maps.shape[:2]
    columns = F.unfold(maps, dw, padding=dw // 2)
    return columns.view(n, c, dw * dw, -1).permute(0, 3, 1, 2)


def samples(maps: Tensor, targets: Tensor, dw: int) -> tuple[Tensor, Tensor]:
    """Return neighbourhoods (S, C, dw * dw) and targets (S, C) at evenly spread pixels."""
    n, _, h, w = maps.shape
    places = n * h * w
    step = max(1, -(-places // PLACES))
    while gcd(step, h * w) > 1:
        step += 1  # else only some of the columns would be seen
    chosen = torch.arange(0, places, step)
    image_, y, x = chosen // (h * w), chosen % (h * w) // w, chosen % w
    padded = F.pad(maps, [dw // 2] * 4)
    taps = [padded[image_, :, y + i, x + j] for i in range(dw) for j in range(dw)]
    return torch.stack(taps, 2), targets[image_, :, y, x]
