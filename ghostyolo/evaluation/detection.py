"""Average precision from detections and truths, by COCO's rules and by PASCAL VOC's.

COCO's numbers come from faster-coco-eval, which computes what pycocotools does in a tenth of the
time; VOC's are computed here. Truths to be ignored (`Sample.ignore`) are to each what it has for
that: COCO's `iscrowd`, where the overlap is the part of the detection that lies inside; VOC's
`difficult`, where it is the IoU. Either excuses any number of detections.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from ghostyolo.boxes import Detections
from ghostyolo.data import Dataset, Sample
from ghostyolo.errors import DataError
from ghostyolo.evaluation.curves import envelope, rank
from ghostyolo.model.detector import NMS, Detector

T = TypeVar("T")

BATCH = 8  # pictures at once
# How much a detector reports where the whole precision-recall curve is wanted.
# Source: AlexeyAB/darknet src/detector.c: nms as validate_detector_map and as in detection (on
# BCCD's val AP50 is .001 to .003 higher than with the 0.6 of validate_detector, AP .001 lower),
# thresh as validate_detector; VOC's curves need more than COCO's 100.
LIMITS: dict[str, Any] = {"thresh": 0.001, "nms": NMS, "most": 300}
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
    """What one class, or the mean of the classes, reached; each in [0, 1], NaN without truths.

    ap: mean over the IoUs .50:.05:.95; ap50, ap75 at one of them; ap_small, ap_medium, ap_large of
    boxes under 32², under 96² and over (pixels of the picture; COCO itself goes by the area of the
    segment, which is smaller). ar: recall with 100 detections a picture, mean over the same IoUs.
    voc_area, voc_11_point: VOC's AP since 2010 and before, at IoU .5.
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
    """The scores of a detector on a data set, class by class and in the mean.

    A class without truths has no score and no part in the mean; the mean's truths are the sum.
    """

    names: tuple[str, ...]
    classes: tuple[Scores, ...]
    mean: Scores

    def table(self) -> str:
        """Return the scores as aligned text, one line a class, the mean last; '-' is no score."""
        rows = [*zip(self.names, self.classes, strict=True), ("mean", self.mean)]
        cells = [["class", *COLUMNS.values()]]
        cells += [[name, *(_text(getattr(row, key)) for key in COLUMNS)] for name, row in rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [_aligned(line, widths) for line in cells]
        last = (f"{text} {_text(getattr(self.mean, key))}" for key, text in FOOTNOTE.items())
        return "\n".join((*lines, ", ".join(last)))

    def row(self) -> dict[str, float]:
        """Return what a row of results holds."""
        mean = self.mean
        named = {"AP": mean.ap, "AP50": mean.ap50, "AP75": mean.ap75, "VOC": mean.voc_area}
        return {name: float(value) for name, value in named.items()}  # no numpy in checkpoints

    def as_dict(self) -> dict[str, Any]:
        """Return the scores for JSON: null is no score."""
        rows = zip(self.names, self.classes, strict=True)
        classes = [{"name": name, **_plain(scores)} for name, scores in rows]
        return {"mean": _plain(self.mean), "classes": classes}


def evaluate(
    detector: Detector, dataset: Dataset, step: Callable[[int], object] = lambda done: None
) -> Metrics:
    """Run a detector over a data set and score it, see `over`, `readable` and `score`."""
    return score(*readable(over(detector, dataset, step), dataset))


def over(
    compute: Callable[[list[np.ndarray]], Iterable[T]],
    dataset: Dataset,
    step: Callable[[int], object] = lambda done: None,
) -> list[T | None]:
    """Run a detector or a classifier over a data set, what it finds for each of its samples.

    compute: takes some pictures at once, uint8 RGB. None stands for a picture that cannot be read,
    which is noted in the data set. step hears how many pictures are done.
    """
    found: list[T | None] = []
    for start in range(0, len(dataset), BATCH):
        images = [_image(dataset, sample) for sample in dataset.samples[start : start + BATCH]]
        there = [image for image in images if image is not None]
        computed = iter(compute(there) if there else ())
        found += [None if image is None else next(computed) for image in images]
        step(len(found))
    return found


def _image(dataset: Dataset, sample: Sample) -> np.ndarray | None:
    image, found = sample.read()
    for defect, message in found.items():
        dataset.add_defect(sample.path, defect, message)
    return image


def interleaved(parts: Sequence[list[Any]]) -> list[Any]:
    """Return in the order of the samples what was found in every so-many-th of them."""
    count = sum(map(len, parts))
    return [parts[place % len(parts)][place // len(parts)] for place in range(count)]


def readable(found: Sequence[T | None], dataset: Dataset) -> tuple[list[T], Dataset]:
    """Leave the pictures that could not be read out of what was found and of the data set.

    So their truths are in no score. Raises DataError if not one could be read.
    """
    pairs = zip(found, dataset.samples, strict=True)
    kept = [(each, sample) for each, sample in pairs if each is not None]
    if not kept:
        raise dataset.unreadable()
    return [each for each, _ in kept], replace(dataset, samples=tuple(s for _, s in kept))


def score(detections: Sequence[Detections], dataset: Dataset) -> Metrics:
    """Compare what was found in each sample of a data set with its truths.

    detections: one for each of `dataset.samples`, in their order; the lower their scores reach, the
    better (a threshold near 0), since average precision cuts the list itself.

    Raises ValueError if their number differs from that of the samples, DataError if a detection's
    class has no name in the data set.
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
    columns = {**_coco(detections, dataset), **_voc(detections, dataset)}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    classes = tuple(Scores(**{**row, "truths": int(row["truths"])}) for row in rows)
    return Metrics(dataset.names, classes, _mean(classes))


def _mean(classes: Sequence[Scores]) -> Scores:
    """Average each score over the classes that have it."""
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
    truths = COCO({**info, "annotations": _numbered(_truth_rows(dataset.samples))})
    found = COCO({**info, "annotations": _numbered(_detection_rows(detections))})
    engine = COCOeval_faster(truths, found, "bbox")
    engine.evaluate()
    engine.accumulate()
    # IoU, recall, class, size (all, small, medium, large), most detections a picture (the last 100)
    precision = np.where(engine.eval["precision"] < 0, np.nan, engine.eval["precision"])[..., -1]
    recall = np.where(engine.eval["recall"] < 0, np.nan, engine.eval["recall"])[..., -1]
    sizes = ("ap", "ap_small", "ap_medium", "ap_large")
    scores = {name: precision[:, :, :, size].mean((0, 1)) for size, name in enumerate(sizes)}
    scores["ap50"], scores["ap75"] = (precision[at, :, :, 0].mean(0) for at in (0, 5))
    return {**scores, "ar": recall[:, :, 0].mean(0)}


def _truth_rows(samples: Iterable[Sample]) -> Iterator[dict[str, Any]]:
    for image, sample in enumerate(samples):
        rows = zip(sample.boxes_xyxy_px, sample.classes, sample.ignore, strict=True)
        for box, cls, ignore in rows:
            yield {**_row(image, box, cls), "iscrowd": int(ignore)}


def _detection_rows(detections: Iterable[Detections]) -> Iterator[dict[str, Any]]:
    for image, found in enumerate(detections):
        for box, value, cls in zip(found.boxes, found.scores, found.classes, strict=True):
            yield {**_row(image, box, cls), "iscrowd": 0, "score": float(value)}


def _row(image: int, box_xyxy: np.ndarray, cls: np.integer) -> dict[str, Any]:
    left, top, right, bottom = box_xyxy.tolist()
    w, h = right - left, bottom - top
    return {"image_id": image, "category_id": int(cls), "bbox": [left, top, w, h], "area": w * h}


def _numbered(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"id": number, **row} for number, row in enumerate(rows, 1)]  # 0 means unmatched


def _voc(detections: Sequence[Detections], dataset: Dataset) -> dict[str, np.ndarray]:
    """Return VOC's scores by name, and the number of truths that count, (K,) each.

    Source: the VOC2012 development kit, VOCap.m; the 11 points from VOC2007's.
    """
    classes = rank(detections, dataset.samples, len(dataset.names))
    return {
        "truths": np.array([each.truths for each in classes]),
        "voc_area": np.array([area_ap(each.hits, each.truths) for each in classes]),
        "voc_11_point": np.array([eleven_point_ap(each.hits, each.truths) for each in classes]),
    }


def area_ap(hits: np.ndarray, truths: int) -> float:
    """Return the area under the precision-recall curve, made to fall; NaN without truths.

    hits: (n,) bool, whether each detection is right, best score first.
    """
    return float(envelope(hits)[hits].sum() / truths) if truths else math.nan


def eleven_point_ap(hits: np.ndarray, truths: int) -> float:
    """Return the mean of the best precision at a recall of at least 0, .1 ... 1; as `area_ap`."""
    if not truths:
        return math.nan
    # in whole numbers, where .1 * 3 <= 3 / 10; past the last detection the precision is 0
    start = np.searchsorted(10 * np.cumsum(hits), truths * np.arange(11))
    return float(np.append(envelope(hits), 0)[start].mean())


def _plain(scores: Scores) -> dict[str, float | int | None]:
    return {key: None if math.isnan(value) else value for key, value in asdict(scores).items()}


def _text(value: float) -> str:
    if math.isnan(value):
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    name, *numbers = cells
    return "  ".join((name.ljust(widths[0]), *map(str.rjust, numbers, widths[1:])))
