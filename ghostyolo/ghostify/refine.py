"""Fitting a ghost module as a whole, after its parts were fitted one after the other.

Least squares find cheap kernels for the intrinsic maps as they are. Descent moves the intrinsic
filters too: a little away from the maps that they were, to where the others come out better.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

STEPS = 100
RATE = 0.03  # of a tensor's root mean square, at first; it falls along half a cosine
LEAST = 1e-3  # root mean square of a tensor, as far as its rate goes
PLACES = 8192  # of the maps in a step, in whole pictures
FLAT = 0.01  # of the mean variance: a map that varies less has its error count no more for that


def refine(
    module: Callable[[Tensor], Tensor],
    parameters: Sequence[Tensor],
    x: Tensor,
    wanted: Tensor,
    steps: int = STEPS,
) -> None:
    """Change a module's parameters so that it makes the wanted maps (N, C, h, w) from x.

    The error of each map counts as a share of its variance, for what reads it can scale it. Steps
    are Adam's, each on other pictures, the same in every call.
    """
    sizes = [max(LEAST, float(parameter.square().mean().sqrt())) for parameter in parameters]
    adam = torch.optim.Adam([{"params": [p]} for p in parameters], betas=(0.9, 0.99))
    variance = wanted.var((0, 2, 3), keepdim=True)
    weight = variance.clamp(min=FLAT * float(variance.mean()) + 1e-12).reciprocal()
    count, generator = len(x), torch.Generator().manual_seed(0)
    batch = min(count, max(1, PLACES // math.prod(wanted.shape[2:])))
    for step in range(steps):
        chosen = torch.randperm(count, generator=generator)[:batch]
        with torch.enable_grad():
            error = module(x[chosen]) - wanted[chosen]
            gradients = torch.autograd.grad((error.square() * weight).mean(), parameters)
        rate = RATE * (1 + math.cos(math.pi * step / steps)) / 2
        for group, size in zip(adam.param_groups, sizes, strict=True):
            group["lr"] = rate * size
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        adam.step()
    adam.zero_grad()
