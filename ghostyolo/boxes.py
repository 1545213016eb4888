"""Boxes as arrays: formats, IoU and its variants, and non-maximum suppression (NMS).

No torch is needed, so that every runtime can use this. Boxes are (..., 4) arrays, all in the same
unit. The suffix of a name is the format: `xyxy` is left, top, right, bottom; `cxcywh` is centre and
size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np

LEADERS, GROWTH = 64, 4  # of one class in the first round of NMS; from round to round
PART, PAIRS = 64, 2**17  # of NMS: boxes that have leaders in common; pairs looked at together


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


def paired_iou(a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> np.ndarray:
    """Return the IoU of each of n boxes with that of the same row, (n,); see `BoxPairs.iou`."""
    return _AlignedPairs(a_xyxy.T, b_xyxy.T).iou()


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
    leaders, suppress each other, and then the other rows of the class. The first round has few
    leaders, as these suppress most rows if many boxes lie on few objects. What it leaves is sorted
    from left to right, so that a box is compared with leaders near it only.

    Source: AlexeyAB/darknet src/box.c, do_nms_sort and diounms_sort.
    """
    rows = np.lexsort((-scores, classes))
    pairs = _Pairs(boxes_xyxy[rows], classes[rows], iou_thresh, diou_exponent)
    rest, kept = np.arange(len(rows)), [rows[:0]]
    limit = max(1, math.isqrt(max(LEADERS**2, len(rows)) // pairs.classes))
    while len(rest):
        if len(kept) == 2:
            rest = pairs.from_left_to_right(rest)
        leads = pairs.rank[rest] < limit
        leaders, rest = rest[leads], rest[~leads]
        leaders = leaders[~_suppressed(*pairs.exceeding(leaders, leaders), len(rows))[leaders]]
        kept.append(leaders)
        gone = np.zeros(len(rows), bool)
        gone[pairs.exceeding(leaders, rest)[1]] = True
        rest = rest[~gone[rest]]
        limit *= GROWTH
    found = np.sort(rows[np.concatenate(kept)])
    return found[np.argsort(-scores[found], kind="stable")]


class _Pairs:
    """Finds the pairs of boxes of a class whose IoU or DIoU exceeds the threshold.

    boxes: (n, 4), sorted by class, and by score in each class. rank: (n,), place in the class.

    The corner of a box is what lies within 1 - iou_thresh of its width from its left edge, and of
    its height from its top edge. If an IoU exceeds the threshold, the corners intersect: where a
    box begins to the right of the other's corner, too little of the other is left to be shared.
    The DIoU is at most the IoU. `corners` are larger by 1/10000 of a box, far more than an IoU in
    single precision is off, so that only pairs which exceed nothing are left out.
    """

    def __init__(
        self,
        boxes: np.ndarray,
        classes: np.ndarray,
        iou_thresh: float,
        diou_exponent: float | None,
    ) -> None:
        self.rank = _places(classes)
        self.group = np.cumsum(self.rank == 0)
        self.classes = max(1, int(np.count_nonzero(self.rank == 0)))
        self.boxes = np.ascontiguousarray(boxes.T)
        low, high = self.boxes[:2], self.boxes[2:]
        self.corners = np.concatenate((low, low + (1.0001 - iou_thresh) * (high - low)))
        self.iou_thresh = iou_thresh
        self.measures: list[Callable[[BoxPairs], Any]] = [BoxPairs.iou]
        if diou_exponent is not None:
            self.measures.append(partial(BoxPairs.diou, beta=diou_exponent))
        self.begin = self.end = self.group

    def from_left_to_right(self, some: np.ndarray) -> np.ndarray:
        """Return boxes sorted by class and left edge, as `exceeding` takes them from now on.

        `begin` and `end` of a box become its class plus a fraction that grows with x.
        """
        x = np.nan_to_num(self.corners[::2, some].astype(float)).clip(-1e30, 1e30)
        fraction = (x - x[0].min()) / (np.ptp(x[0]) or 1)
        self.begin, self.end = places = np.empty((2, len(self.group)))
        places[:, some] = self.group[some] + fraction.clip(0, 1) / 2
        return some[np.argsort(self.begin[some])]

    def exceeding(self, leaders: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the pairs of a leader and another box of lower score, as indices (m,) of both.

        leaders, others: indices, sorted by class; once `from_left_to_right` was called, as by it.
        """
        found = [self._compared(*pairs) for pairs in self._near(leaders, others)]
        i, j = np.concatenate(found, 1) if found else np.zeros((2, 0), int)
        return i, j

    def _compared(self, i: np.ndarray, j: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return those of some pairs that exceed the threshold."""
        for measure in self.measures:
            pairs = _AlignedPairs(self.boxes.take(i, 1), self.boxes.take(j, 1))
            found = measure(pairs) > self.iou_thresh
            i, j = i[found], j[found]
        return i, j

    def _near(
        self, leaders: np.ndarray, others: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the pairs whose corners intersect."""
        for i, j in self._tables(leaders, others):
            left, top, right, bottom = self.corners[:, i][..., None]
            other = self.corners[:, j][:, :, None]
            near = left <= other[2]
            near &= other[0] <= right
            near &= top <= other[3]
            near &= other[1] <= bottom
            at, column = np.divmod(np.flatnonzero(near), j.shape[1])
            one, two = i.ravel()[at], j[at // i.shape[1], column]
            ordered = one < two
            yield one[ordered], two[ordered]

    def _tables(
        self, leaders: np.ndarray, others: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield leaders (t, a) and other boxes (t, b) that contain all pairs that are near.

        A row is a part of the boxes of a class and the leaders near it. Boxes are repeated to fill
        the rows.
        """
        if not len(others) or not len(leaders):
            return
        starts = np.flatnonzero(_places(self.group[others]) % PART == 0)
        sizes = np.diff(np.append(starts, len(others)))
        ends = np.maximum.accumulate(self.end[leaders])
        first = np.searchsorted(ends, self.begin[others[starts]])
        most = np.maximum.reduceat(self.end[others], starts)
        counts = np.searchsorted(self.begin[leaders], most, "right") - first
        order = np.argsort(-counts)[: np.count_nonzero(counts > 0)]
        while len(order):
            width = counts[order[0]]
            some = order[: max(1, PAIRS // (width * sizes.max()))]
            order = order[len(some) :]
            yield (
                leaders[_ranges(first[some], counts[some])],
                others[_ranges(starts[some], sizes[some])],
            )


class _AlignedPairs(BoxPairs):
    """The pairs of n boxes (4, n) and n others."""

    def __init__(self, a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> None:
        self.a, self.b = a_xyxy, b_xyxy


def _places(numbers: np.ndarray) -> np.ndarray:
    """Return the place of each number among those equal to it: 4 4 7 7 7 -> 0 1 0 1 2."""
    index, new = np.arange(len(numbers)), np.ones(len(numbers), bool)
    new[1:] = numbers[1:] != numbers[:-1]
    return index - np.maximum.accumulate(index * new)


def _ranges(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return a row start, start + 1, ... for each range; a short one repeats its last number."""
    return starts[:, None] + np.minimum(np.arange(sizes.max()), sizes[:, None] - 1)


def _suppressed(i: np.ndarray, j: np.ndarray, count: int) -> np.ndarray:
    """Return whether each of `count` boxes is suppressed by a box that is kept.

    i, j: (m,), the pairs in which box i suppresses box j if i is kept; i < j. Each iteration
    decides at least one more box; in practice a few iterations decide all.
    """
    suppressed, again = np.ones(count, bool), np.zeros(count, bool)
    again[j] = True
    while not np.array_equal(again, suppressed):
        suppressed, again = again, np.zeros(count, bool)
        again[j[~suppressed[i]]] = True
    return suppressed
