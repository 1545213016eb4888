"""Pictures to predictions in batches, with the next pictures read in the meantime."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ghostyolo.data.prefetch import batches, mapped
from ghostyolo.errors import DataError
from ghostyolo.prediction.sources import SourceImage, read_source

# A `Detector`, or a `Classifier`: pictures, uint8 RGB (H, W, 3), to a result for each.
Compute = Callable[[list[np.ndarray]], Iterable[Any]]
READERS = 2  # threads that decode: faster than any network, and OpenCV has threads of its own


@dataclass(frozen=True)
class Prediction:
    """A picture and what is predicted for it; frame: its number in a video or stream.

    result: `Detections`, or the probability of each class, (K,).
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
    """Yield the prediction for each picture, computed in batches; errors pass in their turn."""
    for some in batches(images, batch):
        readable = [each.image for each in some if isinstance(each, SourceImage)]
        results = iter(compute(readable) if readable else ())
        for each in some:
            if isinstance(each, SourceImage):
                yield Prediction(each.source, each.image, next(results), each.frame)
            else:
                yield each
