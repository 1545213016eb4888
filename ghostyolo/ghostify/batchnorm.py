"""New batch-norm statistics for convolutions whose inputs have changed."""

from __future__ import annotations

import torch
from torch import Tensor

from ghostyolo.ops.convolution import Convolution

FLAT = 1e-8  # variance below which a channel's statistics are left alone


def recompute_statistics(module: Convolution, maps: Tensor) -> None:
    """Take the running statistics from the maps, and keep the output by changing scale and bias.

    In training the statistics are each batch's own, so that further training starts from this
    output.
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

    maps: the changed inputs. old: (N, C, h, w), the convolution's results before the change, in the
    order of its new channels.
    """
    mean, var = _statistics(module)
    old_mean, old_var = _moments(old)
    now_mean, now_var = _moments(module.conv(maps))
    varies = (old_var > FLAT) & (now_var > FLAT)
    scale = torch.where(varies, now_var / old_var.clamp(min=FLAT), 1.0)
    mean.copy_(torch.where(varies, now_mean - (old_mean - mean) * scale.sqrt(), mean))
    var.mul_(scale)


def _statistics(module: Convolution) -> tuple[Tensor, Tensor]:
    norm = module.norm
    assert norm is not None and norm.running_mean is not None and norm.running_var is not None
    return norm.running_mean, norm.running_var


def _moments(maps: Tensor) -> tuple[Tensor, Tensor]:
    return maps.mean((0, 2, 3)), maps.var((0, 2, 3), correction=0)
