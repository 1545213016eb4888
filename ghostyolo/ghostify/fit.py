"""Fitting cheap kernels: the linear map that, through the activation, best makes another map."""

from __future__ import annotations

from collections.abc import Callable
from math import gcd

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Activation = Callable[[Tensor], Tensor]
STEPS = 12  # of Gauss and Newton
RIDGE = 1e-5  # of the mean of the diagonal
CAUTION = 0.01  # ridge of `correction`, of the mean of the diagonal
SEEN = 16384  # places that `seen` takes, at most twice as many
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


def correction(windows: Tensor, missing: Tensor) -> Tensor:
    """Return what to add to the weights (F, K) of a convolution so that it makes up for its inputs.

    windows: (S, K), what the kernels see. missing: (S, F), what their outputs lack. Least squares
    with a ridge that grows with the weights for each sample, as small sets do not determine them.
    """
    x = windows - windows.mean(0)
    gram = (x.T @ x).double()
    cross = (x.T @ (missing - missing.mean(0))).double()
    strength = CAUTION * (1 + x.shape[1] / x.shape[0])
    gram.diagonal().add_(strength * gram.diagonal().mean() + 1e-12)
    return torch.linalg.solve(gram, cross).T.to(windows.dtype)


def seen(maps: Tensor, outputs: Tensor, conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Return what a convolution's kernels see (S, K) and its outputs (S, F) at chosen places."""
    n, f, h, w = outputs.shape
    step = max(1, n * h * w // SEEN)
    while gcd(step, h * w) > 1:
        step += 1
    pad = [int(side) for side in conv.padding]
    padded = F.pad(maps, (pad[1], pad[1], pad[0], pad[0]))
    (size_y, size_x), (stride_y, stride_x) = conv.kernel_size, conv.stride
    (dil_y, dil_x) = conv.dilation
    chosen = torch.arange(0, n * h * w, step)
    image, y, x = chosen // (h * w), chosen % (h * w) // w * stride_y, chosen % w * stride_x
    taps = [
        padded[image, :, y + i * dil_y, x + j * dil_x] for i in range(size_y) for j in range(size_x)
    ]
    return torch.stack(taps, 2).flatten(1), outputs.permute(0, 2, 3, 1).reshape(-1, f)[chosen]
