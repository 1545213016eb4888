"""The input of a `[yolo]` by slot, as the losses that are not Darknet's read it.

A slot is one anchor in one cell of one image; its values are x, y, w, h, objectness and classes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ghostyolo.layers.yolo import Yolo
from ghostyolo.loss.base import HeadOutput

BOX, OBJECTNESS, CLASSES = slice(4), 4, slice(5, None)  # the values of a slot
TINY = 1e-7
MAX_LOG_SIDE = 10.0  # log of a side over the anchor's; e^10 is larger than any picture


class Predictions(NamedTuple):
    """The input of one `[yolo]` by slot.

    values: (N, A, 5+C, h, w). anchors: (A, 2) as w, h, and size: (h, w), in pixels of the network's
    input.
    """

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
        """Return objectness or classes as logits; with new_coords, values are probabilities."""
        return values.logit(TINY) if self.layer.new_coords else values

    def boxes(self, values: Tensor, anchor: Tensor, cell: Tensor) -> Tensor:
        """Return the boxes of some slots, (..., 4) cxcywh in pixels of the input.

        values: (..., 4). anchor: (...), its index. cell: (..., 2), column and row. The boxes are
        those of `Head.decode`, which decodes all slots.
        """
        xy, wh = values[..., :2], values[..., 2:].clamp(max=MAX_LOG_SIDE)
        xy = xy if self.layer.new_coords else xy.sigmoid()
        scale = self.layer.scale_x_y
        xy = (xy * scale - (scale - 1) / 2 + cell) * self.stride
        return torch.cat((xy, self.layer.side_factor(wh, torch) * self.anchors[anchor]), -1)

    def read(self, *place: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the objectness of all slots, (N, A, h, w), and values of some different slots.

        place: image, anchor, row and column of these slots, (n,) each. Of them are returned x, y,
        w and h, (n, 4), and the classes, (n, C); objectness and classes as logits.
        """
        objectness, boxes, classes = _Reading.apply(self.values, *place)
        return self.logits(objectness), boxes, self.logits(classes)

    @property
    def stride(self) -> Tensor:
        """Return the width and height of a cell in pixels, (2,)."""
        (h, w), shape = self.size, self.values.shape
        return self.values.new_tensor((w / shape[4], h / shape[3]))


class _Reading(torch.autograd.Function):
    """Read values of heads as `Predictions.read` does, before they are logits.

    Autograd would fill a map with zeros for each of the three, and add up the maps.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, *place: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(values, *place)
        image, anchor, row, column = place
        boxes, classes = (
            values[:, :, part][image, anchor, :, row, column] for part in (BOX, CLASSES)
        )
        return values[:, :, OBJECTNESS].clone(), boxes, classes

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values, image, anchor, row, column = ctx.saved_tensors
        whole = torch.zeros_like(values)
        whole[:, :, OBJECTNESS], boxes, classes = gradients
        whole[:, :, BOX][image, anchor, :, row, column] = boxes
        whole[:, :, CLASSES][image, anchor, :, row, column] = classes
        return whole, None, None, None, None
