"""What all heads have: anchors, decoding, suppression, and the check of the `filters` above.

`check_channels` checks that the `filters` above a head fit its anchors and classes (the finding
head-filters of lint).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from ghostyolo.layers.base import Layer, LayerError, Shape
from ghostyolo.syntax.options import options

# Non-maximum suppression as `nms_kind` names it; `[yolo]` does not know the last one.
# Source: AlexeyAB/darknet src/parser.c parse_yolo, parse_gaussian_yolo.
NMS_KINDS = ("default", "greedynms", "diounms", "cornersnms")


@options
class Head(Layer):
    """A layer that turns maps into boxes."""

    operations = "other"

    # What every head answers; kinds that have the key declare it. No annotation: not fields here.
    classes = 20
    nms_kind = "default"
    beta_nms = 0.6

    @property
    def own_anchors(self) -> tuple[tuple[float, float], ...]:
        """Return its anchors as (w, h) in pixels of the network's input, none for other heads."""
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
        """Return the exponent of the DIoU that suppression compares, None for the IoU."""
        return diou_exponent(self.nms_kind, self.beta_nms)

    def check_boxes(self) -> None:
        """Raise `LayerError` where the head computes but cannot make boxes."""

    def with_classes(self, classes: int) -> tuple[Head, int]:
        """Return the head for another number of classes, and the channels that it needs.

        Raises `LayerError` for a kind that does not say how.
        """
        raise LayerError("cannot change its classes", "write the cfg for them by hand")

    def meaning(self, x: Shape) -> str:
        """Return what its outputs mean, for an input of shape x.

        A network learns from a teacher's outputs only where they mean the same.
        """
        return f"{x.h}x{x.w} cells of {self!r}"

    def decode(self, output: Any, size: tuple[int, int]) -> tuple[Any, Any, Any]:
        """Turn the layer's output into boxes.

        output: (N, C, H, W), numpy or torch, as Darknet holds it. size: the network's (h, w).
        Returns boxes (N, n, 4) as cx, cy, w, h relative to the network's input, objectness (N, n)
        and class probabilities (N, n, classes). A score is the product of the two; a head
        whose objectness has no threshold of its own gives 1 there and has it in the classes.
        """
        raise LayerError("does not decode its output", "define `decode` in its class")

    def decode_above(
        self, output: Any, size: tuple[int, int], thresh: float
    ) -> tuple[Any, Any, Any, Any]:
        """Decode the boxes whose objectness exceeds `thresh`, see `decode`; of numpy arrays alone.

        Returns pictures (m,), boxes (m, 4), objectness (m,) and classes (m, classes), in the order
        of `decode`.
        """
        boxes, objectness, classes = self.decode(output, size)
        pictures, rows = (objectness > thresh).nonzero()
        at = pictures, rows
        return pictures, boxes[at], objectness[at], classes[at]


def diou_exponent(nms_kind: str, beta: float) -> float | None:
    """Return the exponent of the DIoU that Darknet compares, None where it compares the IoU.

    greedynms has 0.6, whatever `beta_nms` says.
    Source: AlexeyAB/darknet src/box.c, do_nms_sort and diounms_sort.
    """
    return {"greedynms": 0.6, "diounms": beta}.get(nms_kind)


def check_channels(
    got: int, needed: int, sum_: str, *, unit: str = "channels", key: str = "filters"
) -> None:
    """Raise `LayerError` unless a head gets the channels, or values, that it needs.

    sum_: how the number comes about. key: what sets it in the layer above.
    """
    if got != needed:
        hint = f"set {key}={needed} in the layer above"
        raise LayerError(f"gets {got} {unit}, needs {needed} = {sum_}", hint, "head-filters")


def anchor_pairs(anchors: tuple[float, ...], num: int) -> tuple[tuple[float, float], ...]:
    """Return `num` anchors as (w, h); numbers that are not given are .5, as in Darknet."""
    numbers = anchors + (0.5,) * (2 * num - len(anchors))
    return tuple(zip(numbers[: 2 * num : 2], numbers[1 : 2 * num : 2], strict=True))


def missing_anchors(anchors: tuple[float, ...], num: int) -> Iterator[tuple[str, str, str]]:
    """Yield the oddity of fewer numbers than the anchors need."""
    if len(anchors) < 2 * num:
        message = f"{len(anchors)} anchor numbers for num={num} anchors"
        hint = f"give {2 * num} numbers, a width and a height each"
        yield message, hint, "takes .5 for those that are missing"


def array_module(array: Any) -> Any:
    """Return the module of an array: numpy or torch."""
    return sys.modules[type(array).__module__.partition(".")[0]]


def cell_indices(plane: Any, xp: Any) -> tuple[Any, Any]:
    """Return each cell's column and row; plane: ones, (H, W, ...)."""
    return xp.cumsum(plane, 1) - 1, xp.cumsum(plane, 0) - 1
