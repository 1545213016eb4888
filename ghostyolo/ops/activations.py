"""Darknet's activations.

Source: AlexeyAB/darknet src/activations.c, src/activations.h.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def activation(name: str) -> nn.Module:
    """Return the module of an activation. Raises KeyError if Darknet does not have it.

    Source: AlexeyAB/darknet src/activations.c, src/activations.h.
    """
    if name == "linear":
        return nn.Identity()
    if name in _MODULES:
        return _MODULES[name]()
    return Function(name)


class Unfolded(nn.Module):
    """The base of modules that are exported as they are: their folded form is the module itself.

    They have no batch norm, and only operators that every runtime has.
    """

    def folded(self) -> nn.Module:
        """Return the module to be used in inference: this one."""
        return self


class Function(Unfolded):
    """An activation that torch has no module for."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.function = name, _FUNCTIONS[name]

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)

    def extra_repr(self) -> str:
        return self.name


def _stair(x: Tensor) -> Tensor:
    floor = x.floor()
    half = (floor / 2).floor()
    return torch.where(floor % 2 == 0, half, x - floor + half)


def _normalize_channels(x: Tensor) -> Tensor:
    positive = x.relu()
    return positive / (positive.sum(1, keepdim=True) + 1e-4)


def _normalize_channels_softmax(x: Tensor) -> Tensor:
    powers = x.exp()
    return powers / (powers.sum(1, keepdim=True) + 1e-4)


_MODULES: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky": lambda: nn.LeakyReLU(0.1),
    "revleaky": lambda: nn.LeakyReLU(0.1),
    "relie": lambda: nn.LeakyReLU(0.01),
    "logistic": nn.Sigmoid,
    "tanh": nn.Tanh,
    "hardtan": nn.Hardtanh,
    "swish": nn.SiLU,
    "mish": nn.Mish,
    "elu": nn.ELU,
}


_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "loggy": lambda x: 2 * x.sigmoid() - 1,
    "ramp": lambda x: x.relu() + 0.1 * x,
    "selu": lambda x: 1.0507 * torch.where(x >= 0, x, 1.6732 * x.expm1()),
    "gelu": lambda x: 0.5 * x * (1 + torch.tanh(0.797885 * x + 0.035677 * x**3)),
    "plse": lambda x: torch.where(
        x < -4, 0.01 * (x + 4), torch.where(x > 4, 0.01 * (x - 4) + 1, 0.125 * x + 0.5)
    ),
    "stair": _stair,
    "lhtan": lambda x: torch.where(x < 0, 0.001 * x, torch.where(x > 1, 0.001 * (x - 1) + 1, x)),
    "hard_mish": lambda x: torch.where(
        x > 0, x, torch.where(x > -2, x * x / 2 + x, torch.zeros_like(x))
    ),
    "normalize_channels": _normalize_channels,
    "normalize_channels_softmax": _normalize_channels_softmax,
    "normalize_channels_softmax_maxval": lambda x: _normalize_channels_softmax(
        x - x.amax(1, keepdim=True)
    ),
}
