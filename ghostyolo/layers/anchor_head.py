"""The base of `[yolo]` and `[Gaussian_yolo]`: keys, anchors, decoding.

Source: AlexeyAB/darknet src/parser.c parse_yolo, parse_gaussian_yolo.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from ghostyolo.layers.base import LayerError, Shape
from ghostyolo.layers.head import (
    Head,
    anchor_pairs,
    array_module,
    cell_indices,
    check_channels,
    missing_anchors,
)  # fmt: skip
from ghostyolo.syntax.options import key, options

BOX_LOSSES = ("mse", "iou", "giou", "diou", "ciou")


@options
class Anchored(Head):
    """A head of one scale. Each anchor of `mask` has a slot of channels, the classes last."""

    cxcywh: ClassVar[tuple[int, int, int, int]]  # the channels of the box in a slot
    # The channels of a slot before the classes; the last of them is the objectness.
    before_classes: ClassVar[int]

    mask: tuple[int, ...] = key(
        derive=lambda layer: tuple(range(layer.num)), always=True, training="any"
    )
    anchors: tuple[float, ...] = key(
        derive=lambda layer: (0.5,) * 2 * layer.num, always=True, training="any"
    )
    classes: int = key(20, always=True, training="any")
    num: int = key(1, always=True, maximum=1024, training="any")
    jitter: float = key(0.2, always=True, training="any")
    ignore_thresh: float = key(0.5, always=True, training="any")
    truth_thresh: float = key(1.0, always=True, training="any")
    iou_thresh: float = key(1.0, training="any")
    iou_thresh_kind: str = key("iou", choices=BOX_LOSSES, training="any")
    iou_loss: str = key("mse", choices=BOX_LOSSES, training="any")
    iou_normalizer: float = key(0.75, training="any")
    obj_normalizer: float = key(1.0, training="any")
    cls_normalizer: float = key(1.0, training="any")
    delta_normalizer: float = key(1.0, training="any")
    scale_x_y: float = key(1.0, always=True, training="any")
    objectness_smooth: int = key(0, training="any")
    label_smooth_eps: float = key(0.0, training="any")
    counters_per_class: tuple[int, ...] = key((), training="any")
    max_delta: float = key(float("inf"), training="any")
    resize: float = key(1.0, training="any")
    random: float = key(0.0, always=True, training="any")
    max: int = key(200, training="any")
    beta_nms: float = key(0.6, training="any")
    map: str = key("")

    @property
    def all_anchors(self) -> tuple[tuple[float, float], ...]:
        """Return all anchors as (w, h) in pixels of the network's input."""
        return anchor_pairs(self.anchors, self.num)

    @property
    def own_anchors(self) -> tuple[tuple[float, float], ...]:
        """Return the anchors of `mask`, as (w, h) in pixels of the network's input."""
        return tuple(self.all_anchors[index] for index in self.mask)

    def with_anchors(
        self, anchors: Sequence[Sequence[float]], own: range, cell: tuple[float, float]
    ) -> tuple[Head, int]:
        flat = tuple(side for pair in anchors for side in pair)
        head = self.changed(mask=tuple(own), anchors=flat, num=len(anchors))
        return head, head.needed_channels

    @property
    def needed_channels(self) -> int:
        """Return the number of input channels that the head needs."""
        return len(self.mask) * (self.before_classes + self.classes)

    def warnings(self, *inputs: Shape) -> Iterator[LayerError]:
        yield from missing_anchors(self.anchors, self.num)

    def shape(self, *inputs: Shape) -> Shape:
        sum_ = f"{len(self.mask)} anchors * ({self.before_classes} + {self.classes} classes)"
        check_channels(inputs[0].c, self.needed_channels, sum_)
        return inputs[0]

    def check_training(self) -> None:
        super().check_training()
        counters = len(self.counters_per_class)
        if counters not in (0, self.classes):
            message = f"counters_per_class has {counters} numbers for {self.classes} classes"
            raise LayerError(message, "give the number of boxes of each class, or delete the line")

    def check_boxes(self) -> None:
        for index in self.mask:
            if not 0 <= index < self.num:
                message = f"mask={index} is not one of num={self.num} anchors"
                raise LayerError(message, f"use masks from 0 to {self.num - 1}", "mask-range")

    def decode(self, output: Any, size: tuple[int, int]) -> tuple[Any, Any, Any]:
        """Decode the activated output, in the order of rows, then columns, then anchors."""
        rest = by_slot(self._slots(output)[:, :, self.before_classes - 1 :], array_module(output))
        return self.decode_boxes(output, size), rest[..., 0], rest[..., 1:]

    def decode_boxes(self, output: Any, size: tuple[int, int]) -> Any:
        """Decode the boxes of the activated output as `decode` does, (N, n, 4)."""
        xp, maps = array_module(output), self._slots(output)
        plane = xp.ones_like(maps[0, 0, 0])
        anchor_wh = [
            xp.stack([plane * (pair[axis] / size[1 - axis]) for pair in self.own_anchors])
            for axis in (0, 1)
        ]
        values = [maps[:, :, place] for place in self.cxcywh]
        boxes = self._boxes(values, cell_indices(plane, xp), anchor_wh, output.shape, xp)
        return by_slot(xp.stack(boxes, 2), xp)

    def decode_above(
        self, output: Any, size: tuple[int, int], thresh: float
    ) -> tuple[Any, Any, Any, Any]:
        """Select the slots whose objectness exceeds `thresh`, and decode only these.

        The results are bit-equal to those of `decode`.
        """
        xp, maps, last = array_module(output), self._slots(output), self.before_classes - 1
        picture, row, column, anchor = (xp.moveaxis(maps[:, :, last], 1, 3) > thresh).nonzero()
        slots = maps[picture, anchor, :, row, column]
        anchor_wh = [
            xp.asarray(
                [pair[axis] / size[1 - axis] for pair in self.own_anchors], dtype=slots.dtype
            )[anchor]
            for axis in (0, 1)
        ]
        cell = column.astype(slots.dtype), row.astype(slots.dtype)
        values = [slots[:, place] for place in self.cxcywh]
        boxes = self._boxes(values, cell, anchor_wh, output.shape, xp)
        return picture, xp.stack(boxes, 1), slots[:, last], slots[:, last + 1 :]

    def _slots(self, output: Any) -> Any:
        """Return an output (N, C, H, W) as (N, anchors, channels of a slot, H, W)."""
        n, _, h, w = output.shape
        return output.reshape(n, len(self.mask), self.before_classes + self.classes, h, w)

    def _boxes(
        self, values: Any, cell: tuple[Any, Any], anchor_wh: Any, shape: Any, xp: Any
    ) -> list[Any]:
        """Return cx, cy, w and h relative to the network's input; cell: column and row."""
        (x, y, wide, high), (*_, h, w) = values, shape
        return [
            (x + cell[0]) / w,
            (y + cell[1]) / h,
            self.side_factor(wide, xp) * anchor_wh[0],
            self.side_factor(high, xp) * anchor_wh[1],
        ]

    def side_factor(self, value: Any, xp: Any) -> Any:
        """Return the factor of an anchor's width or height that a predicted value stands for."""
        return xp.exp(value)


def by_slot(maps: Any, xp: Any) -> Any:
    """Reorder (N, anchors, values, H, W) to (N, H * W * anchors, values)."""
    n, _, values, _, _ = maps.shape
    return xp.moveaxis(maps, (3, 4), (1, 2)).reshape(n, -1, values)
