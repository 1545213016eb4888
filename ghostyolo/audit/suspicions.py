"""Suspicions: labels that are probably wrong, and objects that are probably not labelled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ghostyolo.audit.evidence import Labels, Views, support
from ghostyolo.audit.missing import unlabelled
from ghostyolo.audit.planted import CLASS, DOUBLE, PLACE, SPURIOUS
from ghostyolo.audit.states import label_states
from ghostyolo.boxes import iou
from ghostyolo.data import Dataset
from ghostyolo.drawing import class_name
from ghostyolo.model.detections import Detections

MISSING = "missing box"
KINDS = {
    SPURIOUS: "spurious box", CLASS: "wrong class", PLACE: "wrong place", DOUBLE: "duplicate",
}  # fmt: skip
Detect = Callable[[Sequence[np.ndarray]], Sequence[Detections]]


@dataclass(frozen=True)
class Suspicion:
    """What is probably wrong in a picture.

    kind: one of `KINDS`, or `MISSING`. probability: that it is wrong. label: the row of the label
    in the picture, None for a missing one, with its box, xyxy in pixels, and class. seen: the box,
    class and score of what the network sees there, None for nothing.
    """

    path: str
    image_id: int | str
    kind: str
    probability: float
    label: int | None
    box: tuple[float, ...] | None
    cls: int | None
    seen: tuple[tuple[float, ...], int, float] | None

    def as_dict(self, names: Sequence[str]) -> dict[str, Any]:
        """Return it for JSON."""
        result: dict[str, Any] = {
            "file": self.path,
            "image_id": self.image_id,
            "kind": self.kind,
            "probability": round(self.probability, 4),
            "format": "xyxy",
        }
        if self.cls is not None and self.box is not None:
            own: dict[str, Any] = {
                "index": self.label,
                "class": self.cls,
                "name": class_name(self.cls, names),
            }
            result["label"] = {**own, "box": [round(edge, 2) for edge in self.box]}
        if self.seen:
            box, cls, score = self.seen
            found = {"class": cls, "name": class_name(cls, names), "score": round(score, 4)}
            result["seen"] = {**found, "box": [round(edge, 2) for edge in box]}
        return result


def views_of(image: np.ndarray, detect: Detect) -> Views:
    """Return the detections in a picture, uint8 RGB (H, W, 3), and in its mirror image."""
    plain, mirrored = detect([image, np.ascontiguousarray(image[:, ::-1])])
    boxes = mirrored.boxes.copy()
    boxes[:, [0, 2]] = image.shape[1] - mirrored.boxes[:, [2, 0]]
    return Views(plain, Detections(boxes, mirrored.scores, mirrored.classes))


def suspicions(dataset: Dataset, views: Sequence[Views], seed: int = 0) -> list[Suspicion]:
    """Return what is probably wrong in a data set, the most probable first.

    views: of each sample, by networks that were not trained on it. seed: of the planted errors.
    Labels that are ignored are not judged, and explain detections.
    """
    labels = [
        Labels(sample.boxes_xyxy_px, sample.classes, sample.size) for sample in dataset.samples
    ]
    found = [*_of_labels(dataset, labels, views, seed), *_missing(dataset, labels, views, seed)]
    return sorted(found, key=lambda each: -each.probability)


def _of_labels(
    dataset: Dataset, labels: Sequence[Labels], views: Sequence[Views], seed: int
) -> Iterator[Suspicion]:
    """Yield a suspicion for each label that is not ignored, of its most probable kind."""
    states = iter(label_states(labels, views, len(dataset.names), seed))
    for sample, own, seen in zip(dataset.samples, labels, views, strict=True):
        found = support(own, seen.plain)
        better = _better_doubles(own, found.overlap)
        for row, ignored in enumerate(sample.ignore):
            probabilities = next(states)
            if ignored:
                continue
            kind = max(KINDS, key=lambda each: probabilities[each])
            if kind == DOUBLE and better[row]:
                continue
            yield Suspicion(
                path=sample.path,
                image_id=sample.image_id,
                kind=KINDS[kind],
                probability=float(probabilities[kind]),
                label=row,
                box=tuple(own.boxes[row].tolist()),
                cls=int(own.classes[row]),
                seen=_seen(seen.plain, int(found.best[row])),
            )


def _better_doubles(labels: Labels, overlap: np.ndarray) -> np.ndarray:
    """Return which labels fit a detection better than the nearest label of their class does.

    overlap: the IoU of each label with the detection that stands for it.
    """
    count = len(labels.boxes)
    alike = labels.classes[:, None] == labels.classes[None]
    pairs = iou(labels.boxes, labels.boxes) * (alike & ~np.eye(count, dtype=bool))
    if count < 2:
        return np.zeros(count, bool)
    twins, rows = pairs.argmax(1), np.arange(count)
    return (overlap > overlap[twins]) | ((overlap == overlap[twins]) & (rows < twins))


def _missing(
    dataset: Dataset, labels: Sequence[Labels], views: Sequence[Views], seed: int
) -> Iterator[Suspicion]:
    for each in unlabelled(labels, views, len(dataset.names), seed):
        sample = dataset.samples[each.picture]
        yield Suspicion(
            path=sample.path,
            image_id=sample.image_id,
            kind=MISSING,
            probability=each.probability,
            label=None,
            box=None,
            cls=None,
            seen=_seen(views[each.picture].plain, each.row),
        )


def _seen(found: Detections, row: int) -> tuple[tuple[float, ...], int, float] | None:
    if row < 0:
        return None
    return tuple(found.boxes[row].tolist()), int(found.classes[row]), float(found.scores[row])
