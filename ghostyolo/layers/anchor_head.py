"""What `[yolo]` and `[Gaussian_yolo]` share: keys, anchors, the way from a grid to boxes.

Source: AlexeyAB/darknet src/parser.c parse_yolo, parse_gaussian_yolo.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, ClassVar

from ghostyolo.layers.base import Head, LayerError, Shape
from ghostyolo.syntax.options import key, options

BOX_KINDS = ("mse", "iou", "giou", "diou", "ciou")


@options
class Anchored(Head):
    """One scale: a slot of channels for each anchor of `mask`, classes last in it."""

    cxcywh: ClassVar[tuple[int, int, int, int]]  # where a slot has the box
    lead: ClassVar[int]  # channels of a slot above the classes, objectness the last of them

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
    iou_thresh_kind: str = key("iou", choices=BOX_KINDS, training="any")
    iou_loss: str = key("mse", choices=BOX_KINDS, training="any")
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
    def pairs(self) -> tuple[tuple[float, float], ...]:
        """Return all anchors as (w, h) in pixels of the network's input."""
        return pairs(self.anchors, self.num)

    @property
    def own_pairs(self) -> tuple[tuple[float, float], ...]:
        """Return this scale's anchors, those of `mask`."""
        return tuple(self.pairs[index] for index in self.mask)

    @property
    def depth(self) -> int:
        """Return the input channels that this head needs."""
        return len(self.mask) * (self.lead + self.classes)

    def oddities(self) -> Iterator[tuple[str, str, str]]:
        yield from few(self.anchors, self.num)

    def shape(self, *inputs: Shape) -> Shape:
        if inputs[0].c != self.depth:
            sum_ = f"{len(self.mask)} anchors * ({self.lead} + {self.classes} classes)"
            message = f"gets {inputs[0].c} channels, needs {self.depth} = {sum_}"
            raise LayerError(
                message, f"set filters={self.depth} in the layer above", "head-filters"
            )
        return inputs[0]

    def check_training(self) -> None:
        super().check_training()
        counters = len(self.counters_per_class)
        if counters not in (0, self.classes):
            message = f"counters_per_class has {counters} numbers for {self.classes} classes"
            raise LayerError(message, "give the number of boxes of each class, or leave it out")

    def check(self) -> None:
        for index in self.mask:
            if not 0 <= index < self.num:
                message = f"mask {index} of num={self.num} anchors"
                raise LayerError(message, f"use masks from 0 to {self.num - 1}", "mask-range")

    def decode(self, output: Any, size: tuple[int, int]) -> tuple[Any, Any, Any]:
        """Turn the activated output into boxes, row by row, cell by cell, anchor by anchor."""
        xp = library(output)
        n, _, h, w = output.shape
        maps = output.reshape(n, len(self.mask), self.lead + self.classes, h, w)
        x, y, wide, high = (maps[:, :, place] for place in self.cxcywh)
        plane = xp.ones_like(maps[0, 0, 0])
        column, row = places(plane, xp)
        anchor_w, anchor_h = (
            xp.stack([plane * (pair[axis] / size[1 - axis]) for pair in self.own_pairs])
            for axis in (0, 1)
        )
        boxes = [
            (x + column) / w,
            (y + row) / h,
            self.stretch(wide, xp) * anchor_w,
            self.stretch(high, xp) * anchor_h,
        ]
        rest = by_slot(maps[:, :, self.lead - 1 :], xp)
        return by_slot(xp.stack(boxes, 2), xp), rest[..., 0], rest[..., 1:]

    def pick(self, output: Any, size: tuple[int, int], thresh: float) -> tuple[Any, Any, Any, Any]:
        """Take the slots that are sure enough out of the maps before anything is decoded.

        The arithmetic is that of `decode`, number by number.
        """
        xp = library(output)
        n, _, h, w = output.shape
        maps = output.reshape(n, len(self.mask), self.lead + self.classes, h, w)
        sure = xp.moveaxis(maps[:, :, self.lead - 1], 1, 3) > thresh
        picture, row, column, anchor = sure.nonzero()
        slots = maps[picture, anchor, :, row, column]
        x, y, wide, high = (slots[:, place] for place in self.cxcywh)
        anchor_w, anchor_h = (
            xp.asarray([pair[axis] / size[1 - axis] for pair in self.own_pairs], dtype=slots.dtype)
            for axis in (0, 1)
        )
        boxes = [
            (x + column.astype(slots.dtype)) / w,
            (y + row.astype(slots.dtype)) / h,
            self.stretch(wide, xp) * anchor_w[anchor],
            self.stretch(high, xp) * anchor_h[anchor],
        ]
        return picture, xp.stack(boxes, 1), slots[:, self.lead - 1], slots[:, self.lead :]

    def stretch(self, value: Any, xp: Any) -> Any:
        """Return the factor of an anchor's side."""
        return xp.exp(value)


def pairs(anchors: tuple[float, ...], num: int) -> tuple[tuple[float, float], ...]:
    """Return `num` anchors as (w, h); numbers that are not given are .5, as in Darknet."""
    numbers = anchors + (0.5,) * (2 * num - len(anchors))
    return tuple(zip(numbers[: 2 * num : 2], numbers[1 : 2 * num : 2], strict=True))


def few(anchors: tuple[float, ...], num: int) -> Iterator[tuple[str, str, str]]:
    """Yield the oddity of fewer numbers than the anchors need."""
    if len(anchors) < 2 * num:
        message = f"{len(anchors)} anchor numbers for num={num} anchors"
        hint = f"give {2 * num} numbers, a width and a height each"
        yield message, hint, "takes .5 for those that are missing"


def library(array: Any) -> Any:
    """Return the module of an array: numpy or torch."""
    return sys.modules[type(array).__module__.partition(".")[0]]


def places(plane: Any, xp: Any) -> tuple[Any, Any]:
    """Return each cell's column and row; plane: ones, (H, W, ...)."""
    return xp.cumsum(plane, 1) - 1, xp.cumsum(plane, 0) - 1


def by_slot(maps: Any, xp: Any) -> Any:
    """Turn (N, anchors, values, H, W) into (N, slots, values), cell by cell, anchors innermost."""
    n, _, values, _, _ = maps.shape
    return xp.moveaxis(maps, (3, 4), (1, 2)).reshape(n, -1, values)
