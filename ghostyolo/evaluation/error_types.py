"""The outcome of each detection: correct, or an error of one type; and the confusion matrix.

Detections are matched by COCO's greedy rule: if a truth is already taken, a detection may take the
free truth with the next highest IoU.
Source: Bolya et al., TIDE, ECCV 2020, section 2.2: the types and both IoU thresholds. In TIDE a
detection may also be poorly localized at a truth that is already taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ghostyolo.data import Sample
from ghostyolo.evaluation.curves import MATCH_IOU, overlaps
from ghostyolo.model.detections import Detections

NEAR_IOU = 0.1  # IoU threshold of a poorly localized detection, also of a wrong class

CORRECT, MISSED, IGNORED = "correct", "missed", "ignored"
WRONG_CLASS, POORLY_LOCALIZED = "wrong class", "poorly localized"
WRONG_CLASS_AND_PLACE = "wrong class and place"
DUPLICATE, FALSE_POSITIVE = "duplicate", "false positive"
ERROR_TYPES = (
    MISSED, FALSE_POSITIVE, WRONG_CLASS, POORLY_LOCALIZED, WRONG_CLASS_AND_PLACE, DUPLICATE,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Outcomes:
    """The outcomes of the detections and truths of one picture.

    detections: (n,) of CORRECT, IGNORED and `ERROR_TYPES` without MISSED. truths: (m,) of CORRECT,
    WRONG_CLASS, POORLY_LOCALIZED, WRONG_CLASS_AND_PLACE, MISSED and IGNORED. matched: (n,), the
    index of the truth that a detection is matched to, or -1.
    """

    detections: np.ndarray
    truths: np.ndarray
    matched: np.ndarray

    def errors(self) -> dict[str, int]:
        """Return the number of errors of each type; a matched detection and truth count once."""
        counts = {kind: int((self.detections == kind).sum()) for kind in ERROR_TYPES}
        return {**counts, MISSED: int((self.truths == MISSED).sum())}


def outcomes_of(found: Detections, sample: Sample) -> Outcomes:
    """Return the outcome of each detection and each truth of one picture.

    By falling score, each detection takes the free truth of its class with the highest IoU, if that
    is at least MATCH_IOU: both are correct. Another detection that has this IoU with an ignored
    truth of its class is ignored; with a taken truth of its class, it is a duplicate; with a free
    truth of another class, its class is wrong. If it has an IoU of NEAR_IOU with a free truth of
    its class, it is poorly localized; with one of another class, its class and place are wrong. All
    others are false positives. A free truth that no detection was matched to is missed.
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

    for kind, pairs, least in (
        (WRONG_CLASS, ~own, MATCH_IOU),
        (POORLY_LOCALIZED, own, NEAR_IOU),
        (WRONG_CLASS_AND_PLACE, ~own, NEAR_IOU),
    ):
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
    last column truths without a detection. A poorly localized detection counts in both, also one of
    a wrong class. Ignored truths and ignored detections are not counted.
    """
    matrix = np.zeros((classes + 1, classes + 1), np.int64)
    for found, sample, outcome in zip(detections, samples, outcomes, strict=True):
        paired = np.isin(outcome.detections, (CORRECT, WRONG_CLASS))
        pairs = sample.classes[outcome.matched[paired]], found.classes[paired]
        np.add.at(matrix, pairs, 1)
        extra = ~paired & (outcome.detections != IGNORED)
        np.add.at(matrix[classes], found.classes[extra], 1)
        lost = ~np.isin(outcome.truths, (CORRECT, WRONG_CLASS, IGNORED))
        np.add.at(matrix[:, classes], sample.classes[lost], 1)
    return matrix


def _assigned(overlap: np.ndarray, scores: np.ndarray, least: float = MATCH_IOU) -> np.ndarray:
    """Assign to each detection, by falling score, the free truth of highest IoU, or -1; (n,)."""
    rest, owner = overlap.copy(), np.full(len(scores), -1)
    if not overlap.shape[1]:
        return owner
    for row in np.argsort(-scores, kind="stable"):
        truth = int(rest[row].argmax())
        if rest[row, truth] >= least:
            owner[row] = truth
            rest[:, truth] = 0
    return owner
