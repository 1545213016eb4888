"""COCO's matches by picture, from which the average precision of any pictures follows.

faster-coco-eval returns the scores of a data set, but not what each picture contributes. Here the
detections are matched once, and `average_precisions` counts each picture as often as it is told to.
With each picture once, the scores are those of `average_precision`.
Source: cocodataset/cocoapi, cocoeval.py: evaluateImg, accumulate, and the parameters of Params.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ghostyolo.data import Sample
from ghostyolo.evaluation.curves import overlaps
from ghostyolo.model.detections import Detections

IOUS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
MOST = 100  # detections of a class in a picture
# The least and the largest area of a box, in pixels of the picture.
SIZES = {"all": (0, 1e10), "small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 1e10)}
BLOCK = 2**20  # numbers at once: what the processor's cache holds


@dataclass(frozen=True, eq=False)
class ClassMatches:
    """The detections of one class in all pictures, by falling score, n in all.

    pictures: (n,), the index of the picture of each. correct: (sizes, IoU thresholds, n) bool.
    ignored: as `correct`, whether a detection is left out. truths: (sizes, pictures), the number of
    truths in each picture that are not ignored.
    """

    pictures: np.ndarray
    correct: np.ndarray
    ignored: np.ndarray
    truths: np.ndarray


def match(
    detections: Sequence[Detections],
    samples: Sequence[Sample],
    classes: int,
    sizes: Sequence[str] = tuple(SIZES),
) -> list[ClassMatches]:
    """Match the detections in each picture; return them by class. sizes: some of `SIZES`."""
    ranges = np.array([SIZES[name] for name in sizes])
    parts: list[list[tuple[np.ndarray, ...]]] = [[] for _ in range(classes)]
    truths = np.zeros((classes, len(ranges), len(samples)), np.int64)
    for index, (found, sample) in enumerate(zip(detections, samples, strict=True)):
        for cls, scores, correct, ignored, counts in _in_picture(found, sample, ranges):
            parts[cls].append((scores, np.full(len(scores), index), correct, ignored))
            truths[cls, :, index] = counts
    return [_ranked(some, truths[cls]) for cls, some in enumerate(parts)]


def _in_picture(
    found: Detections, sample: Sample, ranges: np.ndarray
) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield the classes of a picture: class, scores, correct, ignored, number of truths by size.

    ranges: (sizes, 2), areas. A detection of another size that is not matched is ignored.
    """
    overlap, order = _overlaps(found, sample), np.argsort(-found.scores, kind="stable")
    left_out = _outside(sample.boxes_xyxy_px, ranges) | sample.ignore
    other_size = _outside(found.boxes, ranges)[:, None]
    for cls in np.union1d(found.classes, sample.classes).tolist():
        rows, own = order[found.classes[order] == cls][:MOST], sample.classes == cls
        near, skipped = overlap[np.ix_(rows, own)], left_out[:, own]
        correct, ignored = _matched(near, skipped, sample.ignore[own])
        ignored |= ~correct & other_size[..., rows]
        yield cls, found.scores[rows], correct, ignored, (~skipped).sum(1)


def _overlaps(found: Detections, sample: Sample) -> np.ndarray:
    """Return the IoU of detections and truths, with an ignored truth the fraction inside; (n, m).

    Source: cocodataset/cocoapi, maskApi.c, bbIou.
    """
    overlap = overlaps(found, sample)
    if sample.ignore.any():
        boxes, truths = (b.astype(np.float64) for b in (found.boxes, sample.boxes_xyxy_px))
        low = np.maximum(boxes[:, None, :2], truths[None, sample.ignore, :2])
        high = np.minimum(boxes[:, None, 2:], truths[None, sample.ignore, 2:])
        inside = np.maximum(high - low, 0).prod(2)
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)[:, None]
        overlap[:, sample.ignore] = inside / np.maximum(areas, np.finfo(float).tiny)
    return overlap


def _outside(boxes: np.ndarray, ranges: np.ndarray) -> np.ndarray:
    """Return whether the area of each box is outside of each range, (ranges, n) bool."""
    edges = boxes.astype(np.float64)
    areas = (edges[:, 2:] - edges[:, :2]).prod(1)
    return (areas < ranges[:, :1]) | (areas > ranges[:, 1:])


def _matched(
    overlap: np.ndarray, ignored: np.ndarray, crowds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return what is correct, and what is matched to an ignored truth; (sizes, thresholds, n) bool.

    overlap: (n, m), detections by falling score. ignored: (sizes, m). crowds: (m,), truths that any
    number may match. A detection takes the free truth of highest overlap, an ignored one only if no
    other is left; of equals the last.
    """
    shape = (len(ignored), len(IOUS))
    correct, left_out = np.zeros((2, *shape, len(overlap)), bool)
    taken, (size, level) = np.zeros((*shape, len(crowds)), bool), np.indices(shape)
    for row in np.flatnonzero((overlap >= IOUS[0]).any(1)):
        near = np.flatnonzero(overlap[row] >= IOUS[0])[::-1]
        own = overlap[row, near]
        free = (own >= IOUS[:, None]) & (crowds[near] | ~taken[..., near])
        worth = np.where(free, own + 2.0 * ~ignored[:, None, near], 0)
        best = worth.argmax(2)
        hit, chosen = worth[size, level, best] > 0, near[best]
        taken[size, level, chosen] |= hit
        excused = ignored[size, chosen]
        correct[..., row], left_out[..., row] = hit & ~excused, hit & excused
    return correct, left_out


def _ranked(parts: Sequence[tuple[np.ndarray, ...]], truths: np.ndarray) -> ClassMatches:
    """Join the matches of all pictures, by falling score."""
    empty = np.zeros((len(truths), len(IOUS), 0), bool)
    none = (np.zeros(0, np.float32), np.zeros(0, np.int64), empty, empty)
    columns = [np.concatenate(column, -1) for column in zip(none, *parts, strict=True)]
    order = np.argsort(-columns[0], kind="stable")
    pictures, correct, ignored = (column[..., order] for column in columns[1:])
    return ClassMatches(pictures, correct, ignored, truths)


def average_precisions(classes: Sequence[ClassMatches], weights: np.ndarray) -> np.ndarray:
    """Return COCO's average precision for each row of weights; NaN without truths.

    weights: (r, pictures), how often each picture counts, whole numbers.
    Returns (r, classes, sizes, IoU thresholds).
    """
    return np.stack([_of_class(own, weights) for own in classes], 1)


def _of_class(own: ClassMatches, weights: np.ndarray) -> np.ndarray:
    """Return the average precision of a class, (r, sizes, IoU thresholds)."""
    rows = max(1, BLOCK // max(1, len(own.pictures)))
    blocks = [weights[start : start + rows].T for start in range(0, len(weights), rows)]
    found = np.empty((*own.correct.shape[:2], len(weights)))
    for size, truths in enumerate(own.truths):
        for levels in _alike(own.ignored[size]):
            kept = np.flatnonzero(~own.ignored[size, levels[0]])
            curves = own.pictures[kept], own.correct[size][levels][:, kept], truths
            found[size, levels] = np.concatenate([_areas(*curves, each) for each in blocks], 1)
    return found.transpose(2, 0, 1)


def _alike(ignored: np.ndarray) -> list[list[int]]:
    """Return the IoU thresholds together if they leave out the same detections, else each alone.

    Together they take less than half of the time. So it is for all sizes unless a truth is ignored.
    """
    levels = list(range(len(ignored)))
    return [levels] if (ignored == ignored[0]).all() else [[level] for level in levels]


def _areas(pictures: np.ndarray, correct: np.ndarray, truths: np.ndarray, weights: Any) -> Any:
    """Return the mean over `RECALLS` of the best precision at that recall or above, (levels, r).

    pictures: (n,). correct: (levels, n). weights: (pictures, r). Only correct detections raise the
    recall, so the sum goes over these: each counts as often as recalls are first reached by it.
    """
    total, places = truths @ weights, np.flatnonzero(correct.any(0))
    own = weights[pictures[: places[-1:].sum() + 1]]
    since = np.empty((len(places), own.shape[1]), own.dtype)
    for row, part in enumerate(np.split(own, places + 1)[:-1]):
        since[row] = part.sum(0)  # with a cumulative sum of `own` all takes 1.6 times as long
    seen, own = np.cumsum(since, 0), own[places]
    areas = np.empty((len(correct), own.shape[1]))
    for area, right in zip(areas, correct[:, places], strict=True):
        hits = np.cumsum(own[right], 0)
        best = np.maximum.accumulate((hits / np.maximum(seen[right], 1))[::-1])[::-1]
        reached = np.searchsorted(RECALLS, hits / np.maximum(total, 1), side="right")
        area[:] = (np.diff(reached, axis=0, prepend=0) * best).sum(0) / len(RECALLS)
    return np.where(total > 0, areas, np.nan)
