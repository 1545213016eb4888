"""Boxes as arrays: formats, the IoU family, non-maximum suppression, and what a detector returns.

Everything here is numpy, so that the outputs of any runtime become detections without torch.
Boxes are (..., 4) arrays in any one unit; a name ends in its format: `xyxy` is left, top, right,
bottom; `cxcywh` is centre and size.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ghostyolo.errors import OptionError

Overlap = Callable[[np.ndarray, np.ndarray], np.ndarray]

NMS_KINDS = ("default", "greedynms", "diounms", "cornersnms")
BLOCK = 128  # rows of one suppression matrix: few turns of Python, yet it fits the cache


@dataclass(frozen=True, eq=False)
class Detections:
    """What was found in one picture: one row per (box, class).

    boxes: (n, 4) float32, xyxy in pixels of the original picture. scores: (n,) float32.
    classes: (n,) int64. Indexing with an array, a mask or a slice selects rows.

    Raises ValueError if the three do not describe the same n rows.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray

    def __post_init__(self) -> None:
        for field, dtype in (("boxes", np.float32), ("scores", np.float32), ("classes", np.int64)):
            object.__setattr__(self, field, np.asarray(getattr(self, field), dtype))
        n = len(self.boxes)
        if (self.boxes.shape, self.scores.shape, self.classes.shape) != ((n, 4), (n,), (n,)):
            raise ValueError(
                f"boxes {self.boxes.shape}, scores {self.scores.shape} and classes "
                f"{self.classes.shape} are not (n, 4), (n,) and (n,)"
            )

    @property
    def xyxy(self) -> np.ndarray:
        """Return the boxes by the name that `supervision` has for them."""
        return self.boxes

    @property
    def confidence(self) -> np.ndarray:
        """Return the scores by the name that `supervision` has for them."""
        return self.scores

    @property
    def class_id(self) -> np.ndarray:
        """Return the classes by the name that `supervision` has for them."""
        return self.classes

    def to_supervision(self) -> Any:
        """Return them as `supervision.Detections`. Raises `OptionError` without that library."""
        try:
            supervision: Any = importlib.import_module("supervision")
        except ModuleNotFoundError:
            hint = "pip install supervision"
            raise OptionError("supervision is not installed", hint=hint) from None
        return supervision.Detections(self.boxes, confidence=self.scores, class_id=self.classes)

    @classmethod
    def empty(cls) -> Detections:
        return cls(np.zeros((0, 4)), np.zeros(0), np.zeros(0))

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, rows: np.ndarray | slice) -> Detections:
        return Detections(self.boxes[rows], self.scores[rows], self.classes[rows])


def cxcywh_to_xyxy(cxcywh: np.ndarray) -> np.ndarray:
    """Turn centres and sizes into edges: [.5, .5, .4, .2] -> [.3, .4, .7, .6]."""
    centre, half = cxcywh[..., :2], cxcywh[..., 2:] / 2
    return np.concatenate((centre - half, centre + half), -1)


def xyxy_to_cxcywh(xyxy: np.ndarray) -> np.ndarray:
    """Turn edges into centres and sizes: [.3, .4, .7, .6] -> [.5, .5, .4, .2]."""
    low, high = xyxy[..., :2], xyxy[..., 2:]
    return np.concatenate(((low + high) / 2, high - low), -1)


def iou(a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> np.ndarray:
    """Return intersection over union of each of n boxes with each of m, (n, m) in [0, 1].

    Two boxes without area have 0. Source: AlexeyAB/darknet src/box.c, box_iou.
    """
    return _ratio(*_areas(a_xyxy, b_xyxy))


def giou(a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> np.ndarray:
    """Return the IoU less the empty share of the enclosing box, (n, m) in (-1, 1].

    Source: Rezatofighi et al. 2019; AlexeyAB/darknet src/box.c, box_giou.
    """
    intersection, union = _areas(a_xyxy, b_xyxy)
    hull = _enclosing(a_xyxy, b_xyxy).prod(0)
    return _ratio(intersection, union) - _ratio(hull - union, hull)


def diou(a_xyxy: np.ndarray, b_xyxy: np.ndarray, beta: float = 0.6) -> np.ndarray:
    """Return the IoU less (d²/c²)^beta, (n, m): d between the centres, c the enclosing diagonal.

    The paper has beta = 1. Source: Zheng et al. 2020; the exponent from AlexeyAB/darknet src/box.c,
    box_diou and box_diounms.
    """
    square, diagonal = (
        np.square(measure(a_xyxy, b_xyxy)).sum(0) for measure in (_offset, _enclosing)
    )
    return iou(a_xyxy, b_xyxy) - _ratio(square, diagonal) ** beta


def ciou(a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> np.ndarray:
    """Return the DIoU (beta = 1) less a penalty for different aspect ratios, (n, m).

    Source: Zheng et al. 2020; the 1e-6 from AlexeyAB/darknet src/box.c, box_ciou.
    """
    angle = [np.arctan2(*np.moveaxis(box[:, 2:] - box[:, :2], -1, 0)) for box in (a_xyxy, b_xyxy)]
    aspect = 4 / np.pi**2 * np.square(angle[0][:, None] - angle[1])
    alpha = aspect / (1 - iou(a_xyxy, b_xyxy) + aspect + 1e-6)
    return diou(a_xyxy, b_xyxy, beta=1) - alpha * aspect


def nms(
    boxes_xyxy: np.ndarray,
    scores: np.ndarray,
    classes: np.ndarray,
    iou_thresh: float,
    kind: str = "default",
    beta: float = 0.6,
) -> np.ndarray:
    """Return the rows that survive non-maximum suppression within their class, best score first.

    boxes_xyxy: (n, 4). scores, classes: (n,). A row falls if its overlap with a surviving row of a
    higher score exceeds `iou_thresh`; of equal scores the earlier row wins. `kind` is Darknet's
    nms_kind: "default" and "cornersnms" overlap by IoU, "greedynms" by DIoU with exponent .6 (sic),
    "diounms" by DIoU with exponent `beta`.

    Raises ValueError for another kind.
    Source: AlexeyAB/darknet src/box.c, do_nms_sort and diounms_sort.
    """
    if kind not in NMS_KINDS:
        raise ValueError(f"nms_kind={kind} is not one of {', '.join(NMS_KINDS)}")
    power = {"greedynms": 0.6, "diounms": beta}.get(kind)
    overlap = iou if power is None else partial(diou, beta=power)
    order = np.lexsort((-scores, classes))
    groups = [order]  # few boxes of many classes: one matrix costs less than a turn for each class
    if len(order) > BLOCK:
        groups = np.split(order, np.flatnonzero(np.diff(classes[order])) + 1)
    rows = [
        group[_survivors(boxes_xyxy[group], classes[group], overlap, iou_thresh)]
        for group in groups
    ]
    kept = np.sort(np.concatenate(rows))
    return kept[np.argsort(-scores[kept], kind="stable")]


def _survivors(
    boxes: np.ndarray, classes: np.ndarray, overlap: Overlap, threshold: float
) -> np.ndarray:
    """Return the rows that survive, boxes sorted by class and falling score.

    More than a block of them are of one class. Goes through the boxes in blocks: matrices stay
    small, and Python's loop short.
    """
    kept, rest = [], np.arange(len(boxes))
    while len(rest):
        block, rest = rest[:BLOCK], rest[BLOCK:]
        rivals = overlap(boxes[block], boxes[block]) > threshold
        rivals &= classes[block][:, None] == classes[block]
        block = block[~_beaten(np.triu(rivals, 1))]
        rest = rest[~(overlap(boxes[block], boxes[rest]) > threshold).any(0)]
        kept.append(block)
    return np.concatenate(kept) if kept else rest


def _beaten(rivals: np.ndarray) -> np.ndarray:
    """Return which boxes an unbeaten one beats; rivals[i, j]: i comes before j and overlaps it.

    Repeating the rule settles at least one more box a turn, in practice nearly all in a few turns.
    """
    beaten, again = np.ones(len(rivals), bool), np.any(rivals, axis=0)
    while not np.array_equal(again, beaten):
        beaten, again = again, np.any(rivals[~again], axis=0)
    return beaten


def _areas(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the areas of intersection and of union, (n, m) each."""
    areas = [(box[:, 2:] - box[:, :2]).prod(-1) for box in (a, b)]
    a, b = _planes(a, b)
    w, h = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)
    intersection = w * h
    return intersection, areas[0][:, None] + areas[1] - intersection


def _enclosing(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the size of the smallest box around both, (2, n, m): w, h."""
    a, b = _planes(a, b)
    return np.maximum(a[2:], b[2:]) - np.minimum(a[:2], b[:2])


def _offset(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the way from b's centre to a's, (2, n, m): x, y."""
    a, b = _planes(a, b)
    return (a[:2] + a[2:] - b[:2] - b[2:]) / 2


def _planes(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Put the coordinates first and set a against b: (4, n, 1) and (4, 1, m)."""
    a, b = (np.ascontiguousarray(box.T) for box in (a, b))
    return a[:, :, None], b[:, None]


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a / b, and 0 where both are 0."""
    return a / np.where(b == 0, 1, b)
