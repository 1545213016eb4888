"""IoU, GIoU, DIoU and CIoU of torch boxes, and the gradients that Darknet uses for them.

Boxes are (..., 4) as cxcywh, both arguments in the same unit; they broadcast against each other.
The values are differentiable. The formulas are in `ghostyolo.boxes`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from ghostyolo.boxes import BoxPairs


class TensorPairs(BoxPairs):
    """Pairs of boxes (..., 4) as cxcywh, broadcast against each other."""

    library: ClassVar[Any] = torch

    def __init__(self, a: Tensor, b: Tensor) -> None:
        self.a, self.b = a, b

    def edges(self) -> list[tuple[list[Tensor], list[Tensor]]]:
        return [
            (
                [box[..., axis] - box[..., axis + 2] / 2 for box in (self.a, self.b)],
                [box[..., axis] + box[..., axis + 2] / 2 for box in (self.a, self.b)],
            )
            for axis in (0, 1)
        ]

    def areas(self) -> list[Tensor]:
        return [box[..., 2] * box[..., 3] for box in (self.a, self.b)]

    def squared_distance(self) -> Tensor:
        return (self.a[..., :2] - self.b[..., :2]).square().sum(-1)

    def angles(self) -> list[Tensor]:
        return [torch.atan2(box[..., 2], box[..., 3]) for box in (self.a, self.b)]

    def constant(self, array: Tensor) -> Tensor:
        return array.detach()


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Return the IoU; see `BoxPairs.iou`."""
    return TensorPairs(a, b).iou()


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Return the GIoU; see `BoxPairs.giou`."""
    return TensorPairs(a, b).giou()


def diou(a: Tensor, b: Tensor, beta: float = 0.6) -> Tensor:
    """Return the DIoU; see `BoxPairs.diou`."""
    return TensorPairs(a, b).diou(beta)


def ciou(a: Tensor, b: Tensor) -> Tensor:
    """Return the CIoU; see `BoxPairs.ciou`."""
    return TensorPairs(a, b).ciou()


KINDS: dict[str, Callable[[Tensor, Tensor], Tensor]]
KINDS = {"iou": iou, "giou": giou, "diou": diou, "ciou": ciou}


def darknet_gradient(prediction: Tensor, truth: Tensor, kind: str) -> Tensor:
    """Return Darknet's gradient of an IoU by the predicted x, y, w, h.

    prediction, truth: (n, 4). kind: iou, giou, diou or ciou. Returns (n, 4), NaN where it divides
    by zero. Autograd cannot compute it, because it differs from the true gradient: the values of w
    and h are doubled; in diou and ciou the term of the enclosing diagonal has the wrong sign for x
    and y; the aspect ratio term of ciou lacks 1 / (w² + h²); for disjoint boxes, iou takes the
    product of the negative width and height as the intersection.
    Source: AlexeyAB/darknet src/box.c, dx_box_iou.
    """
    p, t = _Box(prediction), _Box(truth)
    overlap = torch.minimum(p.high, t.high) - torch.maximum(p.low, t.low)
    hull = torch.maximum(p.high, t.high) - torch.minimum(p.low, t.low)
    apart = (overlap <= 0).any(-1, keepdim=True)
    intersection = _area(overlap)
    union = _area(p.size) + _area(t.size) - intersection

    # Derivatives by the low and the high edge of each axis, (2, n, 2): moving an edge changes the
    # area by the extent along the other axis.
    sign = prediction.new_tensor([-1, 1])[:, None, None]
    d_intersection = sign * overlap.flip(-1) * torch.stack((p.low > t.low, p.high < t.high))
    d_union = sign * p.size.flip(-1) - d_intersection
    edges = (union * d_intersection - intersection * d_union) / union**2
    edges = edges.where(union > 0, 0)
    edges = torch.stack((edges[0].where(p.low < p.high, edges[1]), edges[1]))
    if kind == "giou":
        d_hull = sign * hull.flip(-1) * torch.stack((p.low < t.low, p.high > t.high))
        empty = (_area(hull) * d_union - union * d_hull) / _area(hull) ** 2
        edges = empty + edges.where(~apart, 0)
    centre, size = edges[0] + edges[1], edges[1] - edges[0]
    gradient = torch.cat((centre, size), -1)
    if kind in ("diou", "ciou"):
        gradient = _distance_gradient(p, t, hull) + gradient.where(~apart, 0)
    if kind == "ciou":
        gradient[:, 2:] += _aspect_gradient(p, t, intersection / union)
    return gradient


class _Box:
    """A batch of boxes (n, 4) by their edges, each (n, 2) as x, y."""

    def __init__(self, cxcywh: Tensor) -> None:
        self.centre, self.wh = cxcywh[:, :2], cxcywh[:, 2:]
        self.low, self.high = self.centre - self.wh / 2, self.centre + self.wh / 2
        self.size = self.high - self.low  # wh, except for rounding: a tiny wh becomes 0


def _distance_gradient(p: _Box, t: _Box, hull: Tensor) -> Tensor:
    """Return the gradient of the centre distance term of diou and ciou, (n, 4)."""
    diagonal = (hull**2).sum(-1, keepdim=True)
    distance = ((p.centre - t.centre) ** 2).sum(-1, keepdim=True)
    low, high = (p.low < t.low).to(hull), (p.high > t.high).to(hull)
    centre = 2 * (t.centre - p.centre) * diagonal - 2 * hull * (high - low) * distance
    size = hull * (high + low) * distance
    return torch.cat((centre, size), -1) / diagonal**2


def _aspect_gradient(p: _Box, t: _Box, overlap: Tensor) -> Tensor:
    """Return the gradient of the aspect ratio term of ciou by w and h, (n, 2)."""
    (pw, ph), (tw, th) = p.wh.unbind(-1), t.wh.unbind(-1)
    angle = (torch.atan(tw / th) - torch.atan(pw / ph))[:, None]
    v = 4 / math.pi**2 * angle**2
    alpha = v / (1 - overlap + v + 1e-6)
    return alpha * 8 / math.pi**2 * angle * torch.stack((ph, -pw), -1)


def _area(size: Tensor) -> Tensor:
    return size.prod(-1, keepdim=True)
