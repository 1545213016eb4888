"""Gradient descent on a whole ghost module, after least squares on each of its parts.

Least squares fit cheap kernels to intrinsic maps that stay as they are. Descent changes the
intrinsic filters too, where that lowers the error of all maps together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

LEARNING_RATE = 0.03  # at first, for a root mean square of 1; it falls along half a cosine
SMALLEST = 1e-3  # root mean square of a tensor that its learning rate is for, at least
BATCH_PIXELS = 8192  # of the maps in a step, in whole pictures
FLAT = 0.01  # of the mean variance, the least that the error of a map is divided by


def refine(
    module: Callable[[Tensor], Tensor],
    parameters: Sequence[Tensor],
    x: Tensor,
    wanted: Tensor,
    steps: int,
) -> None:
    """Change a module's parameters so that it makes the wanted maps (N, C, h, w) from x.

    The error of each map is relative to its variance, as the layers behind it can scale it. Each
    step of Adam takes other pictures, the same ones in every call.
    """
    sizes = [max(SMALLEST, float(parameter.square().mean().sqrt())) for parameter in parameters]
    adam = torch.optim.Adam([{"params": [p]} for p in parameters], betas=(0.9, 0.99))
    variance = wanted.var((0, 2, 3), keepdim=True)
    weight = variance.clamp(min=FLAT * float(variance.mean()) + 1e-12).reciprocal()
    count, generator = len(x), torch.Generator().manual_seed(0)
    batch = min(count, max(1, BATCH_PIXELS // math.prod(wanted.shape[2:])))
    for step in range(steps):
        chosen = torch.randperm(count, generator=generator)[:batch]
        with torch.enable_grad():
            error = module(x[chosen]) - wanted[chosen]
            gradients = torch.autograd.grad((error.square() * weight).mean(), parameters)
        rate = LEARNING_RATE * (1 + math.cos(math.pi * step / steps)) / 2
        for group, size in zip(adam.param_groups, sizes, strict=True):
            group["lr"] = rate * size
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        adam.step()
    adam.zero_grad()
