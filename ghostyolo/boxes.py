"""Boxes as arrays: formats, IoU and its variants, and non-maximum suppression (NMS).

No torch is needed, so that every runtime can use this. Boxes are (..., 4) arrays, all in the same
unit. The suffix of a name is the format: `xyxy` is left, top, right, bottom; `cxcywh` is centre and
size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np

Iou = Callable[[np.ndarray, np.ndarray], np.ndarray]  # boxes (n, 4), (m, 4) -> (n, m)

BLOCK = 128  # boxes compared at once: few iterations in Python, and the matrix fits the cache


def cxcywh_to_xyxy(cxcywh: np.ndarray) -> np.ndarray:
    """Convert centres and sizes to edges: [.5, .5, .4, .2] -> [.3, .4, .7, .6]."""
    centre, half = cxcywh[..., :2], cxcywh[..., 2:] / 2
    return np.concatenate((centre - half, centre + half), -1)


def xyxy_to_cxcywh(xyxy: np.ndarray) -> np.ndarray:
    """Convert edges to centres and sizes: [.3, .4, .7, .6] -> [.5, .5, .4, .2]."""
    low, high = xyxy[..., :2], xyxy[..., 2:]
    return np.concatenate(((low + high) / 2, high - low), -1)


class BoxPairs:
    """IoU, GIoU, DIoU and CIoU of every pair of n and m boxes, as arrays of (n, m).

    A subclass can override edges, areas, distances and angles, to pair boxes in another way or to
    use torch. The values are those of AlexeyAB/darknet, src/box.c.
    """

    library: ClassVar[Any] = np  # has minimum, maximum and where

    def __init__(self, a_xyxy: Any, b_xyxy: Any) -> None:
        self.a: Any = np.ascontiguousarray(a_xyxy.T)[:, :, None]
        self.b: Any = np.ascontiguousarray(b_xyxy.T)[:, None]

    def edges(self) -> Sequence[tuple[Sequence[Any], Sequence[Any]]]:
        """Return, for x and for y, the lower edges of both boxes and the upper edges of both."""
        a, b = self.a, self.b
        return [((a[axis], b[axis]), (a[axis + 2], b[axis + 2])) for axis in (0, 1)]

    def areas(self) -> Sequence[Any]:
        """Return the area of each box."""
        return [(box[2:] - box[:2]).prod(0) for box in (self.a, self.b)]

    def squared_distance(self) -> Any:
        """Return the squared distance between the centres."""
        a, b = self.a, self.b
        x, y = (a[:2] + a[2:] - b[:2] - b[2:]) / 2
        return x * x + y * y

    def angles(self) -> Sequence[Any]:
        """Return the arc tangent of width / height of each box."""
        return [np.arctan2(*(box[2:] - box[:2])) for box in (self.a, self.b)]

    def constant(self, array: Any) -> Any:
        """Return an array through which no gradient flows."""
        return array

    def iou(self) -> Any:
        """Return intersection over union, in [0, 1]; two boxes without area have 0."""
        return self._ratio(*self._intersection_and_union())

    def giou(self) -> Any:
        """Return the IoU minus the fraction of the enclosing box outside the union, in (-1, 1].

        Source: Rezatofighi et al. 2019.
        """
        intersection, union = self._intersection_and_union()
        w, h = self._enclosing()
        return self._ratio(intersection, union) - self._ratio(w * h - union, w * h)

    def diou(self, beta: float) -> Any:
        """Return the IoU minus (d²/c²)^beta: d between the centres, c the enclosing box's diagonal.

        Source: Zheng et al. 2020, with beta = 1; Darknet's box_diou and box_diounms use 0.6.
        """
        w, h = self._enclosing()
        distance = self.squared_distance()
        return self.iou() - self._ratio(distance, w * w + h * h) ** beta

    def ciou(self) -> Any:
        """Return the DIoU (beta = 1) minus a penalty for different aspect ratios.

        No gradient flows through alpha, the weight of the penalty, as in the paper.
        Source: Zheng et al. 2020; the 1e-6 from Darknet's box_ciou.
        """
        angle_a, angle_b = self.angles()
        aspect = 4 / math.pi**2 * (angle_a - angle_b) ** 2
        alpha = self.constant(aspect / (1 - self.iou() + aspect + 1e-6))
        return self.diou(beta=1) - alpha * aspect

    def _intersection_and_union(self) -> tuple[Any, Any]:
        least, most = self.library.minimum, self.library.maximum
        w, h = ((least(*high) - most(*low)).clip(min=0) for low, high in self.edges())
        intersection = w * h
        area_a, area_b = self.areas()
        return intersection, area_a + area_b - intersection

    def _enclosing(self) -> list[Any]:
        """Return width and height of the smallest box around both."""
        least, most = self.library.minimum, self.library.maximum
        return [most(*high) - least(*low) for low, high in self.edges()]

    def _ratio(self, a: Any, b: Any) -> Any:
        """Return a / b, and 0 where both are 0."""
        return a / self.library.where(b == 0, 1, b)


def iou(a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> np.ndarray:
    """Return the IoU of each of n boxes with each of m, (n, m); see `BoxPairs.iou`."""
    return BoxPairs(a_xyxy, b_xyxy).iou()


def giou(a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> np.ndarray:
    """Return the GIoU of each of n boxes with each of m, (n, m); see `BoxPairs.giou`."""
    return BoxPairs(a_xyxy, b_xyxy).giou()


def diou(a_xyxy: np.ndarray, b_xyxy: np.ndarray, beta: float = 0.6) -> np.ndarray:
    """Return the DIoU of each of n boxes with each of m, (n, m); see `BoxPairs.diou`."""
    return BoxPairs(a_xyxy, b_xyxy).diou(beta)


def ciou(a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> np.ndarray:
    """Return the CIoU of each of n boxes with each of m, (n, m); see `BoxPairs.ciou`."""
    return BoxPairs(a_xyxy, b_xyxy).ciou()


def nms(
    boxes_xyxy: np.ndarray,
    scores: np.ndarray,
    classes: np.ndarray,
    iou_thresh: float,
    diou_exponent: float | None = None,
) -> np.ndarray:
    """Return the rows that non-maximum suppression keeps in each class, highest score first.

    boxes_xyxy: (n, 4). scores, classes: (n,). A row is suppressed if its IoU with a row that
    is kept and has a higher score exceeds `iou_thresh`; of equal scores the first row is kept.
    diou_exponent: compare the DIoU with this exponent instead; see `layers.head.diou_exponent`.

    Source: AlexeyAB/darknet src/box.c, do_nms_sort and diounms_sort.
    """
    measure = iou if diou_exponent is None else partial(diou, beta=diou_exponent)
    order = np.lexsort((-scores, classes))
    groups = [order]  # for few boxes, one matrix is faster than one for each class
    if len(order) > BLOCK:
        groups = np.split(order, np.flatnonzero(np.diff(classes[order])) + 1)
    rows = [
        group[_survivors(boxes_xyxy[group], classes[group], measure, iou_thresh)]
        for group in groups
    ]
    kept = np.sort(np.concatenate(rows))
    return kept[np.argsort(-scores[kept], kind="stable")]


def _survivors(
    boxes: np.ndarray, classes: np.ndarray, measure: Iou, iou_thresh: float
) -> np.ndarray:
    """Return the rows that are kept, for boxes sorted by class and descending score.

    More than `BLOCK` boxes must all be of one class. The boxes are compared block by block, so that
    the matrices stay small.
    """
    kept, rest = [], np.arange(len(boxes))
    while len(rest):
        block, rest = rest[:BLOCK], rest[BLOCK:]
        exceeds = measure(boxes[block], boxes[block]) > iou_thresh
        exceeds &= classes[block][:, None] == classes[block]
        block = block[~_suppressed(np.triu(exceeds, 1))]
        rest = rest[~(measure(boxes[block], boxes[rest]) > iou_thresh).any(0)]
        kept.append(block)
    return np.concatenate(kept) if kept else rest


def _suppressed(exceeds: np.ndarray) -> np.ndarray:
    """Return whether each box is suppressed by a box that is kept, (n,).

    exceeds: (n, n), whether box i comes before box j and their IoU exceeds the threshold. Each
    iteration decides at least one more box; in practice a few iterations decide all.
    """
    suppressed, again = np.ones(len(exceeds), bool), np.any(exceeds, axis=0)
    while not np.array_equal(again, suppressed):
        suppressed, again = again, np.any(exceeds[~again], axis=0)
    return suppressed
