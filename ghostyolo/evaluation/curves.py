"""Precision and recall of a detector at every confidence threshold, by VOC's rule.

Everything here takes the detections and truths of pictures as arrays and draws nothing. The area
below a class's precision-recall curve is the average precision that the table of scores shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ghostyolo.boxes import Detections, iou
from ghostyolo.data import Sample

MATCH_IOU = 0.5  # of a right detection with its truth, in VOC and in COCO's AP50
THRESHOLDS = np.linspace(0, 1, 201)


@dataclass(frozen=True, eq=False)
class RankedDetections:
    """The detections of one class, highest score first, without those on ignored truths.

    scores: (n,). correct: (n,) bool. truths: the number of boxes to find.
    """

    scores: np.ndarray
    correct: np.ndarray
    truths: int

    def precision_at(self, recall: np.ndarray) -> np.ndarray:
        """Return the best precision at each recall in [0, 1] or above it; 0 where none reaches it.

        Source: the VOC2012 development kit, VOCap.m: the curve whose area is its AP.
        """
        reached = np.searchsorted(np.cumsum(self.correct) / max(self.truths, 1), recall - 1e-12)
        return np.append(precision_envelope(self.correct), 0)[reached]


class ThresholdSweep(NamedTuple):
    """Scores by confidence threshold, (t,) each; precision is NaN where no detection is left."""

    thresholds: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray

    @property
    def best(self) -> int:
        """Return the index of the best F1; of equal ones, that of the highest threshold."""
        return len(self.f1) - 1 - int(np.argmax(self.f1[::-1]))


def rank_detections(
    detections: Sequence[Detections], samples: Sequence[Sample], classes: int
) -> list[RankedDetections]:
    """Return the ranked detections of each of `classes` classes, matched by VOC's rule.

    A detection is matched to the truth that it overlaps most; the first on each truth is right.
    Source: the VOC2012 development kit, VOCevaldet.m.
    """
    ignored = _joined([sample.ignore for sample in samples], bool)
    labels = _joined([sample.classes for sample in samples], np.int64)
    truths = np.bincount(labels[~ignored], minlength=classes)
    offsets = np.cumsum([0, *(len(sample.classes) for sample in samples)])
    matched = _joined(
        [_match(*each) for each in zip(detections, samples, offsets, strict=False)], np.int64
    )
    labels = _joined([found.classes for found in detections], np.int64)
    scores = _joined([found.scores for found in detections], np.float32)
    order = np.argsort(-scores, kind="stable")
    order = order[~np.append(ignored, False)[matched[order]]]  # -1, no match, is the appended one
    rows = [order[labels[order] == cls] for cls in range(classes)]
    return [
        RankedDetections(scores[row], _first_matches(matched[row]), int(n))
        for row, n in zip(rows, truths, strict=True)
    ]


def precision_envelope(correct: np.ndarray) -> np.ndarray:
    """Return the best precision at each detection or after it, (n,)."""
    precision = np.cumsum(correct) / np.arange(1, len(correct) + 1)
    return np.maximum.accumulate(precision[::-1])[::-1]


def sweep_thresholds(
    ranked: Sequence[RankedDetections], thresholds: np.ndarray = THRESHOLDS
) -> ThresholdSweep:
    """Return precision, recall and F1 of classes taken together, keeping scores >= a threshold."""
    scores = _joined([each.scores for each in ranked], np.float32)
    correct = _joined([each.correct for each in ranked], bool)
    truths = sum(each.truths for each in ranked)
    order = np.argsort(scores)
    start = np.searchsorted(scores[order], thresholds.astype(np.float32))
    kept = len(scores) - start
    right = np.append(np.cumsum(correct[order][::-1])[::-1], 0)[start]
    precision = np.where(kept > 0, right / np.maximum(kept, 1), np.nan)
    f1 = 2 * right / np.maximum(kept + truths, 1)
    return ThresholdSweep(thresholds, precision, right / max(truths, 1), f1)


def overlaps(found: Detections, sample: Sample) -> np.ndarray:
    """Return the IoU of each detection with each truth, (n, m) float64."""
    return iou(found.boxes.astype(np.float64), sample.boxes_xyxy_px.astype(np.float64))


def _match(found: Detections, sample: Sample, offset: int) -> np.ndarray:
    """Return for each detection the truth of its class that it overlaps most, or -1, (n,).

    -1 where the IoU is below MATCH_IOU. Truths are counted from `offset`.
    """
    if not len(sample.classes):
        return np.full(len(found), -1)
    own = np.where(found.classes[:, None] == sample.classes, overlaps(found, sample), 0)
    return np.where(own.max(1) >= MATCH_IOU, own.argmax(1) + offset, -1)


def _first_matches(matched: np.ndarray) -> np.ndarray:
    """Return which detections, highest score first, are the first on their truth, (n,) bool."""
    first = np.zeros(len(matched), bool)
    first[np.unique(matched, return_index=True)[1]] = True
    return first & (matched >= 0)


def _joined(parts: Sequence[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype), *parts])
