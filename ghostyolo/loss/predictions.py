"""The predictions of a `[yolo]` by slot: one anchor in one cell of one image."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ghostyolo.layers.yolo import Yolo
from ghostyolo.loss.base import HeadOutput

TINY = 1e-7
MAX_LOG_SIDE = 10.0  # log of a side over the anchor's; e^10 is larger than any picture


class Predictions(NamedTuple):
    """The input of one head, (N, A, 5+C, h, w); anchors and size (h, w) in pixels of the input."""

    layer: Yolo
    values: Tensor
    anchors: Tensor
    size: tuple[int, int]

    @classmethod
    def of(cls, output: HeadOutput, size: tuple[int, int]) -> Predictions:
        raw, anchors = output.raw, len(output.head.mask)
        raw = raw.to(torch.promote_types(raw.dtype, torch.float32))
        n, c, h, w = raw.shape
        values = raw.view(n, anchors, c // anchors, h, w)
        return cls(output.head, values, raw.new_tensor(output.head.own_anchors), size)

    def logits(self, values: Tensor) -> Tensor:
        """Return objectness or classes as logits; with new_coords the values are probabilities."""
        return values.logit(TINY) if self.layer.new_coords else values

    def boxes(self, values: Tensor, anchor: Tensor, cell: Tensor) -> Tensor:
        """Return the boxes of some slots, (..., 4) cxcywh in pixels of the input.

        values: (..., 5+C). anchor: (...), its index. cell: (..., 2), column and row. This is
        `Head.decode` for these slots alone.
        """
        xy, wh = values[..., :2], values[..., 2:4].clamp(max=MAX_LOG_SIDE)
        xy = xy if self.layer.new_coords else xy.sigmoid()
        scale = self.layer.scale_x_y
        xy = (xy * scale - (scale - 1) / 2 + cell) * self.stride
        return torch.cat((xy, self.layer.side_factor(wh, torch) * self.anchors[anchor]), -1)

    @property
    def stride(self) -> Tensor:
        """Return the width and height of a cell in pixels, (2,)."""
        (h, w), shape = self.size, self.values.shape
        return self.values.new_tensor((w / shape[4], h / shape[3]))
