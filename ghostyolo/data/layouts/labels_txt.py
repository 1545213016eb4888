"""Text files of boxes, one for each picture: class, cx, cy, w, h relative to the picture's size.

Source: AlexeyAB/darknet src/data.c read_boxes; polygons: docs.ultralytics.com/datasets/segment.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from ghostyolo.boxes import cxcywh_to_xyxy
from ghostyolo.data.dataset_builder import MALFORMED, MISSING, DatasetBuilder, Label
from ghostyolo.data.layouts.base import LabelFormat
from ghostyolo.data.paths import image_ids, read_lines
from ghostyolo.errors import DataError, Span


def add_pictures(
    builder: DatasetBuilder, pictures: Sequence[str], candidates: Callable[[str], list[str]]
) -> None:
    """Add pictures with the boxes of their text files; a picture without a file has no box.

    candidates: returns the possible paths of a picture's file, the likeliest first. Raises
    DataError if no picture has a file.
    """
    for picture, image_id in zip(pictures, image_ids(pictures), strict=True):
        builder.add(picture, image_id, read_labels(candidates(picture), builder))
    if builder.samples and builder.defects[MISSING] == len(builder.samples):
        picture = builder.samples[0].path
        hint = f"put it at {candidates(picture)[0]}"
        raise DataError("no picture has a label file", span=Span(picture), hint=hint)


def read_labels(files: Sequence[str], builder: DatasetBuilder) -> Iterable[Label]:
    """Yield the boxes of the first file that exists; count a defect if none does.

    A line is class, cx, cy, w, h, relative to the picture's size. A longer line is a polygon (class
    x y x y ...), of which the enclosing box is taken.
    """
    path = next(filter(os.path.isfile, files), None)
    if path is None:
        builder.count_defect(MISSING, Span(files[0]))
        return
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
        if len(values) == 4:
            with np.errstate(invalid="ignore"):  # infinite sides are counted as defects later
                x1, y1, x2, y2 = cxcywh_to_xyxy(values)
        else:
            builder.count_defect("polygon taken as its box", span)
            (x1, x2), (y1, y2) = ((side.min(), side.max()) for side in (values[::2], values[1::2]))
        yield Label((x1, y1, x2, y2), cls, span, relative=True)


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
