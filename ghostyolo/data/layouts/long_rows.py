"""What rows of more than five columns mean: polygons, boxes with keypoints, or a tracker's boxes.

A single row often fits several of these, so that all rows of a split decide. Sources:
docs.ultralytics.com/datasets/segment and /datasets/pose (x y or x y visibility after the box),
github.com/ultralytics/ultralytics Results.save_txt (confidence and track after the box).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ghostyolo.errors import DataError, Span

FIRST_FIVE = "keep the first five columns of each row"
FEW = 3  # as many rows do not fit by chance


class KeypointShape(NamedTuple):
    """The number of keypoints in a row, and of values for each: x, y and perhaps visibility."""

    points: int
    dims: int


class LongRows:
    """Collects what the rows of a split may mean.

    shape: that of their keypoints if it is known. Rows are the values after the class.
    """

    def __init__(self, shape: KeypointShape | None = None) -> None:
        self.with_keypoints = 4 + shape.points * shape.dims if shape else 0
        self.first: Span | None = None
        self.length = self.plain = self.rows = self.likely = self.distant = 0
        self.highest = 0.0
        self.suspects = {"3": _with_visibility, "2": _with_points, "track": _with_track}

    def add(self, values: Sequence[float], span: Span) -> None:
        """Take a row into account."""
        self.first, self.length = self.first or span, self.length or len(values)
        self.rows += 1
        if len(values) != self.length:
            self.suspects = {}
        if self.suspects:
            self.suspects = {name: f for name, f in self.suspects.items() if f(values)}
            self.likely += _half_inside(values)
            self.distant += _is_distant(values)
            self.highest = max(self.highest, *values[4:])

    def check(self) -> None:
        """Raise DataError if the rows are not polygons but boxes with more columns."""
        odd = self.length % 2 == 1
        single = odd and self.plain  # such rows are left out and counted
        if not self.rows or not self.suspects or single:
            return
        columns, hint = self.length - 4, FIRST_FIVE
        what = "keypoints"
        if "3" in self.suspects and 2 * self.likely >= self.rows:
            hint = f"add kpt_shape: [{columns // 3}, 3] to a data.yaml, or {hint}"
        elif "track" in self.suspects and (odd or self.highest > 1 or self.rows >= FEW):
            what = "a confidence or a track" if odd else "a confidence and a track"
        elif "2" in self.suspects and self.rows >= FEW and 2 * self.distant >= self.rows:
            hint = f"add kpt_shape: [{columns // 2}, 2] to a data.yaml, or {hint}"
        else:
            return
        message = f"rows of {self.length + 1} columns are boxes with {what}"
        raise DataError(message, span=self.first, hint=hint)


def _inside(values: Sequence[float], x: float, y: float) -> bool:
    cx, cy, w, h = values[:4]
    return abs(x - cx) <= 0.55 * w and abs(y - cy) <= 0.55 * h


def _is_distant(values: Sequence[float]) -> bool:
    """Return whether the second pair, taken as a point, lies far from the first and the others.

    It does so rarely in a polygon, and often if it is the width and height of a box.
    """
    (x, y), places = values[2:4], (values[0::2], values[1::2])
    others = [[*side[:1], *side[2:]] for side in places]
    reach = max(max(side) - min(side) for side in others)
    near = all(
        min(side) - reach <= value <= max(side) + reach
        for side, value in zip(others, (x, y), strict=True)
    )
    return not near and not _inside(values, x, y)


def _half_inside(values: Sequence[float]) -> bool:
    """Return whether at least half of the visible points of three values lie in the box."""
    points = zip(values[4::3], values[5::3], values[6::3], strict=False)
    seen = [_inside(values, x, y) for x, y, visible in points if visible]
    return 2 * sum(seen) >= len(seen)


def _with_visibility(values: Sequence[float]) -> bool:
    return len(values) % 3 == 1 and all(value in (0, 1, 2) for value in values[6::3])


def _with_points(values: Sequence[float]) -> bool:
    points = zip(values[4::2], values[5::2], strict=False)
    even = len(values) % 2 == 0
    return even and all(x == y == 0 or _inside(values, x, y) for x, y in points)


def _with_track(values: Sequence[float]) -> bool:
    return len(values) == 5 or (len(values) == 6 and any(map(float.is_integer, values[4:])))
