"""Several maps to one, or one from none."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ghostyolo.ops.activations import activation as activation_of


class Route(nn.Module):
    """Concatenate slice `group_id` of `groups` of every input."""

    def __init__(self, groups: int, group_id: int) -> None:
        super().__init__()
        self.groups, self.group_id = groups, group_id

    def forward(self, *inputs: Tensor) -> Tensor:
        if self.groups > 1:
            inputs = tuple(x.chunk(self.groups, 1)[self.group_id] for x in inputs)
        return inputs[0] if len(inputs) == 1 else torch.cat(inputs, 1)


class Shortcut(nn.Module):
    """Add the inputs to the first, each over the channels that both have.

    shape: of the learned factors, (inputs, channels or 1); None for plain sums. norm: "relu" or
    "softmax", over the inputs.
    Source: AlexeyAB/darknet src/blas.c shortcut_multilayer_cpu.
    """

    def __init__(self, activation: str, shape: tuple[int, ...] | None, norm: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(shape)) if shape else None
        self.norm = norm
        self.act = activation_of(activation)

    def factors(self) -> Tensor:
        """Return the normalised factors, (inputs, channels or 1)."""
        assert self.weight is not None
        if self.norm == "relu":
            powers = self.weight.relu()
        else:
            powers = (self.weight - self.weight.amax(0)).exp()
        return powers / (powers.sum(0) + 1e-4)

    def forward(self, *inputs: Tensor) -> Tensor:
        if self.weight is not None:
            shaped = self.factors()[:, None, :, None, None]
            inputs = tuple(_scaled(x, f) for x, f in zip(inputs, shaped, strict=True))
        total = inputs[0]
        for x in inputs[1:]:
            total = total + _with_channels(x, total.shape[1])
        return self.act(total)


def _scaled(x: Tensor, factor: Tensor) -> Tensor:
    """Multiply the channels that have a factor; one factor is for all."""
    return x * factor if factor.shape[1] == 1 else x[:, : factor.shape[1]] * factor[:, : x.shape[1]]


def _with_channels(x: Tensor, channels: int) -> Tensor:
    """Cut or zero-fill the channels of a map."""
    missing = channels - x.shape[1]
    return x[:, :channels] if missing <= 0 else F.pad(x, (0, 0, 0, 0, 0, missing))


class Product(nn.Module):
    """Multiply two maps, one of them possibly 1x1 or of one channel, then activate."""

    def __init__(self, activation: str) -> None:
        super().__init__()
        self.act = activation_of(activation)

    def forward(self, gate: Tensor, x: Tensor) -> Tensor:
        return self.act(gate * x)


class Constant(nn.Module):
    """Learned numbers, the same for every image; of the input only the batch counts."""

    def __init__(self, shape: tuple[int, ...], mean: float, deviation: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape).uniform_(mean - deviation, mean + deviation))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight.repeat(x.shape[0], *[1] * self.weight.dim())
