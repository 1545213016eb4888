"""The base class of detection heads: anchors, decoding, and the kind of NMS.

`check_channels` checks the `filters` of the layer above a head (lint's rule head-filters).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from ghostyolo.layers.base import Layer, LayerError, Shape
from ghostyolo.syntax.options import options

# The values of `nms_kind`, the kind of non-maximum suppression; `[yolo]` has all but the last.
# Source: AlexeyAB/darknet src/parser.c parse_yolo, parse_gaussian_yolo.
NMS_KINDS = ("default", "greedynms", "diounms", "cornersnms")


@options
class Head(Layer):
    """A layer that turns feature maps into boxes."""

    operations = "other"

    # Defaults for kinds without these keys; the other kinds override them. As they have no
    # annotation, they are not keys here.
    classes = 20
    coords = 4
    nms_kind = "default"
    beta_nms = 0.6

    @property
    def own_anchors(self) -> tuple[tuple[float, float], ...]:
        """Return the head's anchors as (w, h) in pixels of the network's input, if it has any."""
        return ()

    def anchors_px(self, cell: tuple[float, float]) -> tuple[tuple[float, float], ...]:
        """Return its anchors in pixels of the network's input, whose cells are (w, h) such pixels.

        Raises `LayerError` where it cannot make boxes.
        """
        self.check_boxes()
        return self.own_anchors

    def with_anchors(
        self, anchors: Sequence[Sequence[float]], own: range, cell: tuple[float, float]
    ) -> tuple[Head, int]:
        """Return the head with other anchors, and the channels that it needs.

        anchors: (w, h) of all heads in pixels of the network's input. own: the indices of its own.
        cell: see `anchors_px`. Raises `LayerError` for a kind that does not say how.
        """
        raise LayerError("cannot change its anchors", "write the cfg for them by hand")

    @property
    def diou_exponent(self) -> float | None:
        """Return the exponent of the DIoU that NMS compares, None if it compares the IoU."""
        return diou_exponent(self.nms_kind, self.beta_nms)

    def check_boxes(self) -> None:
        """Raise `LayerError` if the head's output cannot be decoded into boxes."""
        if self.coords != 4:
            raise LayerError(f"coords={self.coords}, boxes have 4 coordinates", "set coords=4")

    def with_classes(self, classes: int) -> tuple[Head, int]:
        """Return the head with another number of classes, and the input channels that it needs.

        Raises `LayerError` for a kind that does not define this.
        """
        raise LayerError("cannot change its classes", "write the cfg for them by hand")

    def meaning(self, x: Shape) -> str:
        """Return a text that describes the meaning of the outputs for an input of shape x.

        Distillation requires that the teacher's heads have the same texts.
        """
        return f"{x.h}x{x.w} cells of {self!r}"

    def decode(self, output: Any, size: tuple[int, int]) -> tuple[Any, Any, Any]:
        """Decode the layer's output into boxes.

        output: (N, C, H, W), numpy or torch, in Darknet's layout. size: the network's (h, w).
        Returns boxes (N, n, 4) as cx, cy, w, h relative to the network's input, objectness (N, n)
        and class probabilities (N, n, classes). A score is the product of the last two. A head to
        whose objectness no threshold is applied returns 1 for it, and the scores as class
        probabilities.
        """
        raise LayerError("does not decode its output", "define `decode` in its class")

    def decode_above(
        self, output: Any, size: tuple[int, int], thresh: float
    ) -> tuple[Any, Any, Any, Any]:
        """Decode the boxes whose objectness exceeds `thresh`, from a numpy array.

        Returns the index of the picture (m,), boxes (m, 4), objectness (m,) and class probabilities
        (m, classes), see `decode`, in its order.
        """
        boxes, objectness, classes = self.decode(output, size)
        pictures, rows = (objectness > thresh).nonzero()
        at = pictures, rows
        return pictures, boxes[at], objectness[at], classes[at]


def diou_exponent(nms_kind: str, beta: float) -> float | None:
    """Return the exponent of the DIoU that Darknet's NMS compares, None if it compares the IoU.

    It is 0.6 for greedynms, and `beta_nms` for diounms.
    Source: AlexeyAB/darknet src/box.c, do_nms_sort and diounms_sort.
    """
    return {"greedynms": 0.6, "diounms": beta}.get(nms_kind)


def check_channels(
    got: int, needed: int, sum_: str, *, unit: str = "channels", key: str = "filters"
) -> None:
    """Raise `LayerError` unless the input of a head has the channels, or values, that it needs.

    sum_: how the number is computed. key: the key of the layer above that sets it.
    """
    if got != needed:
        hint = f"set {key}={needed} in the layer above"
        raise LayerError(f"gets {got} {unit}, needs {needed} = {sum_}", hint, "head-filters")


def anchor_pairs(anchors: tuple[float, ...], num: int) -> tuple[tuple[float, float], ...]:
    """Return `num` anchors as (w, h); numbers that are missing are .5, as in Darknet."""
    numbers = anchors + (0.5,) * (2 * num - len(anchors))
    return tuple(zip(numbers[: 2 * num : 2], numbers[1 : 2 * num : 2], strict=True))


def missing_anchors(anchors: tuple[float, ...], num: int) -> Iterator[LayerError]:
    """Yield the warning (see `Layer.warnings`) of fewer numbers than `num` anchors need."""
    if len(anchors) < 2 * num:
        message = f"{len(anchors)} anchor numbers, num={num} reads {2 * num}: the others are .5"
        likely = f"set num={len(anchors) // 2}" if len(anchors) % 2 == 0 else "add the missing side"
        yield LayerError(message, f"{likely}, or give {2 * num} numbers", "anchors-count")


def array_module(array: Any) -> Any:
    """Return the library of an array: the module numpy or torch."""
    return sys.modules[type(array).__module__.partition(".")[0]]


def cell_indices(plane: Any, xp: Any) -> tuple[Any, Any]:
    """Return each cell's column and row; plane: ones, (H, W, ...)."""
    return xp.cumsum(plane, 1) - 1, xp.cumsum(plane, 0) - 1
