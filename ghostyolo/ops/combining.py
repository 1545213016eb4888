"""Modules that combine several feature maps, and a learned constant."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ghostyolo.ops.activations import Unfolded
from ghostyolo.ops.activations import activation as activation_of


class Route(Unfolded):
    """Concatenate slice `group_id` of `groups` of every input."""

    def __init__(self, groups: int, group_id: int) -> None:
        super().__init__()
        self.groups, self.group_id = groups, group_id

    def forward(self, *inputs: Tensor) -> Tensor:
        if self.groups > 1:
            inputs = tuple(_slice(x, self.groups, self.group_id) for x in inputs)
        return inputs[0] if len(inputs) == 1 else torch.cat(inputs, 1)


def _slice(x: Tensor, groups: int, group_id: int) -> Tensor:
    """Return slice `group_id` of the channels; `int` makes the bounds constants when traced."""
    width = int(x.shape[1]) // groups
    return x[:, group_id * width : (group_id + 1) * width]


class Shortcut(nn.Module):
    """Add the inputs to the first input, over the channels that both have.

    shape: the shape of the learned factors, (inputs, channels or 1); None if there are none. norm:
    how the factors are normalised over the inputs, "relu" or "softmax". inplace: whether the sum
    overwrites the first input. constants: the factors of the folded form, each of shape
    (1, channels or 1, 1, 1).
    Source: AlexeyAB/darknet src/blas.c shortcut_multilayer_cpu.
    """

    inplace = False

    def __init__(self, activation: str, shape: tuple[int, ...] | None, norm: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(shape)) if shape else None
        self.constants = nn.ParameterList()
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

    def folded(self) -> nn.Module:
        """Return the sum with constants in place of learned factors."""
        result = Shortcut("linear", None, "")
        if self.weight is not None:
            rows = self.factors().detach()[:, None, :, None, None]
            result.constants.extend(nn.Parameter(row) for row in rows)
        result.act = self.act
        return result

    def forward(self, *inputs: Tensor) -> Tensor:
        factors = list(self.constants)
        if self.weight is not None:
            factors = list(self.factors()[:, None, :, None, None])
        if factors:
            inputs = tuple(_scaled(x, f) for x, f in zip(inputs, factors, strict=True))
        total = inputs[0]
        for x in inputs[1:]:
            x = _with_channels(x, int(total.shape[1]))
            if x.shape[2:] != total.shape[2:]:
                x = _sampled(x, (int(total.shape[2]), int(total.shape[3])))
            total = total.add_(x) if self.inplace else total + x
        return self.act(total)


def _scaled(x: Tensor, factor: Tensor) -> Tensor:
    """Return the channels that have a factor, multiplied by it; a single factor is for all."""
    if factor.shape[1] == 1:
        return x * factor
    both = min(int(x.shape[1]), factor.shape[1])
    return x[:, :both] * factor[:, :both]


def _sampled(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Return a map of another size: every n-th pixel of a larger one, or zeros between pixels.

    Source: pjreddie/darknet src/blas.c shortcut_cpu.
    """
    (h, w), (own_h, own_w) = size, (int(side) for side in x.shape[2:])
    skip, spread = max(1, own_w // w), max(1, w // own_w)
    rows, columns = min(h, own_h), min(w, own_w)
    part = x[:, :, : rows * skip : skip, : columns * skip : skip]
    if (rows, columns, spread) == (h, w, 1):
        return part
    result = x.new_zeros(*x.shape[:2], h, w)
    result[:, :, : rows * spread : spread, : columns * spread : spread] = part
    return result


def _with_channels(x: Tensor, channels: int) -> Tensor:
    """Return a map with a number of channels: cut off the last ones, or append zeros."""
    own = int(x.shape[1])
    if own == channels:
        return x
    return x[:, :channels] if own > channels else F.pad(x, (0, 0, 0, 0, 0, channels - own))


class Product(Unfolded):
    """Multiply two maps with broadcasting, then activate."""

    def __init__(self, activation: str) -> None:
        super().__init__()
        self.act = activation_of(activation)

    def forward(self, gate: Tensor, x: Tensor) -> Tensor:
        return self.act(gate * x)


class Constant(Unfolded):
    """A learned tensor, the same for every image; the input only gives the batch size.

    It is initialised uniformly within |deviation| of the mean; Darknet (utils.c rand_uniform) takes
    the limits in either order.
    """

    def __init__(self, shape: tuple[int, ...], mean: float, deviation: float) -> None:
        super().__init__()
        low, high = sorted((mean - deviation, mean + deviation))
        self.weight = nn.Parameter(torch.empty(shape).uniform_(low, high))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight.repeat(x.shape[0], *[1] * self.weight.dim())
