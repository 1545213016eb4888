"""Modules of output layers: class probabilities, losses, the activations of detection heads."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ghostyolo.ops.plain import Plain

_KEPT, _LOGISTIC = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)  # see ChannelwiseActivation


class Softmax(Plain):
    """Softmax over all values of an image, over `groups` parts of them, or per pixel."""

    def __init__(self, groups: int, temperature: float, spatial: bool) -> None:
        super().__init__()
        self.groups, self.temperature, self.spatial = groups, temperature, spatial

    def forward(self, x: Tensor) -> Tensor:
        x = x / self.temperature
        if self.spatial:
            return x.softmax(1)
        return x.reshape(x.shape[0], self.groups, -1).softmax(2).reshape(x.shape)


class YoloActivation(nn.Module):
    """Logistic on x, y, objectness and classes, then scale_x_y about the cell's centre.

    With new_coords the convolution before has applied the logistic, to all of them. inplace:
    whether the logistic may be written into the input.
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
        """Return the same function with coefficients for each channel."""
        centre = (0.0, self.scale_x_y, -(self.scale_x_y - 1) / 2)
        if self.new_coords:
            centre = (self.scale_x_y, 0.0, centre[2])
            return ChannelwiseActivation(self.anchors, [centre] * 2 + [_KEPT])
        return ChannelwiseActivation(self.anchors, [centre] * 2 + [_KEPT] * 2 + [_LOGISTIC])


class GaussianActivation(nn.Module):
    """Logistic on all but the means of w and h, then scale_x_y about the cell's centre.

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
        """Return the same function with coefficients for each channel."""
        centre = (0.0, self.scale_x_y, -(self.scale_x_y - 1) / 2)
        box = [centre, _LOGISTIC, centre, _LOGISTIC, _KEPT, _LOGISTIC, _KEPT, _LOGISTIC]
        return ChannelwiseActivation(self.anchors, box)


class ChannelwiseActivation(nn.Module):
    """The activation of `[yolo]` and `[Gaussian_yolo]`: y = a x + b sigmoid(x) + c.

    a, b and c are numbers of each channel, so that no map has to be taken apart into anchors.
    first: a, b and c of the first channels of a slot, the last of them those of the rest too.
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


class RegionActivation(Plain):
    """Re-order to row, column, anchor, value; logistic on the objectness, softmax on the classes.

    The result keeps the input's shape, its values lie in that order.
    Source: AlexeyAB/darknet src/region_layer.c forward_region_layer.
    """

    def __init__(self, anchors: int, classes: int, softmax: bool) -> None:
        super().__init__()
        self.anchors, self.classes, self.softmax = anchors, classes, softmax

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        slots = x.reshape(n, self.anchors, -1, h, w).permute(0, 3, 4, 1, 2)
        other = int(c) // self.anchors - 5 - self.classes
        sizes = (4, 1, self.classes, *([other] if other else []))  # runtimes have no empty slices
        box, objectness, classes, *rest = slots.split(sizes, -1)
        if self.softmax:
            classes = classes.softmax(-1)
        return torch.cat((box, objectness.sigmoid(), classes, *rest), -1).reshape(n, c, h, w)


class DetectionActivation(Plain):
    """Softmax over the class probabilities of each cell, which come first; the rest as it is.

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


class Loss(Plain):
    """Zeros: what Darknet leaves in the output of a layer that only computes a loss."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)
