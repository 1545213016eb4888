"""Average precision from detections and truths, by COCO's rules and by PASCAL VOC's.

faster-coco-eval computes the COCO scores, ten times as fast as pycocotools with equal results; the
VOC scores are computed here. An ignored truth (`Sample.ignore`) is `iscrowd` in COCO, which matches
it by the fraction of the detection inside it, and `difficult` in VOC, which matches it by IoU. Any
number of detections that match an ignored truth are left out of the scores.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from ghostyolo.data import Dataset
from ghostyolo.errors import DataError
from ghostyolo.evaluation.curves import (
    RankedDetections,
    precision_envelope,
    rank_detections,
    sweep_thresholds,
)
from ghostyolo.evaluation.score_table import aligned, json_values, text
from ghostyolo.model.detections import Detections

COLUMNS = {
    "truths": "truths",
    "ap": "AP",
    "ap50": "AP50",
    "ap75": "AP75",
    "voc_area": "VOC area",
    "voc_11_point": "VOC 11-point",
}
FOOTNOTE = {"ap_small": "AP small", "ap_medium": "medium", "ap_large": "large", "ar": "AR"}


@dataclass(frozen=True)
class Scores:
    """The scores of one class, or their means over the classes: in [0, 1], NaN without truths.

    truths: the number of boxes that are not ignored. ap: mean over the IoU thresholds .50:.05:.95.
    ap50, ap75: at the IoU threshold .50 or .75. ap_small, ap_medium, ap_large: of boxes with an
    area under 32², from 32² to 96², and over 96², in pixels of the picture (COCO's own results use
    the area of the segment, which is smaller). ar: recall with 100 detections in each picture, mean
    over the same IoU thresholds. voc_area, voc_11_point: VOC's AP since 2010 and before 2010, at
    the IoU threshold .5.
    """

    truths: int
    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ar: float
    voc_area: float
    voc_11_point: float


@dataclass(frozen=True)
class Metrics:
    """The scores of a detector on a data set: of each class, and their mean.

    A class without truths has no scores and is left out of the mean. `mean.truths` is the sum over
    the classes. precision, recall: of all classes together, at the confidence threshold with the
    best F1, see `ThresholdSweep.best`; NaN without truths.
    """

    names: tuple[str, ...]
    classes: tuple[Scores, ...]
    mean: Scores
    precision: float = math.nan
    recall: float = math.nan

    def table(self) -> str:
        """Return the scores as aligned text, one line for each class, then the mean; '-' is NaN."""
        named = [*zip(self.names, self.classes, strict=True), ("mean", self.mean)]
        rows = [[name, *(getattr(scores, key) for key in COLUMNS)] for name, scores in named]
        last = (f"{word} {text(getattr(self.mean, key))}" for key, word in FOOTNOTE.items())
        return f"{aligned(['class', *COLUMNS.values()], rows)}\n{', '.join(last)}"

    def row(self) -> dict[str, float]:
        """Return the scores for results.csv."""
        mean = self.mean
        named = {"AP": mean.ap, "AP50": mean.ap50, "AP75": mean.ap75, "VOC": mean.voc_area}
        named |= {"precision": self.precision, "recall": self.recall}
        return {name: float(value) for name, value in named.items()}  # no numpy in checkpoints

    def as_dict(self) -> dict[str, Any]:
        """Return the scores for JSON, with null for NaN."""
        rows = zip(self.names, self.classes, strict=True)
        classes = [{"name": name, **json_values(asdict(scores))} for name, scores in rows]
        return {"mean": json_values(asdict(self.mean)), "classes": classes}


def score(detections: Sequence[Detections], dataset: Dataset) -> Metrics:
    """Compare the detections in each sample of a data set with its truths.

    detections: one for each of `dataset.samples`, in the same order, at a confidence threshold near
    0, since average precision is the area under the whole precision-recall curve.

    Raises ValueError if their number differs from the number of samples, DataError if a detection
    has a class that the data set does not have.
    """
    if len(detections) != len(dataset.samples):
        raise ValueError(f"{len(detections)} detections for {len(dataset.samples)} samples")
    count = len(dataset.names)
    highest = max((int(found.classes.max()) for found in detections if len(found)), default=0)
    if highest >= count:
        raise DataError(
            f"a detection has class {highest}, the data set has {count} ({dataset.path})",
            hint="validate with the cfg and the data set that belong together",
        )
    ranked = rank_detections(detections, dataset.samples, count)
    columns = {**_coco(detections, dataset), **_voc(ranked)}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    classes = tuple(Scores(**{**row, "truths": int(row["truths"])}) for row in rows)
    mean, sweep = _mean(classes), sweep_thresholds(ranked)
    both = (np.nan_to_num(column[sweep.best]) for column in (sweep.precision, sweep.recall))
    best = map(float, both) if mean.truths else (math.nan, math.nan)
    return Metrics(dataset.names, classes, mean, *best)


def _mean(classes: Sequence[Scores]) -> Scores:
    """Return the mean of each score over the classes in which it is not NaN."""
    values = {field.name: [getattr(row, field.name) for row in classes] for field in fields(Scores)}
    total = sum(values.pop("truths"))
    known = {name: [v for v in column if not math.isnan(v)] for name, column in values.items()}
    means = {name: sum(some) / len(some) if some else math.nan for name, some in known.items()}
    return Scores(truths=total, **means)


def _coco(detections: Sequence[Detections], dataset: Dataset) -> dict[str, np.ndarray]:
    """Return COCO's scores by name, (K,) each."""
    info = {
        "images": [{"id": image} for image in range(len(dataset))],
        "categories": [{"id": cls, "name": name} for cls, name in enumerate(dataset.names)],
    }
    truths = [
        {"boxes": s.boxes_xyxy_px, "category_id": s.classes, "iscrowd": s.ignore.astype(int)}
        for s in dataset.samples
    ]
    found = [{"boxes": d.boxes, "category_id": d.classes, "score": d.scores} for d in detections]
    both = (COCO({**info, "annotations": _annotations(each)}) for each in (truths, found))
    engine = COCOeval_faster(*both, "bbox")
    engine.evaluate()
    engine.accumulate()
    # IoU, recall, class, size (all, small, medium, large), detections per picture (the last is 100)
    precision = np.where(engine.eval["precision"] < 0, np.nan, engine.eval["precision"])[..., -1]
    recall = np.where(engine.eval["recall"] < 0, np.nan, engine.eval["recall"])[..., -1]
    sizes = ("ap", "ap_small", "ap_medium", "ap_large")
    scores = {name: precision[:, :, :, size].mean((0, 1)) for size, name in enumerate(sizes)}
    scores["ap50"], scores["ap75"] = (precision[at, :, :, 0].mean(0) for at in (0, 5))
    return {**scores, "ar": recall[:, :, 0].mean(0)}


def _annotations(pictures: Iterable[Mapping[str, np.ndarray]]) -> list[dict[str, Any]]:
    """Return a COCO annotation for each box; pictures: boxes, category_id, more columns by name."""
    rows = list[dict[str, Any]]()
    for image, columns in enumerate(pictures):
        lists = [column.tolist() for column in columns.values()]
        for (left, top, right, bottom), *values in zip(*lists, strict=True):
            w, h = right - left, bottom - top
            row: dict[str, Any] = {"id": len(rows) + 1, "image_id": image}  # id 0 means unmatched
            row |= {"bbox": [left, top, w, h], "area": w * h, "iscrowd": 0}
            rows.append(row | dict(zip(list(columns)[1:], values, strict=True)))
    return rows


def _voc(classes: Sequence[RankedDetections]) -> dict[str, np.ndarray]:
    """Return VOC's scores by name, and the number of truths that are not ignored, (K,) each.

    Source: the VOC2012 development kit, VOCap.m; the 11 points from VOC2007's.
    """
    return {
        "truths": np.array([each.truths for each in classes]),
        "voc_area": np.array([area_ap(each.correct, each.truths) for each in classes]),
        "voc_11_point": np.array([eleven_point_ap(each.correct, each.truths) for each in classes]),
    }


def area_ap(correct: np.ndarray, truths: int) -> float:
    """Return the area under the monotone precision-recall curve; NaN without truths.

    correct: (n,) bool, whether each detection is right, highest score first.
    """
    return float(precision_envelope(correct)[correct].sum() / truths) if truths else math.nan


def eleven_point_ap(correct: np.ndarray, truths: int) -> float:
    """Return the mean over r = 0, .1 ... 1 of the best precision at recall >= r; see `area_ap`."""
    if not truths:
        return math.nan
    # integers, since .1 * 3 > 3 / 10 in floats; after the last detection the precision is 0
    start = np.searchsorted(10 * np.cumsum(correct), truths * np.arange(11))
    return float(np.append(precision_envelope(correct), 0)[start].mean())
