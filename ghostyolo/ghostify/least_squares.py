"""Least squares between feature maps: how well a kernel makes one map from another, and which."""

from __future__ import annotations

from collections.abc import Callable
from math import gcd

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Activation = Callable[[Tensor], Tensor]
Pixels = tuple[Tensor, Tensor, Tensor]  # image, row and column of each sample
PAIR_PIXELS = 4096  # most pixels of a layer's maps that `pairwise` and `fit_kernels` use
LAYER_PIXELS = 16384  # `layer_samples` uses fewer than twice as many
PAIR_RIDGE = 1e-6  # of the mean of the diagonal, so that equal columns can be solved
KERNEL_RIDGE = 1e-5  # the same for `fit_kernels`
WEIGHT_RIDGE = 0.01  # the same for `weight_correction`, at least: fewer samples have a larger one
GAUSS_NEWTON_STEPS = 12
CHUNK = 64  # kernels solved at a time, which bounds the memory


def pairwise(maps: Tensor, dw: int = 3) -> Tensor:
    """Return E[p, j], the share of map j's variance missed by the best dw x dw image of map p.

    maps: (N, C, H, W). The image has a bias; pixels outside are zeros, as in a padded convolution.
    At most `PAIR_PIXELS` pixels are used, the same ones in all maps. Sums are in double precision,
    as small errors are differences of large numbers.
    """
    windows, wanted = samples(maps, maps, dw)
    wanted = (wanted - wanted.mean(0)).double()
    energy = wanted.square().sum(0)
    errors = torch.empty(maps.shape[1], wanted.shape[1])
    for source in range(maps.shape[1]):
        x = (windows[:, source] - windows[:, source].mean(0)).double()
        gram, cross = x.T @ x, x.T @ wanted
        ridge = PAIR_RIDGE * gram.diagonal().mean() + 1e-12
        kernels = torch.linalg.solve(gram + ridge * torch.eye(len(gram)).double(), cross)
        explained = (kernels * (2 * cross - gram @ kernels)).sum(0)
        errors[source] = 1 - explained / energy.clamp(min=1e-20)
    return errors.clamp(0, 1)


def fit_kernels(
    windows: Tensor, wanted: Tensor, source: Tensor, act: Activation
) -> tuple[Tensor, Tensor]:
    """Return kernels (F, d * d) and biases (F,) that make `act(wanted)` from windows.

    windows: (S, C, d * d), neighbourhoods in the intrinsic maps. wanted: (S, F), before the
    activation. source: (F,), for each kernel the index of the map that it reads.
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

    It starts from least squares before the activation. Gauss-Newton steps through the activation
    follow, in which errors that a ReLU sets to zero no longer count; each kernel keeps its best
    step.
    """
    x = torch.cat((x, torch.ones_like(x[..., :1])), 2)
    target = act(y)
    now = best = _solve(x, y)
    least = torch.full((len(x),), torch.inf)
    for _ in range(GAUSS_NEWTON_STEPS):
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
    """Return the k that minimise |x k - y|^2 with a ridge, for a batch (F, S, K), (F, S)."""
    gram = torch.einsum("fsk,fsl->fkl", x, x).double()
    cross = torch.einsum("fsk,fs->fk", x, y).double()
    diagonal = gram.diagonal(dim1=1, dim2=2)
    diagonal += KERNEL_RIDGE * diagonal.mean(1, keepdim=True) + 1e-9
    return torch.linalg.solve(gram, cross[..., None])[..., 0].to(x.dtype)


def weight_correction(windows: Tensor, missing: Tensor) -> Tensor:
    """Return the correction of a convolution's weights (F, K) that lowers the error of its outputs.

    windows: (S, K), the inputs of the kernels. missing: (S, F), wanted minus actual outputs. Least
    squares, with a ridge that grows with the number of weights per sample, as few samples do not
    determine many weights.
    """
    x = windows - windows.mean(0)
    gram = (x.T @ x).double()
    cross = (x.T @ (missing - missing.mean(0))).double()
    strength = WEIGHT_RIDGE * (1 + x.shape[1] / x.shape[0])
    gram.diagonal().add_(strength * gram.diagonal().mean() + 1e-12)
    return torch.linalg.solve(gram, cross).T.to(windows.dtype)


def samples(
    maps: Tensor, targets: Tensor, dw: int, most: int = PAIR_PIXELS
) -> tuple[Tensor, Tensor]:
    """Return neighbourhoods (S, C, dw * dw) in maps (N, C, H, W) and values (S, F) of the targets.

    The pixels are spread evenly; S is `most`, or fewer.
    """
    n, _, h, w = maps.shape
    image, y, x = pixels = _spread(n, h, w, -(-n * h * w // most))
    windows = _windows(F.pad(maps, [dw // 2] * 4), pixels, (dw, dw))
    return windows, targets[image, :, y, x]


def layer_samples(maps: Tensor, outputs: Tensor, conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Return inputs of a convolution's kernels (S, K) and outputs (S, F), at spread pixels."""
    n, _, h, w = outputs.shape
    image, y, x = _spread(n, h, w, n * h * w // LAYER_PIXELS)
    pad = [int(side) for side in conv.padding]
    padded = F.pad(maps, (pad[1], pad[1], pad[0], pad[0]))
    corners = image, y * conv.stride[0], x * conv.stride[1]
    windows = _windows(padded, corners, conv.kernel_size, conv.dilation)
    return windows.flatten(1), outputs[image, :, y, x]


def _spread(n: int, h: int, w: int, step: int) -> Pixels:
    """Return every step-th pixel of n images; the step grows until it meets all columns."""
    step = max(1, step)
    while gcd(step, h * w) > 1:
        step += 1
    chosen = torch.arange(0, n * h * w, step)
    return chosen // (h * w), chosen % (h * w) // w, chosen % w


def _windows(
    padded: Tensor, corners: Pixels, size: tuple[int, ...], dilation: tuple[int, ...] = (1, 1)
) -> Tensor:
    """Return the neighbourhoods (S, C, size[0] * size[1]) with their top left corners."""
    image, y, x = corners
    taps = [
        padded[image, :, y + i * dilation[0], x + j * dilation[1]]
        for i in range(size[0])
        for j in range(size[1])
    ]
    return torch.stack(taps, 2)
