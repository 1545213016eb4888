"""Batch norms of a network whose maps have changed: what they took from pictures, taken anew."""

from __future__ import annotations

import torch
from torch import Tensor

from ghostyolo.ops import Convolution

FLAT = 1e-8  # variance below which a channel's statistics are left alone


def settle(module: Convolution, maps: Tensor) -> None:
    """Let the statistics be those of the maps that it receives, and give what it gives now.

    In training the statistics are each batch's own, so that training on begins from there.
    """
    norm, (mean, var) = module.norm, _statistics(module)
    assert norm is not None
    now_mean, now_var = _moments(module.conv(maps))
    norm.bias.add_(norm.weight * (now_mean - mean) / (var + norm.eps).sqrt())
    norm.weight.mul_(((now_var + norm.eps) / (var + norm.eps)).sqrt())
    mean.copy_(now_mean)
    var.copy_(now_var)


def match(module: Convolution, maps: Tensor, old: Tensor) -> None:
    """Let the output keep its mean and variance though the maps that it receives have changed.

    old: (N, C, h, w), what the convolution gave before, in the order of its new channels.
    """
    mean, var = _statistics(module)
    old_mean, old_var = _moments(old)
    now_mean, now_var = _moments(module.conv(maps))
    sound = (old_var > FLAT) & (now_var > FLAT)
    scale = torch.where(sound, now_var / old_var.clamp(min=FLAT), 1.0)
    mean.copy_(torch.where(sound, now_mean - (old_mean - mean) * scale.sqrt(), mean))
    var.mul_(scale)


def _statistics(module: Convolution) -> tuple[Tensor, Tensor]:
    norm = module.norm
    assert norm is not None and norm.running_mean is not None and norm.running_var is not None
    return norm.running_mean, norm.running_var


def _moments(maps: Tensor) -> tuple[Tensor, Tensor]:
    return maps.mean((0, 2, 3)), maps.var((0, 2, 3), correction=0)
