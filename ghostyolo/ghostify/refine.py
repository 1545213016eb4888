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
FLAT = 1e-6  # variance of a map below which its error counts no more


def refine(
    module: Callable[[Tensor], Tensor],
    parameters: Sequence[Tensor],
    x: Tensor,
    wanted: Tensor,
    steps: int = STEPS,
) -> None:
    """Change a module's parameters so that it makes the wanted maps (N, C, h, w) from x.

    The error of each map counts by its variance, as what reads them can scale them. Steps are
    Adam's, each on other pictures, the same in every call.
    """
    groups = [{"params": [p], "rms": max(LEAST, float(p.square().mean().sqrt()))}
              for p in parameters]  # fmt: skip
    adam = torch.optim.Adam(groups, betas=(0.9, 0.99))
    weight = wanted.var((0, 2, 3), keepdim=True).clamp(min=FLAT).reciprocal()
    count, generator = len(x), torch.Generator().manual_seed(0)
    batch = min(count, max(1, PLACES // math.prod(wanted.shape[2:])))
    for step in range(steps):
        chosen = torch.randperm(count, generator=generator)[:batch]
        with torch.enable_grad():
            error = module(x[chosen]) - wanted[chosen]
            gradients = torch.autograd.grad((error.square() * weight).mean(), parameters)
        for group, parameter, gradient in zip(
            adam.param_groups, parameters, gradients, strict=True
        ):
            group["lr"] = RATE * group["rms"] * (1 + math.cos(math.pi * step / steps)) / 2
            parameter.grad = gradient
        adam.step()
    for parameter in parameters:
        parameter.grad = None
