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

Exceeds = Callable[[np.ndarray, np.ndarray], np.ndarray]  # of boxes (4, ...), broadcast

PAIRS = 2**14  # of boxes compared at once: few iterations in Python, and the matrix fits the cache


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

    All classes are suppressed together, in rounds: the best rows of each class that are left, its
    leaders, suppress each other, and then the other rows of the class.

    Source: AlexeyAB/darknet src/box.c, do_nms_sort and diounms_sort.
    """
    exceeds = partial(_exceeds, iou_thresh=iou_thresh, diou_exponent=diou_exponent)
    boxes = np.ascontiguousarray(boxes_xyxy.T)
    rest = np.lexsort((-scores, classes))
    kept = [rest[:0]]
    while len(rest):
        starts = np.flatnonzero(np.concatenate(([True], np.diff(classes[rest]) != 0)))
        sizes = np.diff(starts, append=len(rest))
        ranks = np.arange(
            min(sizes.max(), max(1, math.isqrt(max(PAIRS, len(rest)) // len(starts))))
        )
        leaders = rest[np.minimum(starts[:, None] + ranks, len(rest) - 1)]  # (classes, ranks)
        found = boxes[:, leaders]
        keep = ~_suppressed(np.triu(exceeds(found[..., None], found[..., None, :]), 1))
        keep &= ranks < sizes[:, None]
        kept.append(leaders[keep])
        group = np.repeat(np.arange(len(sizes)), sizes)
        behind = np.arange(len(rest)) - starts[group] >= len(ranks)
        rest, group = rest[behind], group[behind]
        rest = rest[~_covered(boxes[:, rest], group, found, keep, exceeds)]
    rows = np.sort(np.concatenate(kept))
    return rows[np.argsort(-scores[rows], kind="stable")]


class _AlignedPairs(BoxPairs):
    """Pairs of boxes (4, ...), broadcast against each other."""

    def __init__(self, a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> None:
        self.a, self.b = a_xyxy, b_xyxy


def _exceeds(
    a: np.ndarray, b: np.ndarray, *, iou_thresh: float, diou_exponent: float | None
) -> np.ndarray:
    """Return whether the IoU or DIoU of boxes (4, ...) that broadcast exceeds the threshold.

    The DIoU is at most the IoU, so that it is needed only where the IoU exceeds the threshold.
    """
    pairs = _AlignedPairs(a, b)
    found = pairs.iou() > iou_thresh
    if diou_exponent is None:
        return found
    flat = np.flatnonzero(found)
    if len(flat) > found.size / 16:  # picking pairs takes longer than computing all
        return pairs.diou(diou_exponent) > iou_thresh
    at: Any = (slice(None), *np.unravel_index(flat, found.shape))
    some = (np.broadcast_to(boxes, (4, *found.shape))[at] for boxes in (a, b))
    found.flat[flat] = _AlignedPairs(*some).diou(diou_exponent) > iou_thresh
    return found


def _suppressed(exceeds: np.ndarray) -> np.ndarray:
    """Return whether each box is suppressed by a box that is kept, (..., n).

    exceeds: (..., n, n), whether box i comes before box j and their IoU exceeds the threshold. Each
    iteration decides at least one more box; in practice a few iterations decide all.
    """
    suppressed, again = np.ones(exceeds.shape[:-1], bool), np.any(exceeds, axis=-2)
    while not np.array_equal(again, suppressed):
        suppressed, again = again, np.any(exceeds & ~again[..., None], axis=-2)
    return suppressed


def _covered(
    boxes: np.ndarray, group: np.ndarray, leaders: np.ndarray, keep: np.ndarray, exceeds: Exceeds
) -> np.ndarray:
    """Return whether each box is suppressed by a leader of its class that is kept, (n,).

    boxes: (4, n). group: (n,), the row of its class in `leaders`, ascending. leaders: (4, classes,
    m). keep: (classes, m). The boxes are visited from left to right, a part at a time, so that the
    matrices stay small and, if a part has a single class, only the leaders near it are compared.
    """
    covered, order = np.zeros(len(group), bool), np.lexsort((boxes[0], group))
    first = np.argsort(~keep, 1, kind="stable")[:, : keep.sum(1).max()]
    nowhere = np.where(keep, leaders, np.nan)  # exceeds nothing
    leaders = np.take_along_axis(nowhere, first[None], 2).transpose(0, 2, 1)
    step = 2 * PAIRS // leaders.shape[1]  # about half of the leaders are near a part
    for start in range(0, len(order), step):
        part = order[start : start + step]
        own, some = group[part], boxes[:, part]
        near = leaders[..., own if own[0] != own[-1] else own[:1]]
        if near.shape[-1] == 1:
            near = near[:, (near[2, :, 0] > some[0].min()) & (near[0, :, 0] < some[2].max())]
        covered[part] = exceeds(near, some[:, None]).any(0)
    return covered
