"""Detections of objects that nobody labelled.

Of the objects in the pictures, a part c is labelled. A logistic regression learns with which
probability g a detection has a label. What is an object for sure has one with probability c, so c
is the mean of g over labelled detections of high score, and a detection without a label is an
object with probability (1 - c) / c * g / (1 - g).
Source: Elkan & Noto, Learning classifiers from only positive and unlabeled data, KDD 2008,
equation 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ghostyolo.audit.evidence import Labels, Views, logit, support
from ghostyolo.audit.logistic import from_other_folds
from ghostyolo.boxes import iou

LEAST = 0.05  # the score below which a detection is no sign of anything
EXPLAINED = 0.4  # the IoU with a label from which on a detection has one
CLAIMED = 0.2  # that IoU for the detection that stands best for the label
SAME = 0.4  # the IoU of detections of one object
FOLDS = 5


@dataclass(frozen=True)
class Unlabelled:
    """A detection without a label. picture: its index. row: of the plain view."""

    picture: int
    row: int
    probability: float


def unlabelled(
    labels: Sequence[Labels], views: Sequence[Views], classes: int, seed: int = 0
) -> list[Unlabelled]:
    """Return the detections that no label explains, with the probability that they are objects."""
    rows = [np.flatnonzero(each.plain.scores >= LEAST) for each in views]
    pairs = list(zip(labels, views, rows, strict=True))
    x = np.concatenate([_features(own, seen, classes)[kept] for own, seen, kept in pairs])
    has_label = np.concatenate([_explained(own, seen)[kept] for own, seen, kept in pairs])
    if has_label.all() or not has_label.any():
        return []
    pictures = np.repeat(np.arange(len(rows)), list(map(len, rows)))
    folds = np.random.default_rng(seed).permutation(np.arange(len(rows)) % FOLDS)[pictures]
    g = from_other_folds(x, has_label, folds, x, folds, 2)[:, 1]
    scores = np.concatenate([seen.plain.scores[kept] for _, seen, kept in pairs])
    sure = has_label & (scores >= np.median(scores[has_label]))
    c = g[sure].mean()
    objects = ((1 - c) / c * g / (1 - g).clip(1e-6)).clip(0, 1)
    every = zip(pictures, np.concatenate(rows), objects, has_label, strict=True)
    return [Unlabelled(int(n), int(row), float(p)) for n, row, p, known in every if not known]


def _features(labels: Labels, views: Views, classes: int) -> np.ndarray:
    """Return numbers for each detection of the plain view, (n, F).

    Logits of its score and of its mirrored twin's, the IoU with it, the IoU with a better detection
    nearby, the logarithm of its side, its class.
    """
    found, mirrored = views
    overlaps = iou(found.boxes, mirrored.boxes)
    overlaps = overlaps * (found.classes[:, None] == mirrored.classes[None])
    twins = (overlaps > SAME) * mirrored.scores
    nearby = iou(found.boxes, found.boxes) * (found.scores[None] > found.scores[:, None])
    h, w = labels.size
    sides = (found.boxes[:, 2:] - found.boxes[:, :2]).clip(1)
    return np.column_stack(
        (
            logit(found.scores),
            logit(twins.max(1, initial=0)),
            (overlaps * (mirrored.scores >= LEAST)).max(1, initial=0),
            nearby.max(1, initial=0),
            np.log(sides.prod(1) / (h * w)) / 2,
            np.eye(classes)[found.classes],
        )
    )


def _explained(labels: Labels, views: Views) -> np.ndarray:
    """Return which detections of the plain view have a label."""
    found = views.plain
    result = iou(found.boxes, labels.boxes).max(1, initial=0) >= EXPLAINED
    own = support(labels, found)
    result[own.best[(own.best >= 0) & (own.overlap >= CLAIMED)]] = True
    return result
