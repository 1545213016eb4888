"""How a detector errs: precision and recall at every score, and what each detection gets wrong.

Everything here takes the detections and truths of pictures as arrays and draws nothing. Two rules
say which detection is right. `rank` has VOC's, under which the area below a curve is the average
precision that the table of scores shows. `judge` has COCO's greedy one, under which a detection may
take the next best truth, and sorts the errors into kinds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ghostyolo.boxes import Detections, iou
from ghostyolo.data import Sample

MATCH_IOU = 0.5  # of a right detection with its truth, in VOC and in COCO's AP50
NEAR_IOU = 0.1  # under this a detection has nothing to do with a truth; see `judge`
THRESHOLDS = np.linspace(0, 1, 201)

# What a detection, or a truth, turned out to be.
RIGHT, CLASS, PLACE, DOUBLE, FALSE = "right", "wrong class", "badly placed", "double", "false"
MISSED, IGNORED = "missed", "ignored"
ERRORS = (MISSED, FALSE, CLASS, PLACE, DOUBLE)


@dataclass(frozen=True, eq=False)
class Ranked:
    """The detections of one class, best score first, those on ignored truths left out.

    scores: (n,). hits: (n,) bool, which are right. truths: how many could be found.
    """

    scores: np.ndarray
    hits: np.ndarray
    truths: int

    def precision_at(self, recall: np.ndarray) -> np.ndarray:
        """Return the best precision at each recall in [0, 1] or above it; 0 where none reaches it.

        Source: the VOC2012 development kit, VOCap.m: the curve whose area is its AP.
        """
        reached = np.searchsorted(np.cumsum(self.hits) / max(self.truths, 1), recall - 1e-12)
        return np.append(envelope(self.hits), 0)[reached]


class Sweep(NamedTuple):
    """What a threshold does, (t,) each; precision is NaN where no detection is left."""

    thresholds: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray

    @property
    def best(self) -> int:
        """Return the place of the best F1, of equal ones that of the highest threshold."""
        return len(self.f1) - 1 - int(np.argmax(self.f1[::-1]))


@dataclass(frozen=True, eq=False)
class Verdict:
    """What the detections and truths of one picture turned out to be.

    detections: (n,) of RIGHT, CLASS, PLACE, DOUBLE, FALSE and IGNORED. truths: (m,) of RIGHT,
    CLASS, PLACE, MISSED and IGNORED. matched: (n,) the truth that a detection is about, or -1.
    """

    detections: np.ndarray
    truths: np.ndarray
    matched: np.ndarray

    def errors(self) -> dict[str, int]:
        """Count the errors by kind; one that a detection and a truth share counts once."""
        counts = {kind: int((self.detections == kind).sum()) for kind in ERRORS}
        return {**counts, MISSED: int((self.truths == MISSED).sum())}


def rank(detections: Sequence[Detections], samples: Sequence[Sample], count: int) -> list[Ranked]:
    """Say of each of `count` classes which of its detections are right, by VOC's rule.

    A detection goes to the truth that it overlaps most; the first on each truth is right.
    Source: the VOC2012 development kit, VOCevaldet.m.
    """
    ignored = _joined([sample.ignore for sample in samples], bool)
    labels = _joined([sample.classes for sample in samples], np.int64)
    truths = np.bincount(labels[~ignored], minlength=count)
    offsets = np.cumsum([0, *(len(sample.classes) for sample in samples)])
    matched = _joined(
        [_match(*each) for each in zip(detections, samples, offsets, strict=False)], np.int64
    )
    classes = _joined([found.classes for found in detections], np.int64)
    scores = _joined([found.scores for found in detections], np.float32)
    order = np.argsort(-scores, kind="stable")
    order = order[~np.append(ignored, False)[matched[order]]]  # -1, no match, is the appended one
    rows = [order[classes[order] == cls] for cls in range(count)]
    return [
        Ranked(scores[row], _hits(matched[row]), int(n))
        for row, n in zip(rows, truths, strict=True)
    ]


def envelope(hits: np.ndarray) -> np.ndarray:
    """Return the best precision at each detection or after it, (n,)."""
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return np.maximum.accumulate(precision[::-1])[::-1]


def sweep(ranked: Sequence[Ranked], thresholds: np.ndarray = THRESHOLDS) -> Sweep:
    """Return precision, recall and F1 of classes taken together, keeping scores >= a threshold."""
    scores = _joined([each.scores for each in ranked], np.float32)
    hits = _joined([each.hits for each in ranked], bool)
    truths = sum(each.truths for each in ranked)
    order = np.argsort(scores)
    start = np.searchsorted(scores[order], thresholds.astype(np.float32))
    kept = len(scores) - start
    right = np.append(np.cumsum(hits[order][::-1])[::-1], 0)[start]
    precision = np.where(kept > 0, right / np.maximum(kept, 1), np.nan)
    f1 = 2 * right / np.maximum(kept + truths, 1)
    return Sweep(thresholds, precision, right / max(truths, 1), f1)


def judge(found: Detections, sample: Sample) -> Verdict:
    """Say what each detection and each truth of one picture turned out to be.

    Best score first, a detection takes the free truth of its class that it overlaps most, by at
    least MATCH_IOU: both are right. Of the others, one on an ignored truth of its class is ignored;
    one on a truth that is taken is double; one on a free truth of another class has the wrong
    class; one that overlaps a free truth of its class by NEAR_IOU is badly placed; the rest are
    false. A truth that none of these is about is missed.
    Source: Bolya et al., TIDE, ECCV 2020, section 2.2, kinds and both overlaps; there a box is
    badly placed also beside a truth that another has found, and can be wrong in both ways.
    """
    overlap = iou(found.boxes.astype(np.float64), sample.boxes_xyxy_px.astype(np.float64))
    own = found.classes[:, None] == sample.classes
    kinds = np.full(len(found), FALSE, dtype=object)
    truths = np.where(sample.ignore, IGNORED, MISSED).astype(object)
    matched = _assigned(np.where(own & ~sample.ignore, overlap, 0), found.scores)
    kinds[matched >= 0], truths[matched[matched >= 0]] = RIGHT, RIGHT

    covered = own & (overlap >= MATCH_IOU)
    kinds[(kinds == FALSE) & (covered & sample.ignore).any(1)] = IGNORED
    kinds[(kinds == FALSE) & covered.any(1)] = DOUBLE

    for kind, pairs, least in ((CLASS, ~own, MATCH_IOU), (PLACE, own, NEAR_IOU)):
        free = (kinds == FALSE)[:, None] & (truths == MISSED)
        about = _assigned(np.where(pairs & free, overlap, 0), found.scores, least)
        kinds[about >= 0], truths[about[about >= 0]] = kind, kind
        matched = np.where(about >= 0, about, matched)
    return Verdict(kinds, truths, matched)


def confusion(
    detections: Sequence[Detections],
    samples: Sequence[Sample],
    verdicts: Sequence[Verdict],
    count: int,
) -> np.ndarray:
    """Count which class was taken for which, (count + 1, count + 1): rows truths, columns found.

    The last row counts detections that are no truth's, the last column truths that none found. A
    badly placed detection is in both. Ignored truths, and detections on them, count nowhere.
    """
    matrix = np.zeros((count + 1, count + 1), np.int64)
    for found, sample, verdict in zip(detections, samples, verdicts, strict=True):
        paired = np.isin(verdict.detections, (RIGHT, CLASS))
        pairs = sample.classes[verdict.matched[paired]], found.classes[paired]
        np.add.at(matrix, pairs, 1)
        extra = np.isin(verdict.detections, (PLACE, DOUBLE, FALSE))
        np.add.at(matrix[count], found.classes[extra], 1)
        lost = np.isin(verdict.truths, (PLACE, MISSED))
        np.add.at(matrix[:, count], sample.classes[lost], 1)
    return matrix


def _assigned(overlap: np.ndarray, scores: np.ndarray, least: float = MATCH_IOU) -> np.ndarray:
    """Give each detection, best score first, the free truth it overlaps most, or -1; (n,)."""
    rest, owner = overlap.copy(), np.full(len(scores), -1)
    if not overlap.shape[1]:
        return owner
    for row in np.argsort(-scores, kind="stable"):
        truth = int(rest[row].argmax())
        if rest[row, truth] >= least:
            owner[row] = truth
            rest[:, truth] = 0
    return owner


def _match(found: Detections, sample: Sample, offset: int) -> np.ndarray:
    """Return for each detection the truth of its class that it overlaps most, or -1, (n,).

    -1 where the overlap is under VOC's. Truths are counted from `offset`.
    """
    if not len(sample.classes):
        return np.full(len(found), -1)
    overlap = iou(found.boxes.astype(np.float64), sample.boxes_xyxy_px.astype(np.float64))
    overlap = np.where(found.classes[:, None] == sample.classes, overlap, 0)
    return np.where(overlap.max(1) >= MATCH_IOU, overlap.argmax(1) + offset, -1)


def _hits(matched: np.ndarray) -> np.ndarray:
    """Say which detections, best first, are right: the first on each truth, (n,) bool."""
    hits = np.zeros(len(matched), bool)
    hits[np.unique(matched, return_index=True)[1]] = True
    return hits & (matched >= 0)


def _joined(parts: Sequence[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype), *parts])
