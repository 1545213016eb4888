"""What each detection of a picture is: correct, or an error of one type; and the confusion matrix.

Detections are matched by COCO's greedy rule, under which a detection may take the next best truth.
Source: Bolya et al., TIDE, ECCV 2020, section 2.2: the types and both IoU thresholds. There a box
is poorly localized also beside a truth that another has found, and can be wrong in both ways.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ghostyolo.boxes import Detections
from ghostyolo.data import Sample
from ghostyolo.evaluation.curves import MATCH_IOU, overlaps

NEAR_IOU = 0.1  # below this a detection has nothing to do with a truth

CORRECT, MISSED, IGNORED = "correct", "missed", "ignored"
WRONG_CLASS, POORLY_LOCALIZED = "wrong class", "poorly localized"
DUPLICATE, FALSE_POSITIVE = "duplicate", "false positive"
ERROR_TYPES = (MISSED, FALSE_POSITIVE, WRONG_CLASS, POORLY_LOCALIZED, DUPLICATE)


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What the detections and truths of one picture are.

    detections: (n,) of CORRECT, WRONG_CLASS, POORLY_LOCALIZED, DUPLICATE, FALSE_POSITIVE, IGNORED.
    truths: (m,) of CORRECT, WRONG_CLASS, POORLY_LOCALIZED, MISSED and IGNORED. matched: (n,) the
    index of the truth that a detection is matched to, or -1.
    """

    detections: np.ndarray
    truths: np.ndarray
    matched: np.ndarray

    def errors(self) -> dict[str, int]:
        """Count the errors of each type; one that a detection and a truth share counts once."""
        counts = {kind: int((self.detections == kind).sum()) for kind in ERROR_TYPES}
        return {**counts, MISSED: int((self.truths == MISSED).sum())}


def outcomes_of(found: Detections, sample: Sample) -> Outcomes:
    """Return what each detection and each truth of one picture is.

    In the order of their scores, each detection takes the free truth of its class with the highest
    IoU, if that is at least MATCH_IOU: both are correct. Of the others, one on an ignored truth of
    its class is ignored; one on a truth that is taken is a duplicate; one on a free truth of
    another class has the wrong class; one that overlaps a free truth of its class by NEAR_IOU is
    poorly localized; the rest are false positives. A truth without any of these is missed.
    """
    overlap = overlaps(found, sample)
    own = found.classes[:, None] == sample.classes
    kinds = np.full(len(found), FALSE_POSITIVE, dtype=object)
    truths = np.where(sample.ignore, IGNORED, MISSED).astype(object)
    matched = _assigned(np.where(own & ~sample.ignore, overlap, 0), found.scores)
    kinds[matched >= 0], truths[matched[matched >= 0]] = CORRECT, CORRECT

    covered = own & (overlap >= MATCH_IOU)
    kinds[(kinds == FALSE_POSITIVE) & (covered & sample.ignore).any(1)] = IGNORED
    kinds[(kinds == FALSE_POSITIVE) & covered.any(1)] = DUPLICATE

    for kind, pairs, least in ((WRONG_CLASS, ~own, MATCH_IOU), (POORLY_LOCALIZED, own, NEAR_IOU)):
        free = (kinds == FALSE_POSITIVE)[:, None] & (truths == MISSED)
        assigned = _assigned(np.where(pairs & free, overlap, 0), found.scores, least)
        kinds[assigned >= 0], truths[assigned[assigned >= 0]] = kind, kind
        matched = np.where(assigned >= 0, assigned, matched)
    return Outcomes(kinds, truths, matched)


def confusion_matrix(
    detections: Sequence[Detections],
    samples: Sequence[Sample],
    outcomes: Sequence[Outcomes],
    classes: int,
) -> np.ndarray:
    """Return the confusion matrix, (classes + 1, classes + 1): rows true, columns predicted class.

    The last row and column are the background: the last row counts detections without a truth, the
    last column truths without a detection. A poorly localized detection is in both. Ignored truths,
    and detections on them, count nowhere.
    """
    matrix = np.zeros((classes + 1, classes + 1), np.int64)
    for found, sample, outcome in zip(detections, samples, outcomes, strict=True):
        paired = np.isin(outcome.detections, (CORRECT, WRONG_CLASS))
        pairs = sample.classes[outcome.matched[paired]], found.classes[paired]
        np.add.at(matrix, pairs, 1)
        extra = np.isin(outcome.detections, (POORLY_LOCALIZED, DUPLICATE, FALSE_POSITIVE))
        np.add.at(matrix[classes], found.classes[extra], 1)
        lost = np.isin(outcome.truths, (POORLY_LOCALIZED, MISSED))
        np.add.at(matrix[:, classes], sample.classes[lost], 1)
    return matrix


def _assigned(overlap: np.ndarray, scores: np.ndarray, least: float = MATCH_IOU) -> np.ndarray:
    """Return for each detection, highest score first, the free truth of most IoU, or -1; (n,)."""
    rest, owner = overlap.copy(), np.full(len(scores), -1)
    if not overlap.shape[1]:
        return owner
    for row in np.argsort(-scores, kind="stable"):
        truth = int(rest[row].argmax())
        if rest[row, truth] >= least:
            owner[row] = truth
            rest[:, truth] = 0
    return owner
