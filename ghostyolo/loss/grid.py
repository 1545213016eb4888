"""A head's slots, each one anchor in one cell of one image, and the boxes that they say."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ghostyolo.layers.yolo import Yolo
from ghostyolo.loss.base import HeadRun

TINY = 1e-7
LARGEST_LOG = 10.0  # of a side over the anchor's; e^10 is beyond any picture


class Grid(NamedTuple):
    """One head's slots. values: (N, A, 5+C, h, w), as received; anchors, size: pixels."""

    head: Yolo
    values: Tensor
    anchors: Tensor
    size: tuple[int, int]

    @classmethod
    def of(cls, run: HeadRun, size: tuple[int, int]) -> Grid:
        raw, anchors = run.raw, len(run.head.mask)
        raw = raw.to(torch.promote_types(raw.dtype, torch.float32))
        n, c, h, w = raw.shape
        values = raw.view(n, anchors, c // anchors, h, w)
        return cls(run.head, values, raw.new_tensor(run.head.own_anchors), size)

    def logits(self, values: Tensor) -> Tensor:
        """Return objectness or classes as logits; with new_coords they come as probabilities."""
        return values.logit(TINY) if self.head.new_coords else values

    def boxes(self, values: Tensor, anchor: Tensor, cell: Tensor) -> Tensor:
        """Return (..., 4) cxcywh in pixels of slots by values, anchors and cells (x, y).

        As `Head.decode`, but for the slots that are asked for.
        """
        xy, wh = values[..., :2], values[..., 2:4].clamp(max=LARGEST_LOG)
        xy = xy if self.head.new_coords else xy.sigmoid()
        scale = self.head.scale_x_y
        xy = (xy * scale - (scale - 1) / 2 + cell) * self.stride
        return torch.cat((xy, self.head.side_factor(wh, torch) * self.anchors[anchor]), -1)

    @property
    def stride(self) -> Tensor:
        """Return the pixels of a cell, (x, y)."""
        (h, w), shape = self.size, self.values.shape
        return self.values.new_tensor((w / shape[4], h / shape[3]))
