"""Torch modules that layers need and torch lacks, as Darknet computes them; knows no cfg.

Maps are (N, C, H, W) float tensors throughout.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPS = 1e-5  # of every batch norm; AlexeyAB/darknet src/batchnorm_layer.c, network.c


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Return a batch norm with Darknet's epsilon; statistics start at mean 0, variance 1."""
    return nn.BatchNorm2d(channels, eps=EPS)


def activation(name: str) -> nn.Module:
    """Return the module of a Darknet activation.

    Raises KeyError for a name that Darknet does not know.
    Source: AlexeyAB/darknet src/activations.c, src/activations.h.
    """
    if name == "linear":
        return nn.Identity()
    if name in _MODULES:
        return _MODULES[name]()
    return Function(name)


class Function(nn.Module):
    """An activation that is a plain function, printed by its name."""

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


class Convolution(nn.Module):
    """Cross-correlation, then batch norm or a bias, then an activation.

    binary_input: weights count as sign times mean magnitude per filter and inputs as +1 or -1,
    the padding as -1. activate: whether the activation is applied.
    """

    def __init__(
        self,
        channels: int,
        filters: int,
        *,
        size: int,
        stride: tuple[int, int],
        padding: int,
        dilation: int,
        groups: int,
        norm: bool,
        activation: str,
        binary_input: bool = False,
        activate: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            channels, filters, size, stride, padding, dilation, groups, bias=not norm
        )
        self.norm = batch_norm(filters) if norm else None
        self.act = _activation_of(activation) if activate else nn.Identity()
        self.binary_input = binary_input
        self.reset()

    def reset(self) -> None:
        """Draw the weights anew: uniform within sqrt(2 / fan-in), biases zero.

        Source: AlexeyAB/darknet src/convolutional_layer.c make_convolutional_layer.
        """
        bound = math.sqrt(2 / self.conv.weight[0].numel())
        nn.init.uniform_(self.conv.weight, -bound, bound)
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        if self.binary_input:
            return self.act(self._binary(x))
        x = self.conv(x)
        return self.act(x if self.norm is None else self.norm(x))

    def folded(self) -> tuple[Tensor, Tensor]:
        """Return weight and bias with the batch norm's running statistics folded in.

        Source: AlexeyAB/darknet src/network.c fuse_conv_batchnorm, which divides in double.
        """
        weight, norm = self.conv.weight, self.norm
        if norm is None:
            assert self.conv.bias is not None
            return weight, self.conv.bias
        assert norm.running_mean is not None and norm.running_var is not None
        factor = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        bias = norm.bias.double() - norm.running_mean.double() * factor
        folded = weight.double() * factor[:, None, None, None]
        return folded.to(weight.dtype), bias.to(weight.dtype)

    def _binary(self, x: Tensor) -> Tensor:
        """Source: AlexeyAB/darknet src/network.c calculate_binary_weights."""
        if self.training:
            raise NotImplementedError("xnor=1 is computed in inference only")
        weight, bias = self.folded()
        mean = weight.abs().mean((1, 2, 3), keepdim=True)
        signs = torch.where(x > 0, 1.0, -1.0)
        pad = [int(p) for p in self.conv.padding]
        signs = F.pad(signs, (pad[1], pad[1], pad[0], pad[0]), value=-1.0)
        weight = torch.where(weight > 0, mean, -mean)
        return F.conv2d(signs, weight, bias, self.conv.stride, 0, self.conv.dilation)


_activation_of = activation  # Convolution has an argument of that name


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
        self.act = _activation_of(activation)

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
            inputs = tuple(x * f[:, : x.shape[1]] for x, f in zip(inputs, shaped, strict=True))
        total = inputs[0]
        for x in inputs[1:]:
            total = total + _with_channels(x, total.shape[1])
        return self.act(total)


def _with_channels(x: Tensor, channels: int) -> Tensor:
    """Cut or zero-fill the channels of a map."""
    missing = channels - x.shape[1]
    return x[:, :channels] if missing <= 0 else F.pad(x, (0, 0, 0, 0, 0, missing))


class Product(nn.Module):
    """Multiply two maps, one of them possibly 1x1 or of one channel, then activate."""

    def __init__(self, activation: str) -> None:
        super().__init__()
        self.act = _activation_of(activation)

    def forward(self, gate: Tensor, x: Tensor) -> Tensor:
        return self.act(gate * x)


class Maxpool(nn.Module):
    """Max pooling with `padding` pixels in all, the odd one right and below.

    Source: AlexeyAB/darknet src/maxpool_layer.c forward_maxpool_layer.
    """

    def __init__(self, size: int, stride: tuple[int, int], padding: int) -> None:
        super().__init__()
        self.size, self.stride, self.padding = size, stride, padding

    def forward(self, x: Tensor) -> Tensor:
        before = self.padding // 2
        after = self.padding - before
        if before == after and 2 * before <= self.size:
            return F.max_pool2d(x, self.size, self.stride, before)
        x = F.pad(x, (before, after, before, after), value=-torch.inf)
        return F.max_pool2d(x, self.size, self.stride)

    def extra_repr(self) -> str:
        return f"size={self.size}, stride={self.stride}, padding={self.padding}"


class LocalAvgpool(Maxpool):
    """The mean over the pixels of a window that lie in the map; padding as for `Maxpool`."""

    def forward(self, x: Tensor) -> Tensor:
        before, area = self.padding // 2, self.size**2
        pad = (before, self.padding - before) * 2
        total = F.avg_pool2d(F.pad(x, pad), self.size, self.stride) * area
        inside = F.pad(torch.ones_like(x[:1, :1]), pad)
        return total / (F.avg_pool2d(inside, self.size, self.stride) * area)


class DepthMax(nn.Module):
    """The largest of the channels k, k + out, k + 2 out, ... for each of `out` channels."""

    def __init__(self, out: int) -> None:
        super().__init__()
        self.out = out

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        return x.reshape(n, c // self.out, self.out, h, w).amax(1)


class Upsample(nn.Module):
    """Repeat each pixel `stride` times both ways, or sum blocks of -stride pixels; times scale."""

    def __init__(self, stride: int, scale: float) -> None:
        super().__init__()
        self.stride, self.scale = stride, scale

    def forward(self, x: Tensor) -> Tensor:
        if self.stride > 1:
            x = F.interpolate(x, scale_factor=float(self.stride), mode="nearest")
        elif self.stride < 0:
            x = F.avg_pool2d(x, -self.stride, divisor_override=1)
        return x if self.scale == 1 else x * self.scale


class Softmax(nn.Module):
    """Softmax over all values of an image, over `groups` parts of them, or per pixel."""

    def __init__(self, groups: int, temperature: float, spatial: bool) -> None:
        super().__init__()
        self.groups, self.temperature, self.spatial = groups, temperature, spatial

    def forward(self, x: Tensor) -> Tensor:
        x = x / self.temperature
        if self.spatial:
            return x.softmax(1)
        return x.reshape(x.shape[0], self.groups, -1).softmax(2).reshape(x.shape)


class Connected(nn.Module):
    """A matrix product over the flattened image, then batch norm or a bias, then an activation."""

    def __init__(self, inputs: int, outputs: int, norm: bool, activation: str) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=not norm)
        self.norm = nn.BatchNorm1d(outputs, eps=EPS) if norm else None
        self.act = _activation_of(activation)

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(x.flatten(1))
        x = x if self.norm is None else self.norm(x)
        return self.act(x[:, :, None, None])


class SpaceToDepth(nn.Module):
    """Blocks of stride x stride pixels to channels: output channel = (dy * stride + dx) * c + k.

    Source: AlexeyAB/darknet src/blas.c reorg_cpu; reverse swaps the two sides.
    """

    def __init__(self, stride: int, reverse: bool) -> None:
        super().__init__()
        self.stride, self.reverse = stride, reverse

    def forward(self, x: Tensor) -> Tensor:
        return _depth_to_space(x, self.stride) if self.reverse else _space_to_depth(x, self.stride)


class Passthrough(nn.Module):
    """The reorg of YOLOv2: the flat buffer seen as (c / s^2, h * s, w * s), then space to depth.

    Source: AlexeyAB/darknet src/reorg_old_layer.c forward_reorg_old_layer.
    """

    def __init__(self, stride: int, reverse: bool) -> None:
        super().__init__()
        self.stride, self.reverse = stride, reverse

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        s = self.stride
        if self.reverse:
            out = _depth_to_space(x.reshape(n, c, h, w), s)
            return out.reshape(n, c // (s * s), h * s, w * s)
        out = _space_to_depth(x.reshape(n, c // (s * s), h * s, w * s), s)
        return out.reshape(n, c * s * s, h // s, w // s)


def _space_to_depth(x: Tensor, s: int) -> Tensor:
    n, c, h, w = x.shape
    blocks = x.reshape(n, c, h // s, s, w // s, s).permute(0, 3, 5, 1, 2, 4)
    return blocks.reshape(n, c * s * s, h // s, w // s)


def _depth_to_space(x: Tensor, s: int) -> Tensor:
    n, c, h, w = x.shape
    blocks = x.reshape(n, s, s, c // (s * s), h, w).permute(0, 3, 4, 1, 5, 2)
    return blocks.reshape(n, c // (s * s), h * s, w * s)


class YoloActivation(nn.Module):
    """Logistic on x, y, objectness and classes, then scale_x_y about the cell's centre.

    With new_coords the convolution before has applied the logistic, to all of them.
    Source: AlexeyAB/darknet src/yolo_layer.c forward_yolo_layer.
    """

    def __init__(self, anchors: int, scale_x_y: float, new_coords: bool) -> None:
        super().__init__()
        self.anchors, self.scale_x_y, self.new_coords = anchors, scale_x_y, new_coords

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        x = x.reshape(n, self.anchors, c // self.anchors, h, w)
        xy, wh, rest = x[:, :, :2], x[:, :, 2:4], x[:, :, 4:]
        if not self.new_coords:
            xy, rest = xy.sigmoid(), rest.sigmoid()
        if self.scale_x_y != 1:
            xy = xy * self.scale_x_y - (self.scale_x_y - 1) / 2
        return torch.cat((xy, wh, rest), 2).reshape(n, c, h, w)
