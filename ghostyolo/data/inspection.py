"""The pictures of samples: read, with what is wrong with each."""

from __future__ import annotations

import numpy as np

from ghostyolo.data.images import inspect_image
from ghostyolo.data.sample import UNREADABLE, Dataset, Sample
from ghostyolo.errors import DataError, Span

RESIZED = "picture of another size than its label says"


def read(sample: Sample) -> tuple[np.ndarray | None, dict[str, str]]:
    """Return a sample's picture, uint8 RGB, and its defects, with what is to be said of each.

    The picture is None where it cannot be read; the words are "" where it is as good as any once it
    is read.
    """
    try:
        image, oddities = inspect_image(sample.path)
    except DataError as error:
        return None, {UNREADABLE: str(error)}
    found = dict.fromkeys(oddities, "")
    if image.shape[:2] != sample.size:
        (h, w), (own_h, own_w) = sample.size, image.shape[:2]
        found[RESIZED] = f"{sample.path}: {own_w}x{own_h} pixels, but its label says {w}x{h}"
    return image, found


def none_readable(dataset: Dataset) -> DataError:
    """Return the error for a split of which not one picture can be read."""
    message = f"split '{dataset.split}': no picture can be read"
    return DataError(message, span=Span(dataset.path), hint="check the files")
