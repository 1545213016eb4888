"""Text files of boxes, one for each picture: class, then cx, cy, w, h over the picture's size.

Source: AlexeyAB/darknet src/data.c read_boxes; polygons: docs.ultralytics.com/datasets/segment.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from ghostyolo.boxes import cxcywh_to_xyxy
from ghostyolo.data.dataset_builder import MALFORMED, DatasetBuilder, Label
from ghostyolo.data.header import Size
from ghostyolo.data.layouts.base import LabelFormat
from ghostyolo.data.paths import image_ids, read_lines
from ghostyolo.errors import DataError, Span


def add_pictures(
    builder: DatasetBuilder, pictures: Sequence[str], candidates: Callable[[str], list[str]]
) -> None:
    """Add pictures with the boxes of their text files; one without a file has no box.

    candidates: picture -> where its file may be. Raises DataError if not one picture has a file.
    """
    missing = "missing label file"
    for picture, image_id in zip(pictures, image_ids(pictures), strict=True):
        size = builder.size(picture)
        if size is None:
            continue
        files = candidates(picture)
        file = next(filter(os.path.isfile, files), None)
        if file is None:
            builder.count_defect(missing, Span(files[0]))
        builder.add(picture, image_id, size, read_labels(file, size, builder) if file else ())
    if builder.samples and builder.defects[missing] == len(builder.samples):
        picture = builder.samples[0].path
        hint = f"put it at {candidates(picture)[0]}"
        raise DataError("no picture has a label file", span=Span(picture), hint=hint)


def read_labels(path: str, size: Size, builder: DatasetBuilder) -> Iterable[Label]:
    """Yield the boxes of a text file: class, then cx, cy, w, h over the picture's size.

    A longer line is a polygon (class x y x y ...), of which the enclosing box is taken.
    """
    h, w = size
    try:
        lines = read_lines(path)
    except DataError as error:
        builder.count_unreadable_labels(error)
        return
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        span = Span(path, number)
        cls, values = _numbers(line)
        if cls is None:
            builder.count_defect(MALFORMED, span)
            continue
        if not 0 <= cls < len(builder.names):
            builder.count_unknown_class(str(cls), span)
            continue
        if len(values) == 4:
            with np.errstate(invalid="ignore"):  # infinite sides, which are counted
                x1, y1, x2, y2 = cxcywh_to_xyxy(values)
        else:
            builder.count_defect("polygon taken as its box", span)
            (x1, x2), (y1, y2) = ((side.min(), side.max()) for side in (values[::2], values[1::2]))
        yield Label((x1 * w, y1 * h, x2 * w, y2 * h), cls, False, span)


def _numbers(line: str) -> tuple[int | None, np.ndarray]:
    """Split a label line into its class and its coordinates; no class if it is malformed."""
    try:
        cls, *values = map(float, line.split())
    except ValueError:
        return None, np.zeros(0)
    polygon = len(values) >= 6 and len(values) % 2 == 0
    whole = cls.is_integer() and (len(values) == 4 or polygon)
    return int(cls) if whole else None, np.array(values)


FORMAT = LabelFormat(".txt", ("labels",), add_pictures, lambda files: None)
