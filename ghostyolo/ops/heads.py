"""Modules of output layers: softmax, losses, and the activations of detection heads."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ghostyolo.ops.activations import Unfolded

_LINEAR, _SIGMOID = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)  # see ChannelwiseActivation


class Softmax(Unfolded):
    """Softmax over all values of an image, over each of `groups` parts, or over the channels."""

    def __init__(self, groups: int, temperature: float, spatial: bool) -> None:
        super().__init__()
        self.groups, self.temperature, self.spatial = groups, temperature, spatial

    def forward(self, x: Tensor) -> Tensor:
        x = x / self.temperature
        if self.spatial:
            return x.softmax(1)
        return x.reshape(x.shape[0], self.groups, -1).softmax(2).reshape(x.shape)


class TreeSoftmax(Unfolded):
    """Softmax over each group of consecutive values of an image. groups: their sizes.

    Source: AlexeyAB/darknet src/softmax_layer.c softmax_tree.
    """

    def __init__(self, groups: tuple[int, ...], temperature: float = 1.0) -> None:
        super().__init__()
        self.groups, self.temperature = groups, temperature

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1) / self.temperature
        return grouped_softmax(flat, self.groups).reshape(x.shape)


def grouped_softmax(x: Tensor, groups: tuple[int, ...]) -> Tensor:
    """Return the softmax over each group of consecutive values in the last dimension."""
    if len(groups) == 1:
        return x.softmax(-1)
    sizes = torch.tensor(groups, device=x.device)
    index = torch.arange(len(groups), device=x.device).repeat_interleave(sizes).expand(x.shape)
    most = torch.full((*x.shape[:-1], len(groups)), -torch.inf, device=x.device)
    powers = (x - most.scatter_reduce(-1, index, x, "amax").gather(-1, index)).exp()
    return powers / torch.zeros_like(most).scatter_add(-1, index, powers).gather(-1, index)


class YoloActivation(nn.Module):
    """Sigmoid of x, y, objectness and classes; scale_x_y scales x and y about the cell's centre.

    With new_coords the convolution above has applied the sigmoid to all channels. inplace: whether
    the sigmoid overwrites the input.
    Source: AlexeyAB/darknet src/yolo_layer.c forward_yolo_layer.
    """

    inplace = False

    def __init__(self, anchors: int, scale_x_y: float, new_coords: bool) -> None:
        super().__init__()
        self.anchors, self.scale_x_y, self.new_coords = anchors, scale_x_y, new_coords

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        x = x.reshape(n, self.anchors, c // self.anchors, h, w)
        xy, wh, rest = x[:, :, :2], x[:, :, 2:4], x[:, :, 4:]
        if not self.new_coords:
            sigmoid = torch.sigmoid_ if self.inplace else torch.sigmoid
            xy, rest = sigmoid(xy), sigmoid(rest)
        if self.scale_x_y != 1:
            xy = xy * self.scale_x_y - (self.scale_x_y - 1) / 2
        return torch.cat((xy, wh, rest), 2).reshape(n, c, h, w)

    def folded(self) -> nn.Module:
        """Return the same function as a `ChannelwiseActivation`."""
        centre = (0.0, self.scale_x_y, -(self.scale_x_y - 1) / 2)
        if self.new_coords:
            centre = (self.scale_x_y, 0.0, centre[2])
            return ChannelwiseActivation(self.anchors, [centre] * 2 + [_LINEAR])
        return ChannelwiseActivation(self.anchors, [centre] * 2 + [_LINEAR] * 2 + [_SIGMOID])


class GaussianActivation(nn.Module):
    """Sigmoid of all but the means of w and h; scale_x_y scales x and y about the cell's centre.

    A slot holds x, y, w and h, each followed by its uncertainty, then objectness and classes.
    Source: AlexeyAB/darknet src/gaussian_yolo_layer.c forward_gaussian_yolo_layer.
    """

    def __init__(self, anchors: int, scale_x_y: float) -> None:
        super().__init__()
        self.anchors, self.scale_x_y = anchors, scale_x_y

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        x = x.reshape(n, self.anchors, c // self.anchors, h, w)
        parts = list(x.sigmoid().split((1, 1, 1, 1, 1, 1, 1, c // self.anchors - 7), 2))
        for xy in (0, 2):
            parts[xy] = parts[xy] * self.scale_x_y - (self.scale_x_y - 1) / 2
        for wh in (4, 6):
            parts[wh] = x[:, :, wh : wh + 1]
        return torch.cat(parts, 2).reshape(n, c, h, w)

    def folded(self) -> nn.Module:
        """Return the same function as a `ChannelwiseActivation`."""
        centre = (0.0, self.scale_x_y, -(self.scale_x_y - 1) / 2)
        box = [centre, _SIGMOID, centre, _SIGMOID, _LINEAR, _SIGMOID, _LINEAR, _SIGMOID]
        return ChannelwiseActivation(self.anchors, box)


class ChannelwiseActivation(nn.Module):
    """The activation of `[yolo]` and `[Gaussian_yolo]`: y = a x + b sigmoid(x) + c.

    a, b and c are constants for each channel, so that the map need not be split into anchors.
    first: a, b and c for the first channels of a slot; the last entry is used for all others, too.
    """

    def __init__(self, anchors: int, first: list[tuple[float, float, float]]) -> None:
        super().__init__()
        self.anchors, self.first = anchors, first

    def forward(self, x: Tensor) -> Tensor:
        slot = int(x.shape[1]) // self.anchors
        rest = self.first[-1:] * (slot - len(self.first))
        rows = torch.tensor(self.first + rest, device=x.device)
        a, b, c = rows.repeat(self.anchors, 1).t()[:, None, :, None, None]
        return a * x + b * x.sigmoid() + c


class RegionActivation(Unfolded):
    """Sigmoid of the objectness and softmax of the classes, reordered to cells.

    groups: the sizes of the groups of classes that softmax is over, one for all or those of a tree.
    The values are in the order of row, column, anchor, channel, in a tensor of the input's shape.
    Source: AlexeyAB/darknet src/region_layer.c forward_region_layer.
    """

    def __init__(self, anchors: int, groups: tuple[int, ...], softmax: bool) -> None:
        super().__init__()
        self.anchors, self.groups, self.softmax = anchors, groups, softmax

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        slots = x.reshape(n, self.anchors, -1, h, w).permute(0, 3, 4, 1, 2)
        number = sum(self.groups)
        other = int(c) // self.anchors - 5 - number
        # Some runtimes reject empty slices.
        sizes = (4, 1, number, *([other] if other else []))
        box, objectness, classes, *rest = slots.split(sizes, -1)
        if self.softmax:
            classes = grouped_softmax(classes, self.groups)
        return torch.cat((box, objectness.sigmoid(), classes, *rest), -1).reshape(n, c, h, w)


class DetectionActivation(Unfolded):
    """Softmax of the class probabilities of each cell, which come first; the rest is unchanged.

    Source: AlexeyAB/darknet src/detection_layer.c forward_detection_layer.
    """

    def __init__(self, cells: int, classes: int) -> None:
        super().__init__()
        self.cells, self.classes = cells, classes

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        first = self.cells * self.classes
        classes = flat[:, :first].reshape(-1, self.cells, self.classes).softmax(2)
        return torch.cat((classes.flatten(1), flat[:, first:]), 1).reshape(x.shape)


class Loss(Unfolded):
    """Zeros, which are the output of Darknet's loss layers in inference."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)
