"""Text files of boxes, one for each picture: class, cx, cy, w, h relative to the picture's size.

Source: AlexeyAB/darknet src/data.c read_boxes; polygons: docs.ultralytics.com/datasets/segment.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from ghostyolo.data import sources
from ghostyolo.data.dataset_builder import MALFORMED, MISSING, DatasetBuilder, Label
from ghostyolo.data.layouts.base import LabelFormat
from ghostyolo.data.layouts.long_rows import KeypointShape, LongRows
from ghostyolo.data.paths import image_ids, read_lines
from ghostyolo.errors import DataError, Span

Box = tuple[float, float, float, float]


def add_pictures(
    builder: DatasetBuilder,
    pictures: Sequence[str],
    candidates: Callable[[str], list[str]],
    keypoints: KeypointShape | None = None,
) -> None:
    """Add pictures with the boxes of their text files; a picture without a file has no box.

    candidates: returns the possible paths of a picture's file, the likeliest first. keypoints:
    their shape, if rows have keypoints after the box. Raises DataError if no picture has a file, or
    if rows have more columns than a box, but are no polygons.
    """
    long_rows = LongRows(keypoints)
    for picture, image_id in zip(pictures, image_ids(pictures), strict=True):
        builder.add(picture, image_id, read_labels(candidates(picture), builder, long_rows))
    long_rows.check()
    if builder.samples and builder.defects[MISSING] == len(builder.samples):
        picture = builder.samples[0].path
        hint = f"put it at {candidates(picture)[0]}"
        raise DataError("no picture has a label file", span=Span(picture), hint=hint)


def read_labels(
    files: Sequence[str], builder: DatasetBuilder, long_rows: LongRows
) -> Iterable[Label]:
    """Yield the boxes of the first file that exists; count a defect if none does.

    A line is class, cx, cy, w, h, relative to the picture's size. A longer line is a polygon (class
    x y x y ...), of which the enclosing box is taken, or a box with keypoints, see `LongRows`.
    """
    path = next(filter(sources.is_file, files), None)
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
        length = len(values)
        if length == 4:
            long_rows.plain += 1
        elif length == long_rows.with_keypoints and cls is not None:
            builder.count_defect("keypoints left out", span)
            values = values[:4]
        elif length > 4:
            long_rows.add(values, span)
            if length % 2 == 1:
                cls = None
        if cls is None:
            builder.count_defect(MALFORMED, span)
            continue
        if len(values) > 4:
            builder.count_defect("polygon taken as its box", span)
        yield Label(_edges(values), cls, span, relative=True)


def _numbers(line: str) -> tuple[int | None, list[float]]:
    """Split a label line into its class and its other values; no class if it is malformed."""
    try:
        cls, *values = map(float, line.split())
    except ValueError:
        return None, []
    whole = cls.is_integer() and len(values) >= 4 and "_" not in line  # Python takes 1_0 for 10
    return int(cls) if whole else None, values


def _edges(values: Sequence[float]) -> Box:
    """Return the edges of a box given by cx, cy, w, h, or of the box around a polygon."""
    if len(values) == 4:
        cx, cy, w, h = values
        return cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2
    if not all(map(math.isfinite, values)):
        return (math.nan,) * 4
    return min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])


FORMAT = LabelFormat(".txt", ("labels",), add_pictures, lambda files: None)
