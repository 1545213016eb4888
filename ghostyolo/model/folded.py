"""Layers of the same outputs made of operators that every runtime has, statistics folded in."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ghostyolo import ops
from ghostyolo.model.model import Model


def folded(model: Model) -> Model:
    """Return a copy of a model, for inference on the CPU, whose layers are the plain ones."""
    result = copy.deepcopy(model).cpu().float().eval().requires_grad_(False)
    for index, module in enumerate(result.layers):
        result.layers[index] = folded_layer(module)
    return result


def folded_layer(module: nn.Module) -> nn.Module:
    """Return the module, or the one that stands for it in a file."""
    make = _FORMS.get(type(module))
    return make(module).eval().requires_grad_(False) if make else module


def _convolution(layer: Any) -> nn.Module:
    """Return a convolution with a bias: y = W (f x) + b, folded in double and rounded once."""
    conv, (weight, bias) = layer.conv, layer.folded()
    if layer.binary_input:
        return Binary(conv, weight, bias, layer.act)
    folded = with_weights(conv, weight, bias)
    blur = layer.blur if isinstance(layer.blur, nn.Identity) else _blur(layer.blur, weight.shape[0])
    return nn.Sequential(folded, layer.act, blur)


def with_weights(conv: Any, weight: Tensor, bias: Tensor) -> nn.Conv2d:
    """Return a convolution like another one with these weights, of all its groups or of some."""
    groups = conv.groups * len(weight) // conv.out_channels
    made = nn.Conv2d(
        groups * weight.shape[1], len(weight), conv.kernel_size, conv.stride, conv.padding,
        conv.dilation, groups, device="meta",
    )  # fmt: skip
    made.weight, made.bias = nn.Parameter(weight), nn.Parameter(bias)
    made.requires_grad_(False)
    return made


def _connected(layer: Any) -> nn.Module:
    """Return the matrix product with its statistics folded in."""
    linear, norm = layer.linear, layer.norm
    weight, bias = linear.weight.double(), linear.bias
    if norm is not None:
        factor = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        weight, bias = weight * factor[:, None], norm.bias - norm.running_mean.double() * factor
    folded = nn.Linear(linear.in_features, linear.out_features, device="meta")
    folded.weight, folded.bias = nn.Parameter(weight.float()), nn.Parameter(bias.float())
    one_by_one = nn.Unflatten(1, (linear.out_features, 1, 1))
    return nn.Sequential(nn.Flatten(), folded, one_by_one, layer.act)


def _blur(layer: Any, channels: int) -> nn.Module:
    """Return the blur with a kernel for each channel."""
    size = layer.kernel.shape[-1]
    conv = nn.Conv2d(
        channels, channels, size, layer.stride, layer.padding, groups=channels, bias=False
    )
    conv.weight = nn.Parameter(layer.kernel.expand(channels, -1, -1, -1).clone())
    return conv


class Binary(nn.Module):
    """The convolution of `xnor=1`: inputs are +1 or -1, the padding -1."""

    def __init__(self, conv: Any, weight: Tensor, bias: Tensor, act: nn.Module) -> None:
        super().__init__()
        mean = weight.abs().mean((1, 2, 3), keepdim=True)
        self.conv = nn.Conv2d(
            conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride,
            dilation=conv.dilation,
        )  # fmt: skip
        self.conv.weight = nn.Parameter(torch.where(weight > 0, mean, -mean))
        self.conv.bias = nn.Parameter(bias)
        self.act, self.pad = act, [int(side) for side in conv.padding]

    def forward(self, x: Tensor) -> Tensor:
        signs = torch.where(x > 0, 1.0, -1.0)
        top, left = self.pad
        return self.act(self.conv(F.pad(signs, (left, left, top, top), value=-1.0)))


class Local(nn.Module):
    """A convolution with weights of its own at each place, by a matrix product for each place."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        places, filters, values = layer.weight.shape
        channels, size = values // layer.size**2, layer.size
        self.windows = nn.Conv2d(
            channels, values, size, layer.stride, layer.padding, groups=channels, bias=False
        )  # each of its filters picks one pixel of the window
        self.windows.weight = nn.Parameter(
            torch.eye(size * size).repeat(channels, 1).reshape(values, 1, size, size)
        )
        self.places, self.filters, self.values = places, filters, values
        self.out = tuple(layer.bias.shape[1:])
        self.weight = nn.Parameter(layer.weight.detach().clone())
        self.bias = nn.Parameter(layer.bias.detach().clone()[None])
        self.act = layer.act

    def forward(self, x: Tensor) -> Tensor:
        windows = self.windows(x).reshape(-1, self.values, self.places).permute(2, 1, 0)
        out = torch.matmul(self.weight, windows).permute(2, 1, 0)  # (N, filters, places)
        return self.act(out.reshape(-1, self.filters, *self.out) + self.bias)


class Upsample(nn.Module):
    """Sum blocks of pixels, as a multiple of their mean."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.stride, self.scale = -layer.stride, layer.scale * layer.stride**2

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, self.stride) * self.scale


class Route(nn.Module):
    """A concatenation of slices whose bounds are constants."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.groups, self.group_id = layer.groups, layer.group_id

    def forward(self, *inputs: Tensor) -> Tensor:
        if self.groups > 1:
            widths = [int(x.shape[1]) // self.groups for x in inputs]
            inputs = tuple(
                x[:, self.group_id * width : (self.group_id + 1) * width]
                for x, width in zip(inputs, widths, strict=True)
            )
        return inputs[0] if len(inputs) == 1 else torch.cat(inputs, 1)


class Shortcut(nn.Module):
    """A sum whose learned factors, if any, are worked out and whose channels are constants.

    inplace: whether the first input takes the sum.
    """

    inplace = False

    def __init__(self, layer: Any) -> None:
        super().__init__()
        rows = [] if layer.weight is None else layer.factors().detach()
        self.factors = nn.ParameterList(nn.Parameter(row[None, :, None, None]) for row in rows)
        self.act = layer.act

    def forward(self, *inputs: Tensor) -> Tensor:
        if len(self.factors):
            inputs = tuple(_scaled(x, f) for x, f in zip(inputs, self.factors, strict=True))
        total = inputs[0]
        for x in inputs[1:]:
            x = _with_channels(x, int(total.shape[1]))
            total = total.add_(x) if self.inplace else total + x
        return self.act(total)


def _scaled(x: Tensor, factor: Tensor) -> Tensor:
    """Multiply the channels that have a factor; one factor is for all."""
    if factor.shape[1] == 1:
        return x * factor
    both = min(int(x.shape[1]), factor.shape[1])
    return x[:, :both] * factor[:, :both]


def _with_channels(x: Tensor, channels: int) -> Tensor:
    """Cut or zero-fill the channels of a map."""
    own = int(x.shape[1])
    if own == channels:
        return x
    return x[:, :channels] if own > channels else F.pad(x, (0, 0, 0, 0, 0, channels - own))


class Slots(nn.Module):
    """The activation of `[yolo]` and `[Gaussian_yolo]`: y = a x + b sigmoid(x) + c.

    a, b and c are numbers of each channel, so that no map has to be taken apart into anchors.
    lead: a, b and c of the first channels of a slot, the last of them those of the rest too.
    """

    def __init__(self, anchors: int, lead: list[tuple[float, float, float]]) -> None:
        super().__init__()
        self.anchors, self.lead = anchors, lead

    def forward(self, x: Tensor) -> Tensor:
        slot = int(x.shape[1]) // self.anchors
        rows = torch.tensor(self.lead + self.lead[-1:] * (slot - len(self.lead)), device=x.device)
        kept, gain, offset = rows.repeat(self.anchors, 1).t()[:, None, :, None, None]
        return kept * x + gain * x.sigmoid() + offset


_KEPT, _LOGISTIC = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)


def _yolo(layer: Any) -> nn.Module:
    scale = layer.scale_x_y
    shift = -(scale - 1) / 2
    if layer.new_coords:
        return Slots(layer.anchors, [(scale, 0.0, shift)] * 2 + [_KEPT])
    return Slots(layer.anchors, [(0.0, scale, shift)] * 2 + [_KEPT] * 2 + [_LOGISTIC])


def _gaussian(layer: Any) -> nn.Module:
    scale = layer.scale_x_y
    centre = (0.0, scale, -(scale - 1) / 2)
    lead = [centre, _LOGISTIC, centre, _LOGISTIC, _KEPT, _LOGISTIC, _KEPT, _LOGISTIC]
    return Slots(layer.anchors, lead)


class Region(nn.Module):
    """The activation of `[region]` without the empty slice behind its classes."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.anchors, self.classes, self.softmax = layer.anchors, layer.classes, layer.softmax

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        slots = x.reshape(n, self.anchors, -1, h, w).permute(0, 3, 4, 1, 2)
        box, objectness, classes = slots.split((4, 1, self.classes), -1)
        classes = classes.softmax(-1) if self.softmax else classes
        return torch.cat((box, objectness.sigmoid(), classes), -1).reshape(n, c, h, w)


_FORMS: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    ops.Convolution: _convolution,
    ops.Connected: _connected,
    ops.Local: Local,
    ops.Route: Route,
    ops.YoloActivation: _yolo,
    ops.GaussianActivation: _gaussian,
    ops.RegionActivation: Region,
    ops.Upsample: lambda layer: Upsample(layer) if layer.stride < 0 else layer,
    ops.Shortcut: Shortcut,
}
