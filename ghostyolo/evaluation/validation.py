"""Validation: the predictions of a detector or classifier on a data set, and their scores.

`validate` opens the data set, calls `predict` and `score`, and measures the time of each.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from ghostyolo.data import Dataset, Sample, open_classification, open_dataset
from ghostyolo.data.class_names import check_class_order, check_classes, read_named
from ghostyolo.data.limit import limited, words
from ghostyolo.data.tiles import Tiles
from ghostyolo.distributed import ALONE, World
from ghostyolo.errors import printable
from ghostyolo.evaluation import accuracy, average_precision
from ghostyolo.evaluation.accuracy import Accuracy
from ghostyolo.evaluation.average_precision import Metrics
from ghostyolo.evaluation.diagnosis import Diagnosis, diagnose
from ghostyolo.model.classifier import Classifier, check_no_boxes
from ghostyolo.model.detections import Detections
from ghostyolo.model.detector import NMS, Detector, heads_of
from ghostyolo.model.tile_detections import join
from ghostyolo.network import Network
from ghostyolo.network.outputs import classifier_output

T = TypeVar("T")
Predictions = Sequence[Detections] | Sequence[np.ndarray]  # boxes, or class probabilities (K,)
Trained = tuple[Sequence[str], str | Path]  # class names, and the file or model that has them
OnProgress = Callable[[int, int], object]  # gets the number of pictures done, and of all
# Gets the pictures of a forward pass before it, with their samples.
OnBatch = Callable[[Sequence[np.ndarray], Sequence[Sample]], object]

BATCH = 8  # pictures of a forward pass
# The detections that the whole precision-recall curve needs. THRESH is that of validate_detector in
# AlexeyAB/darknet src/detector.c; VOC's curves need more detections than COCO's 100. The IoU
# threshold of NMS is the one for detection, as in validate_detector_map (on BCCD's val AP50 is .001
# to .003 higher and AP .001 lower than with the 0.6 of validate_detector).
THRESH, MAX_DETECTIONS = 0.001, 300


class Predictor(Protocol):
    """A network that makes predictions: a `Model` or a `Runtime`."""

    @property
    def network(self) -> Network: ...

    def detector(self, **options: Any) -> Detector: ...

    def classifier(self) -> Classifier: ...


@dataclass(frozen=True, eq=False, repr=False)
class Validation:
    """The result of a validation; as text, a table of the scores.

    dataset: without the pictures that cannot be read. predictions: one for each of its samples.
    metrics: the scores of the predictions. seconds: by phase, in order. runtime: the name and
    version of what computed, "" if that is not known. rank: of this process, of several. limited:
    "limited to 10 of 500 pictures" if so, "" for the whole split.
    """

    network: Network
    dataset: Dataset
    predictions: Predictions
    metrics: Metrics | Accuracy
    seconds: Mapping[str, float]
    runtime: str = ""
    rank: int = 0
    limited: str = ""

    @property
    def scores(self) -> dict[str, float]:
        """Return the mean scores by name, such as AP and AP50, as in results.csv."""
        return self.metrics.row()

    @cached_property
    def diagnosis(self) -> Diagnosis | None:
        """Return the errors and the box sizes of a detector; None for a classifier."""
        found: Any = self.predictions
        if not isinstance(self.metrics, Metrics):
            return None
        return diagnose(found, self.dataset.samples, len(self.dataset.names))

    def as_dict(self) -> dict[str, Any]:
        """Return the scores for JSON, with null for NaN; of a detector also the diagnosis."""
        few = {"limited": self.limited} if self.limited else {}
        errors = self.diagnosis.as_dict(self.dataset.names) if self.diagnosis else {}
        return {**self.metrics.as_dict(), **errors, **few}

    def __repr__(self) -> str:
        where = f"{len(self.dataset)} pictures of {self.dataset.path}, split {self.dataset.split}"
        by = f", computed in {self.runtime}" if self.runtime else ""
        few = f", {self.limited}" if self.limited else ""
        return f"{self.metrics.table()}\n{printable(where)}{by}{few}"


def validate(
    model: Predictor,
    data: str | Path | Dataset,
    split: str = "val",
    *,
    names: str | Path | Sequence[str] | None = None,
    trained: Trained = ((), ""),
    thresh: float | None = None,
    nms: float | None = None,
    tiles: Tiles | None = None,
    allow_outside: bool = False,
    no_cache: bool = False,
    limit: int | None = None,
    world: World = ALONE,
    on_progress: OnProgress = lambda done, total: None,
) -> Validation:
    """Measure the average precision of a detector, or the accuracy of a classifier.

    data: a data set, or the path of one, which is opened with `split`, `names`,
    `allow_outside` and `no_cache`.
    trained: the class names that the network was trained with and where they are from; a data set
    with the same classes must have them in the same order, unless `names` are given; one that does
    not name its classes gets them. thresh, nms: the confidence threshold (THRESH) and the IoU
    threshold of non-maximum suppression (NMS) of a detector. tiles: into which it divides pictures;
    it is scored on whole pictures. limit: see `limited`. world: the
    processes that share the pictures.

    Raises `DataError` if the data set cannot be opened, `OptionError` if its classes differ from
    the network's, or if thresholds are given for a classifier.
    """
    clock = [time.monotonic()]
    classifies = classifier_output(model.network) is not None
    if classifies:
        check_no_boxes(thresh=thresh, nms=nms, tile=tiles)
    dataset = open_data(
        model.network, data, split, names=names, trained=trained, allow_outside=allow_outside,
        no_cache=no_cache, world=world,
    )  # fmt: skip
    few, dataset = words(limit, len(dataset)), limited(dataset, limit)
    clock.append(time.monotonic())
    predictions, dataset = predict(
        model,
        dataset,
        thresh=thresh,
        nms=nms,
        tiles=tiles,
        world=world,
        on_progress=on_progress,
    )
    clock.append(time.monotonic())
    metrics = score(predictions, dataset)
    clock.append(time.monotonic())
    phases = ("reading", "classifying" if classifies else "detecting", "scoring")
    spent = zip(phases, clock, clock[1:], strict=False)
    seconds = {phase: end - start for phase, start, end in spent}
    return Validation(model.network, dataset, predictions, metrics, seconds, limited=few)


def open_data(
    network: Network,
    data: str | Path | Dataset,
    split: str,
    *,
    names: str | Path | Sequence[str] | None = None,
    trained: Trained = ((), ""),
    allow_outside: bool = False,
    no_cache: bool = False,
    world: World = ALONE,
) -> Dataset:
    """Return a data set with the classes of a network; see `validate`.

    Raises `DataError` if it cannot be opened, `OptionError` if its classes differ.
    """
    if isinstance(data, Dataset):
        dataset = data
    else:
        read = partial(
            open_classification if classifier_output(network) else open_dataset,
            allow_outside=allow_outside,
            no_cache=no_cache,
        )
        dataset = world.once(lambda: read_named(read, data, split, names, trained))
        dataset.log_defects()
    check_classes(network, dataset)
    if not names:
        check_class_order(trained[0], dataset, trained[1])
    return dataset


def predict(
    model: Predictor,
    dataset: Dataset,
    *,
    thresh: float | None = None,
    nms: float | None = None,
    tiles: Tiles | None = None,
    world: World = ALONE,
    on_progress: OnProgress = lambda done, total: None,
    on_batch: OnBatch = lambda images, samples: None,
) -> tuple[Predictions, Dataset]:
    """Return the predictions for a data set, and the data set without unreadable pictures.

    Each process computes every world.size-th sample; all processes get all predictions. Pictures
    that cannot be read are not scored. Raises `DataError` if no picture can be read.
    """
    if classifier_output(model.network):
        compute: Callable[[list[np.ndarray]], Iterable[Any]] = model.classifier()
    else:
        thresh = THRESH if thresh is None else thresh
        compute = model.detector(thresh=thresh, nms=nms, tiles=tiles, max_detections=MAX_DETECTIONS)
    own = dataset.only(range(world.rank, len(dataset), world.size))
    parts = world.gather(predict_all(compute, own, on_progress, on_batch))
    dataset.gather_defects(world.gather)
    count = sum(map(len, parts))
    found = [parts[index % len(parts)][index // len(parts)] for index in range(count)]
    return without_unreadable(found, dataset)


def predict_all(
    compute: Callable[[list[np.ndarray]], Iterable[T]],
    dataset: Dataset,
    on_progress: OnProgress = lambda done, total: None,
    on_batch: OnBatch = lambda images, samples: None,
) -> list[T | None]:
    """Return the prediction for each sample of a data set, None if its picture cannot be read.

    compute: takes a list of uint8 RGB pictures. The defects of pictures are added to the data set.
    """
    found: list[T | None] = []
    for start in range(0, len(dataset), BATCH):
        samples = dataset.samples[start : start + BATCH]
        images = [_image(dataset, sample) for sample in samples]
        readable = [image for image in images if image is not None]
        if readable:
            pairs = zip(images, samples, strict=True)
            on_batch(readable, [sample for image, sample in pairs if image is not None])
        computed = iter(compute(readable) if readable else ())
        found += [None if image is None else next(computed) for image in images]
        on_progress(len(found), len(dataset))
    return found


def without_unreadable(found: Sequence[T | None], dataset: Dataset) -> tuple[list[T], Dataset]:
    """Drop pictures that cannot be read from the predictions and from the data set.

    Raises `DataError` if no picture can be read.
    """
    kept = [index for index, each in enumerate(found) if each is not None]
    if not kept:
        raise dataset.unreadable()
    return [each for each in found if each is not None], dataset.only(kept)


def in_pictures(
    found: Predictions, tiles: Dataset, dataset: Dataset, network: Network
) -> tuple[Predictions, Dataset]:
    """Return the detections in pictures from those in their tiles, and the pictures of the tiles.

    tiles: of the data set's pictures, those of each together, as `tiled` returns them.
    """
    exponent, joined = heads_of(network)[-1].diou_exponent, dict[str, Detections]()
    for path, pairs in groupby(zip(found, tiles.samples, strict=True), lambda pair: pair[1].path):
        parts, samples = zip(*pairs, strict=True)
        windows = np.array([sample.window for sample in samples])
        joined[path] = join(parts, windows, NMS, exponent)[:MAX_DETECTIONS]
    kept = [i for i, path in enumerate(dataset.columns.all_paths()) if path in joined]
    return [joined[dataset.samples[i].path] for i in kept], dataset.only(kept)


def score(predictions: Predictions, dataset: Dataset) -> Metrics | Accuracy:
    """Return the scores of predictions on a data set: detections, or class probabilities."""
    module: Any = average_precision if isinstance(predictions[0], Detections) else accuracy
    return module.score(predictions, dataset)


def _image(dataset: Dataset, sample: Sample) -> np.ndarray | None:
    image, defects = sample.read()
    for defect, message in defects.items():
        dataset.add_defect(sample.path, defect, message)
    return image
