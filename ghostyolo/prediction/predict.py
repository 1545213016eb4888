"""Predictions: computed in batches while the next pictures are read; as JSON rows, and in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import cv2
import numpy as np

from ghostyolo.data.header import Size
from ghostyolo.data.images import Placement, preprocess
from ghostyolo.data.prefetch import batches, close, mapped
from ghostyolo.drawing import class_name
from ghostyolo.errors import DataError
from ghostyolo.files import SCHEMA
from ghostyolo.inference.timer import Timer
from ghostyolo.model.detections import Detections
from ghostyolo.model.detector import Detector
from ghostyolo.prediction.sources import SourceImage, read_source

# Takes what `prepare` returned of several pictures, returns a result for each. A `Detector` or a
# `Classifier` takes whole pictures, uint8 RGB (H, W, 3).
Compute = Callable[[list[Any]], Iterable[Any]]
Row = dict[str, Any]  # a picture and its prediction, see `picture_row`
A = TypeVar("A")
READERS = 2  # threads that read pictures; they are faster than any network


@dataclass(frozen=True)
class Prediction:
    """The prediction for a picture of `size` (h, w).

    result: `Detections`, or the probability of each class, (K,). frame: number in a video or
    stream. image: uint8 RGB (H, W, 3), None if it was not kept.
    """

    source: str
    size: Size
    result: Any
    frame: int | None = None
    image: np.ndarray | None = None


@dataclass(frozen=True)
class Prepared:
    """A picture that was read. value: what computes takes of it; the rest as in `Prediction`."""

    source: str
    size: Size
    value: Any
    frame: int | None = None
    image: np.ndarray | None = None


Prepare = Callable[[SourceImage], Prepared]


def whole(item: SourceImage, *, keep: bool = False) -> Prepared:
    """Prepare a picture for what takes whole pictures. keep: whether to keep it, to be drawn on."""
    image = item.rgb()
    return Prepared(item.source, image.shape[:2], image, item.frame, image if keep else None)


def detector_input(detector: Detector, item: SourceImage, *, keep: bool) -> Prepared:
    """Prepare a picture for `detect_inputs`. keep: whether to keep it, to be drawn on.

    It is done by the threads that read, beside the network. A frame in BGR is resized before its
    channels are swapped: resizing treats all channels alike, so the result is the same.
    """
    options, size = detector.options, item.image.shape[:2]
    place = Placement.of(size, options.size, bool(options.letter_box))
    small = item.image
    if item.bgr:
        small = cv2.resize(small, place.inner[::-1], interpolation=cv2.INTER_LINEAR)
        small = cv2.cvtColor(small, cv2.COLOR_BGR2RGB)
    planes = _empty(1, detector)[0]
    preprocess(small, options.size, bool(options.letter_box), planes)
    image = item.rgb() if keep else None
    return Prepared(item.source, size, (planes, place), item.frame, image)


def detect_inputs(
    detector: Detector, timer: Timer, inputs: Sequence[tuple[np.ndarray, Placement]]
) -> list[Detections]:
    """Return the detections in pictures that `detector_input` has prepared."""
    images = inputs[0][0][None]
    if len(inputs) > 1:
        images = _empty(len(inputs), detector)
        for image, (planes, _) in zip(images, inputs, strict=True):
            image[...] = planes
    outputs = detector.run(images)
    timer.lap("network")
    found = detector.detections(outputs, [place for _, place in inputs])
    timer.lap("boxes")
    return found


def _empty(count: int, detector: Detector) -> np.ndarray:
    """Return inputs (count, C, h, w) whose channels are last in memory."""
    options = detector.options
    shape = (count, *options.size, options.channels)
    return np.empty(shape, np.float32).transpose(0, 3, 1, 2)


def predict_files(
    compute: Compute,
    paths: Sequence[Path],
    *,
    batch: int = 1,
    stdin: BinaryIO | None = None,
    prepare: Prepare = whole,
    timer: Timer | None = None,
) -> Iterator[Prediction | DataError]:
    """Yield the prediction for each picture file, or the error of one that cannot be read."""
    read = partial(_read, prepare, stdin)
    images = mapped(read, paths, workers=READERS, ahead=batch + READERS)
    return predict_images(compute, images, batch, timer)


def _read(prepare: Prepare, stdin: BinaryIO | None, path: Path) -> Prepared | DataError:
    item = read_source(path, stdin)
    return item if isinstance(item, DataError) else prepare(item)


def predict_images(
    compute: Compute,
    images: Iterable[Prepared | DataError],
    batch: int = 1,
    timer: Timer | None = None,
) -> Iterator[Prediction | DataError]:
    """Yield the prediction for each picture, computed in batches, and each error in its place.

    timer: gets the time that was spent waiting for pictures ("reading"), in the network, and in
    whatever takes the predictions ("output").
    """
    timer = timer or Timer({})
    try:
        for some in _timed(batches(images, batch), timer):
            values = [each.value for each in some if isinstance(each, Prepared)]
            results = iter(compute(values) if values else ())
            timer.lap("network")
            for item in some:
                if isinstance(item, Prepared):
                    yield Prediction(item.source, item.size, next(results), item.frame, item.image)
                else:
                    yield item
    finally:
        close(images)


def _timed(items: Iterator[A], timer: Timer) -> Iterator[A]:
    """Yield the items; add the time until the next is asked for and until it comes to a timer."""
    while True:
        timer.lap("output")
        item = next(items, None)
        timer.lap("reading")
        if item is None:
            return
        yield item


def picture_row(
    size: Size, result: Row, source: str | None = None, frame: int | None = None
) -> Row:
    """Return the row of a picture of `size` (h, w), as in every JSON: of commands and the server.

    result: see `detected` and `classified`. source, frame: as of a `Prediction`, None for no key.
    """
    place = {"file": source, "frame": frame}
    known = {key: value for key, value in place.items() if value is not None}
    return {"schema": SCHEMA, **known, "width": size[1], "height": size[0], **result}


def detected(found: Detections, names: Sequence[str]) -> Row:
    """Return the part of a row that holds detections, with boxes as in `Detections`."""
    parts = (array.tolist() for array in (found.boxes, found.scores, found.classes))
    rows = [
        {
            "class": cls,
            "name": class_name(cls, names),
            "score": round(score, 5),
            "box": [round(edge, 2) for edge in box],
        }
        for box, score, cls in zip(*parts, strict=True)
    ]
    return {"format": "xyxy", "detections": rows}


def classified(probabilities: np.ndarray, names: Sequence[str], top: int) -> Row:
    """Return the part of a row that holds the `top` most probable classes, the best first.

    probabilities: (K,). Of equal probabilities the class with the lower index comes first.
    """
    rows = [
        {
            "class": int(cls),
            "name": class_name(int(cls), names),
            "probability": round(float(probabilities[cls]), 5),
        }
        for cls in np.argsort(-probabilities, kind="stable")[:top]
    ]
    return {"classes": rows}
