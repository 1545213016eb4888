"""Predictions: computed in batches while the next pictures are read; as JSON rows, and in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ghostyolo.data.prefetch import batches, mapped
from ghostyolo.drawing import class_name
from ghostyolo.errors import DataError
from ghostyolo.files import SCHEMA
from ghostyolo.model.detections import Detections
from ghostyolo.prediction.sources import SourceImage, read_source

# A `Detector` or a `Classifier`: takes pictures, uint8 RGB (H, W, 3), returns a result for each.
Compute = Callable[[list[np.ndarray]], Iterable[Any]]
Row = dict[str, Any]  # a picture and its prediction, see `picture_row`
READERS = 2  # threads that read pictures; they are faster than any network


@dataclass(frozen=True)
class Prediction:
    """A picture, uint8 RGB (H, W, 3), and its prediction.

    result: `Detections`, or the probability of each class, (K,). frame: number in a video or
    stream.
    """

    source: str
    image: np.ndarray
    result: Any
    frame: int | None = None


def predict_files(
    compute: Compute, paths: Sequence[Path], *, batch: int = 1, stdin: BinaryIO | None = None
) -> Iterator[Prediction | DataError]:
    """Yield the prediction for each picture file, or the error of one that cannot be read."""
    read = partial(read_source, stdin=stdin)
    images = mapped(read, paths, workers=READERS, ahead=batch + READERS)
    return predict_images(compute, images, batch)


def predict_images(
    compute: Compute, images: Iterable[SourceImage | DataError], batch: int = 1
) -> Iterator[Prediction | DataError]:
    """Yield the prediction for each picture, computed in batches, and each error in its place."""
    for some in batches(images, batch):
        readable = [each.image for each in some if isinstance(each, SourceImage)]
        results = iter(compute(readable) if readable else ())
        for each in some:
            if isinstance(each, SourceImage):
                yield Prediction(each.source, each.image, next(results), each.frame)
            else:
                yield each


def picture_row(
    image: np.ndarray, result: Row, source: str | None = None, frame: int | None = None
) -> Row:
    """Return the row of a picture, (H, W, 3), as in every JSON: of commands, files and the server.

    result: see `detected` and `classified`. source, frame: as of a `Prediction`, None for no key.
    """
    place = {"file": source, "frame": frame}
    known = {key: value for key, value in place.items() if value is not None}
    return {"schema": SCHEMA, **known, "width": image.shape[1], "height": image.shape[0], **result}


def detected(found: Detections, names: Sequence[str]) -> Row:
    """Return the part of a row that holds detections, with boxes as in `Detections`."""
    rows = [
        {
            "class": int(cls),
            "name": class_name(int(cls), names),
            "score": round(float(score), 5),
            "box": [round(float(edge), 2) for edge in box],
        }
        for box, score, cls in zip(found.boxes, found.scores, found.classes, strict=True)
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
