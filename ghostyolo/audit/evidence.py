"""What the detections in a picture say about its labels, as numbers.

A network that was not trained on a picture looks at it and at its mirror image. A detection stands
for a label as far as their boxes agree.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ghostyolo.boxes import iou, paired_iou
from ghostyolo.model.detections import Detections

# A detection does not stand for a label up to the first IoU, and wholly from the second on.
NO_SUPPORT, FULL_SUPPORT = 0.1, 0.6
CLEAR = 0.1  # the score from which on a detection near a label is looked at for its box alone
BORDER = 0.01  # of a picture's side, within which a box touches its border
LEAST = 1e-3  # of a score whose logit is taken


class Labels(NamedTuple):
    """The labels of a picture: boxes (n, 4) xyxy in pixels, classes (n,), size (h, w)."""

    boxes: np.ndarray
    classes: np.ndarray
    size: tuple[int, int]


class Views(NamedTuple):
    """The detections in a picture and in its mirror image, both in pixels of the picture."""

    plain: Detections
    mirrored: Detections


class Support(NamedTuple):
    """What a view has for each of n labels.

    same, other: the best score of a detection of the label's class, of another class, times how far
    it stands for the label. best: the row of the detection that stands for it best, of any class,
    -1 for none. overlap: the IoU with it. nearest: the best IoU with a detection that is `CLEAR`.
    """

    same: np.ndarray
    other: np.ndarray
    best: np.ndarray
    overlap: np.ndarray
    nearest: np.ndarray


def support(labels: Labels, found: Detections) -> Support:
    """Return what a view has for each label."""
    n = len(labels.boxes)
    if not len(found):
        return Support(np.zeros(n), np.zeros(n), np.full(n, -1), np.zeros(n), np.zeros(n))
    overlaps = iou(labels.boxes, found.boxes)
    stands = ((overlaps - NO_SUPPORT) / (FULL_SUPPORT - NO_SUPPORT)).clip(0, 1) * found.scores
    alike = labels.classes[:, None] == found.classes[None]
    best = stands.argmax(1)
    overlap = overlaps[np.arange(n), best]
    return Support(
        same=(stands * alike).max(1),
        other=(stands * ~alike).max(1),
        best=np.where(overlap > NO_SUPPORT, best, -1),
        overlap=overlap,
        nearest=(overlaps * (found.scores > CLEAR)).max(1),
    )


def features(labels: Labels, views: Views) -> np.ndarray:
    """Return ten numbers for each label, (n, 10).

    Logits of the support by its class and by others; the IoU with the detection that stands for it;
    the IoU of both views' such detections; the best IoU; that with a label of its class and of
    another class; by how much another label fits its detection better; the logarithm of its side;
    whether it is at the border. What both views say is averaged.
    """
    plain, mirrored = (support(labels, view) for view in views)
    both = Support(*(np.add(a, b) / 2 for a, b in zip(plain, mirrored, strict=True)))
    pairs = zip(views, (plain, mirrored), strict=True)
    boxes = [np.append(view.boxes, np.zeros((1, 4)), 0)[each.best] for view, each in pairs]
    overlaps = iou(labels.boxes, labels.boxes) * (1 - np.eye(len(labels.boxes)))
    alike = labels.classes[:, None] == labels.classes[None]
    h, w = labels.size
    sides = (labels.boxes[:, 2:] - labels.boxes[:, :2]).clip(1)
    columns = (
        logit(both.same),
        logit(both.other),
        both.overlap,
        paired_iou(*boxes),
        both.nearest,
        (overlaps * alike).max(1, initial=0),
        (overlaps * ~alike).max(1, initial=0),
        _shared(plain),
        np.log(sides.prod(1) / (h * w)) / 2,
        _at_border(labels),
    )
    return np.column_stack(columns)


def logit(scores: np.ndarray) -> np.ndarray:
    """Return the logits of scores, which are clipped to `LEAST` and 1 - `LEAST` before."""
    clipped = scores.clip(LEAST, 1 - LEAST)
    return np.log(clipped / (1 - clipped))


def _shared(found: Support) -> np.ndarray:
    """Return by how much another label overlaps more with the same detection; 0 for none."""
    shares = (found.best[:, None] == found.best[None]) & (found.best >= 0)
    shares &= ~np.eye(len(found.best), dtype=bool)
    gain = found.overlap[None] - found.overlap[:, None]
    return np.where(shares, gain, -np.inf).max(1, initial=-np.inf).clip(0)


def _at_border(labels: Labels) -> np.ndarray:
    h, w = labels.size
    low, high = labels.boxes[:, :2], labels.boxes[:, 2:]
    near = BORDER * np.array([w, h])
    return ((low <= near) | (high >= [w, h] - near)).any(1).astype(float)
