"""Precision and recall of a detector at every confidence threshold, by VOC's rules.

`report.plots` draws these curves. The area under the precision-recall curve of a class is VOC's
average precision, `Scores.voc_area`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ghostyolo.boxes import iou
from ghostyolo.data import Sample
from ghostyolo.model.detections import Detections

MATCH_IOU = 0.5  # IoU threshold of a correct detection, in VOC and in COCO's AP50
THRESHOLDS = np.linspace(0, 1, 201)


@dataclass(frozen=True, eq=False)
class RankedDetections:
    """The detections of one class by falling score, without those matched to ignored truths.

    scores: (n,). correct: (n,) bool. truths: the number of boxes that are not ignored.
    """

    scores: np.ndarray
    correct: np.ndarray
    truths: int

    def precision_at(self, recall: np.ndarray) -> np.ndarray:
        """Return the best precision at each recall in [0, 1] or above; 0 at recalls never reached.

        Source: the VOC2012 development kit, VOCap.m: the curve whose area is its AP.
        """
        reached = np.searchsorted(np.cumsum(self.correct) / max(self.truths, 1), recall - 1e-12)
        return np.append(precision_envelope(self.correct), 0)[reached]


class ThresholdSweep(NamedTuple):
    """Scores by confidence threshold, (t,) each; precision is NaN if no detection is kept."""

    thresholds: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray

    @property
    def best(self) -> int:
        """Return the index of the best F1; of equal ones, the one at the highest threshold."""
        return len(self.f1) - 1 - int(np.argmax(self.f1[::-1]))


def rank_detections(
    detections: Sequence[Detections], samples: Sequence[Sample], classes: int
) -> list[RankedDetections]:
    """Return the ranked detections of each class, matched by VOC's rule; classes: their number.

    A detection is matched to the truth of its class with the highest IoU. The first detection that
    is matched to a truth is correct.
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
    order = order[
        ~np.append(ignored, False)[matched[order]]
    ]  # index -1 (no match) takes the appended element
    rows = [order[labels[order] == cls] for cls in range(classes)]
    return [
        RankedDetections(scores[row], _first_matches(matched[row]), int(n))
        for row, n in zip(rows, truths, strict=True)
    ]


def precision_envelope(correct: np.ndarray) -> np.ndarray:
    """Return the best precision at or after each detection in the ranking, (n,)."""
    precision = np.cumsum(correct) / np.arange(1, len(correct) + 1)
    return np.maximum.accumulate(precision[::-1])[::-1]


def sweep_thresholds(
    ranked: Sequence[RankedDetections], thresholds: np.ndarray = THRESHOLDS
) -> ThresholdSweep:
    """Return precision, recall and F1 of all classes together, keeping scores >= a threshold."""
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
    """Return the index of the truth that each detection is matched to, (n,).

    This is the truth of its class with the highest IoU, or -1 if that IoU is below MATCH_IOU.
    offset: the index of the picture's first truth.
    """
    if not len(sample.classes):
        return np.full(len(found), -1)
    own = np.where(found.classes[:, None] == sample.classes, overlaps(found, sample), 0)
    return np.where(own.max(1) >= MATCH_IOU, own.argmax(1) + offset, -1)


def _first_matches(matched: np.ndarray) -> np.ndarray:
    """Return whether each detection, by falling score, is the first on its truth, (n,) bool."""
    first = np.zeros(len(matched), bool)
    first[np.unique(matched, return_index=True)[1]] = True
    return first & (matched >= 0)


def _joined(parts: Sequence[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype), *parts])
