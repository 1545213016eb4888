"""Fitting cheap kernels: the linear map that, through the activation, best makes another map."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Activation = Callable[[Tensor], Tensor]
STEPS = 6  # of Gauss and Newton
RIDGE = 1e-5  # of the mean of the diagonal
CHUNK = 64  # kernels solved at a time, for memory's sake


def fit_kernels(
    windows: Tensor, wanted: Tensor, source: Tensor, act: Activation
) -> tuple[Tensor, Tensor]:
    """Return kernels (F, d * d) and biases (F,) that make `act(wanted)` from windows.

    windows: (S, C, d * d), neighbourhoods in the intrinsic maps. wanted: (S, F), before the
    activation. source: (F,), which of the C each kernel reads.
    """
    kernels = [
        _fit(windows[:, part].transpose(0, 1), wanted[:, place].T, act)
        for place, part in zip(
            torch.arange(len(source)).split(CHUNK), source.split(CHUNK), strict=True
        )
    ]
    found = torch.cat(kernels)
    return found[:, :-1], found[:, -1]


def _fit(x: Tensor, y: Tensor, act: Activation) -> Tensor:
    """Return the least-squares solution (F, d * d + 1), the bias last, for (F, S, d * d), (F, S).

    Least squares before the activation is where it starts; what a ReLU cuts off then ceases to
    count, by steps of Gauss and Newton, of which each kernel keeps the best.
    """
    x = torch.cat((x, torch.ones_like(x[..., :1])), 2)
    target = act(y)
    now = best = _solve(x, y)
    least = torch.full((len(x),), torch.inf)
    for _ in range(STEPS):
        predicted, slope = _through(torch.einsum("fsk,fk->fs", x, now), act)
        loss = (predicted - target).square().mean(1)
        better = loss < least
        best, least = torch.where(better[:, None], now, best), torch.minimum(loss, least)
        now = best + _solve(x * slope[..., None], target - predicted)
        if not better.any():
            break
    return best


def _through(z: Tensor, act: Activation) -> tuple[Tensor, Tensor]:
    """Return the activation of z and its slope there."""
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        out = act(z)
        (slope,) = torch.autograd.grad(out.sum(), z)
    return out.detach(), slope


def _solve(x: Tensor, y: Tensor) -> Tensor:
    """Return what minimises |x k - y|^2 for each of a batch (F, S, K), (F, S), with a ridge."""
    gram = torch.einsum("fsk,fsl->fkl", x, x).double()
    cross = torch.einsum("fsk,fs->fk", x, y).double()
    diagonal = gram.diagonal(dim1=1, dim2=2)
    diagonal += RIDGE * diagonal.mean(1, keepdim=True) + 1e-9
    return torch.linalg.solve(gram, cross[..., None])[..., 0].to(x.dtype)
