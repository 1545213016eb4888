"""Fit one convolution, or one ghost module, so that it makes wanted maps from changed inputs.

Maps are (N, C, h, w). All functions change the module's tensors in place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ghostyolo.ghostify.least_squares import fit_kernels, layer_samples, samples, weight_correction
from ghostyolo.ops.convolution import Convolution

MOST_CORRECTED = 2304  # largest number of weights of a filter to correct: 256 channels of 3 x 3
FLAT = 1e-8  # variance below which the statistics of a channel stay as they are
LEARNING_RATE = 0.03  # first one, for a root mean square of 1; it falls along half a cosine
SMALLEST = 1e-3  # least root mean square of a tensor that its learning rate is scaled by
BATCH_PIXELS = 8192  # of the maps in a step, in whole pictures
LEAST_VARIANCE = 0.01  # least variance that an error is divided by, as a share of the mean variance


def correct_weights(module: Convolution, maps: Tensor, wanted: Tensor) -> None:
    """Change a dense convolution's weights so that it makes the wanted results from its inputs.

    maps: its inputs. wanted: its results before batch norm and activation.
    """
    weight, bias = module.conv.weight, module.conv.bias
    if weight[0].numel() > MOST_CORRECTED:
        return
    missing = wanted - module.conv(maps)
    weight += weight_correction(*layer_samples(maps, missing, module.conv)).view_as(weight)
    if bias is not None:
        bias += (wanted - module.conv(maps)).mean((0, 2, 3))


def fit_cheap(module: Convolution, maps: Tensor, wanted: Tensor, sources: Tensor) -> None:
    """Set the kernels of a depthwise convolution, and its bias or batch norm.

    maps: its inputs. wanted: its results before the activation. sources: for each filter the index
    of the map that it reads.
    """
    kernel, norm = module.conv.weight, module.norm
    windows, targets = samples(maps, wanted, kernel.shape[-1])
    taps, bias = fit_kernels(windows, targets, sources, module.act)
    kernel.copy_(taps.view_as(kernel))
    if norm is None:
        assert module.conv.bias is not None
        module.conv.bias.copy_(bias)
        return
    mean, var = _statistics(module)
    mean.zero_()
    var.fill_(1 - norm.eps)
    norm.weight.fill_(1)
    norm.bias.copy_(bias)
    recompute_statistics(module, maps)


def recompute_statistics(module: Convolution, maps: Tensor) -> None:
    """Take the running statistics from the inputs; change scale and bias so that the output stays.

    In training, batch norm uses the statistics of each batch, so that further training starts from
    this output.
    """
    norm, (mean, var) = module.norm, _statistics(module)
    assert norm is not None
    now_mean, now_var = _moments(module.conv(maps))
    norm.bias.add_(norm.weight * (now_mean - mean) / (var + norm.eps).sqrt())
    norm.weight.mul_(((now_var + norm.eps) / (var + norm.eps)).sqrt())
    mean.copy_(now_mean)
    var.copy_(now_var)


def match_moments(module: Convolution, maps: Tensor, old: Tensor) -> None:
    """Change the running statistics so that the output keeps its mean and variance.

    maps: the changed inputs. old: the convolution's results before the change, in the order of its
    new channels.
    """
    mean, var = _statistics(module)
    old_mean, old_var = _moments(old)
    now_mean, now_var = _moments(module.conv(maps))
    varies = (old_var > FLAT) & (now_var > FLAT)
    scale = torch.where(varies, now_var / old_var.clamp(min=FLAT), 1.0)
    mean.copy_(torch.where(varies, now_mean - (old_mean - mean) * scale.sqrt(), mean))
    var.mul_(scale)


def refine(
    module: Callable[[Tensor], Tensor],
    parameters: Sequence[Tensor],
    x: Tensor,
    wanted: Tensor,
    steps: int,
) -> None:
    """Change all parameters of a ghost module by gradient descent so that it makes wanted maps.

    Least squares fit the cheap kernels to fixed intrinsic maps. Gradient descent changes the
    intrinsic filters too, where that lowers the error of all maps together. The error of each map
    is relative to its variance, as the layers that read it can scale it. Each step of Adam takes
    other pictures, the same ones in every call.
    """
    sizes = [max(SMALLEST, float(parameter.square().mean().sqrt())) for parameter in parameters]
    adam = torch.optim.Adam([{"params": [p]} for p in parameters], betas=(0.9, 0.99))
    variance = wanted.var((0, 2, 3), keepdim=True)
    weight = variance.clamp(min=LEAST_VARIANCE * float(variance.mean()) + 1e-12).reciprocal()
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


def _statistics(module: Convolution) -> tuple[Tensor, Tensor]:
    norm = module.norm
    assert norm is not None and norm.running_mean is not None and norm.running_var is not None
    return norm.running_mean, norm.running_var


def _moments(maps: Tensor) -> tuple[Tensor, Tensor]:
    return maps.mean((0, 2, 3)), maps.var((0, 2, 3), correction=0)
