"""What a detector does wrong: its errors by type, and boxes that are too large or too small."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ghostyolo.data import Sample
from ghostyolo.evaluation.curves import (
    overlaps,
    rank_detections,
    sweep_thresholds,
)
from ghostyolo.evaluation.error_types import CORRECT, ERROR_TYPES, Outcomes, outcomes_of
from ghostyolo.evaluation.score_table import json_values
from ghostyolo.model.detections import Detections
from ghostyolo.model.detector import THRESH

SAME_IOU = 0.3  # of a box and the truth that it means: a box of half the width and height has .25


@dataclass(frozen=True)
class BoxSizes:
    """The sizes of the boxes of a class, in parts of those of the truths that they mean.

    truths: how many have a box. w, h: the median ratios; NaN without any.
    """

    truths: int
    w: float
    h: float


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """The errors of a detector at one confidence threshold, and its box sizes by class.

    kept: the detections at or above the threshold. outcomes: of these, by picture.
    """

    threshold: float
    kept: Sequence[Detections]
    outcomes: Sequence[Outcomes]
    sizes: Sequence[BoxSizes]

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of correct detections and of errors of each type."""
        total = dict.fromkeys((CORRECT, *ERROR_TYPES), 0)
        for outcome in self.outcomes:
            total[CORRECT] += int((outcome.detections == CORRECT).sum())
            for kind, count in outcome.errors().items():
                total[kind] += count
        return total

    @property
    def shares(self) -> dict[str, float]:
        """Return the fraction of each type of error among all errors; 0 if there are none."""
        counts = self.counts
        errors = max(1, sum(counts[kind] for kind in ERROR_TYPES))
        return {kind: counts[kind] / errors for kind in ERROR_TYPES}

    def as_dict(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the errors and the box sizes for JSON."""
        shares = self.shares
        errors = {
            kind: {"count": self.counts[kind], "share": round(shares[kind], 4)} for kind in shares
        }
        sizes = [
            {"name": name, **json_values({"truths": own.truths, "width": own.w, "height": own.h})}
            for name, own in zip(names, self.sizes, strict=True)
        ]
        return {"threshold": self.threshold, "errors": errors, "box_sizes": sizes}


def diagnose(
    detections: Sequence[Detections], samples: Sequence[Sample], classes: int
) -> Diagnosis:
    """Return the errors at the confidence threshold with the best F1, and the box sizes.

    If nothing is correct at any threshold, that of `detect` is taken.
    """
    sweep = sweep_thresholds(rank_detections(detections, samples, classes))
    threshold = float(sweep.thresholds[sweep.best]) if sweep.f1.max() > 0 else THRESH
    kept = [found[found.scores >= threshold] for found in detections]
    outcomes = [outcomes_of(*pair) for pair in zip(kept, samples, strict=True)]
    return Diagnosis(threshold, kept, outcomes, box_sizes(detections, samples, classes))


def box_sizes(
    detections: Sequence[Detections], samples: Sequence[Sample], classes: int
) -> list[BoxSizes]:
    """Return the median size of boxes in parts of their truths, by class.

    A detection means the truth of its class with the highest IoU, if that is at least SAME_IOU. Of
    each truth, the most confident detection counts, whatever its confidence.
    """
    pairs = [_meant(*pair) for pair in zip(detections, samples, strict=True)]
    found = np.concatenate([np.zeros((0, 3)), *pairs])
    own = [found[found[:, 0] == cls, 1:] for cls in range(classes)]
    return [
        BoxSizes(len(rows), *(np.median(rows, 0).tolist() if len(rows) else (np.nan, np.nan)))
        for rows in own
    ]


def _meant(found: Detections, sample: Sample) -> np.ndarray:
    """Return class, width and height ratio of the most confident box of each truth, (n, 3)."""
    own = (found.classes[:, None] == sample.classes) & ~sample.ignore
    if not own.any():
        return np.zeros((0, 3))
    overlap = np.where(own, overlaps(found, sample), 0)
    order = np.argsort(-found.scores, kind="stable")
    order = order[overlap[order].max(1) >= SAME_IOU]
    truths, first = np.unique(overlap[order].argmax(1), return_index=True)
    boxes, meant = found.boxes[order[first]], sample.boxes_xyxy_px[truths]
    ratios = (boxes[:, 2:] - boxes[:, :2]) / (meant[:, 2:] - meant[:, :2])
    return np.column_stack((sample.classes[truths], ratios))
