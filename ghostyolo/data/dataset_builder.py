"""The rules by which labels are repaired or left out while a data set is read.

A file that describes the data set and cannot be parsed raises an error with its line. A picture, a
label file or a box that cannot be used is left out, counted in `Dataset.defects` and logged.
"""

from __future__ import annotations

import logging
import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ghostyolo.data import sources
from ghostyolo.data.class_names import unknown_class
from ghostyolo.data.columns import Columns
from ghostyolo.data.dataset import RESIZED, UNREADABLE, Dataset, Sample, Samples, add_place
from ghostyolo.data.header import Box, Size
from ghostyolo.data.images import MAX_PIXELS, picture_size, sideways
from ghostyolo.errors import DataError, Span

MALFORMED = "malformed label"
MISSING, UNREADABLE_LABELS = "missing label file", "unreadable label file"
UNKNOWN = "box of unknown class"
FRACTIONS = "box in fractions, not pixels"
MOST_LOGGED = 5  # unknown classes and unreadable label files that are logged one by one
ROUNDING_PX = 0.5  # a box may reach this far beyond the picture without counting as a defect
TINY_PX = 0.01  # a side below this is zero when stored as float32

logger = logging.getLogger(__name__)


class Label(NamedTuple):
    """One box as a label file states it, not yet repaired.

    box: left, top, right, bottom, in pixels, or as fractions of the picture's sides if `relative`.
    cls: a number that need not be one of the classes.
    """

    box: Box
    cls: int
    span: Span
    ignore: bool = False
    relative: bool = False


class DatasetBuilder:
    """Collects the samples of one split; counts and logs what it repairs or leaves out."""

    def __init__(
        self, names: Sequence[str], split: str, path: str, root: Path | None = None
    ) -> None:
        """Collect samples. root: the folder that paths should not leave, if there is one."""
        self.names, self.split, self.path = tuple(names), split, path
        self.root = os.path.join(os.path.abspath(root), "") if root else ""
        self.samples: list[Sample] = []
        self.defects: Counter[str] = Counter()
        self.places: dict[str, list[str]] = {}
        self.listed: dict[str, None] = {}  # an ordered set of paths
        self.labels = 0
        self.logged: dict[str, None] = {}

    def count_defect(self, defect: str, span: Span) -> None:
        """Count a defect, and log it at level INFO."""
        self.defects[defect] += 1
        add_place(self.places, defect, str(span))
        logger.info("%s: %s", span, defect)

    def leave_out(self, path: str, defect: str, span: Span) -> None:
        """Count a listed picture that does not become a sample."""
        self.listed[path] = None
        self.count_defect(defect, span)

    def count_unknown_class(self, found: str, span: Span, place: str = "") -> None:
        """Count a box of an unknown class; warn when the class is found for the first time.

        found: the class as the label states it. place: where in the line or the file it is.
        """
        self.labels += 1
        self.count_defect(UNKNOWN, span)
        self._log_first(found, unknown_class(f"{found}{place}", self.names, span))

    def count_unreadable_labels(self, error: DataError) -> None:
        """Count a label file that cannot be read, and log why."""
        self.count_defect(UNREADABLE_LABELS, error.diagnostic.span or Span(self.path))
        self._log_first(str(error), error)

    def _log_first(self, what: str, error: DataError) -> None:
        """Log an error unless `what` was logged before; log at most `MOST_LOGGED` of them."""
        if what not in self.logged and len(self.logged) < MOST_LOGGED:
            sources.warn(logger, "%s", error)
        self.logged[what] = None

    def _size(self, path: str, stated: Size | None) -> Size | None:
        """Return (h, w) of a picture; None, with a defect counted, if it cannot be a sample."""
        twice = path in self.listed
        self.listed[path] = None
        if twice:
            self.count_defect("picture listed twice", Span(path))
        elif not sources.is_file(path):
            self.count_defect("missing picture", Span(path))
        elif stated and min(stated) > 0 and math.prod(stated) <= MAX_PIXELS:
            return stated
        else:
            if stated and min(stated) > 0:
                self.count_defect(RESIZED, Span(path))
            try:
                return picture_size(path)
            except DataError as error:
                self.count_defect(UNREADABLE, Span(path))
                logger.info("%s", error)
        return None

    def add(
        self, path: str, image_id: int | str, labels: Iterable[Label], stated: Size | None = None
    ) -> None:
        """Add a picture with those of its labels that can be used.

        A picture that cannot be a sample is counted and left out, without reading its labels.
        stated: the (h, w) in its label file, used without decoding the picture if positive.
        """
        size = self._size(path, stated)
        sources.tell_read(len(self.listed))
        if size is None:
            return
        if size == stated:
            size, labels = self._upright(path, size, labels)
        kept: dict[tuple[float, ...], bool] = {}
        for label in labels:
            if not 0 <= label.cls < len(self.names):
                self.count_unknown_class(str(label.cls), label.span)
                continue
            self.labels += 1
            box = self._repair_box(label, size)
            if box is None:
                continue
            if (label.cls, *box) in kept:
                self.count_defect("duplicate box", label.span)
            kept.setdefault((label.cls, *box), label.ignore)
        if len(kept) > math.prod(size):
            self.count_defect("picture with more boxes than pixels", Span(path))
        rows = np.array(list(kept), np.float64).reshape(-1, 5)
        sample = Sample(
            path=path,
            boxes_xyxy_px=rows[:, 1:].astype(np.float32),
            classes=rows[:, 0].astype(np.int64),
            ignore=np.array(list(kept.values()), bool),
            size=size,
            image_id=image_id,
        )
        self.samples.append(sample)

    def finish(self) -> Dataset:
        """Return the data set. Raises DataError if no picture or no label can be used."""
        sources.tell_read(len(self.listed), finished=True)
        self._check_used()
        root = self.root
        outside = tuple(path for path in self.listed if not os.path.abspath(path).startswith(root))
        return Dataset(
            names=self.names,
            samples=Samples(Columns.of(self.samples)),
            split=self.split,
            path=self.path,
            defects=self.defects,
            outside=outside,
            places=self.places,
        )

    def _check_used(self) -> None:
        message, hint = "", ""
        labels = self.labels + self.defects[MALFORMED]
        if not self.listed:
            message, hint = "is empty", "list at least one picture"
        elif not self.samples:
            message = f"none of {len(self.listed)} pictures can be used"
            hint = f"check where they are; the first was expected at {next(iter(self.listed))}"
        elif labels and not any(len(sample.classes) for sample in self.samples):
            message = f"none of {labels} labels can be used"
            hint = "check their format and the unit of the coordinates"
            if self.defects[FRACTIONS]:
                hint = "multiply them by the width and height of the picture"
            if self.defects[UNKNOWN]:
                hint = "give the names of their classes with --names"
        if message:
            found = "".join(f", {n} x {defect}" for defect, n in self.defects.items())
            message = f"split '{self.split}': {message}{found}"
            raise DataError(message, span=Span(self.path), hint=hint)

    def _upright(
        self, path: str, size: Size, labels: Iterable[Label]
    ) -> tuple[Size, Iterable[Label]]:
        """Return the size and the labels of the upright picture, if they are of the stored one.

        Some tools state the stored size, but boxes of the upright picture: they do not fit it.
        """
        header, (h, w) = sideways(path), size
        if not header or header.size != size or h == w:
            return size, labels
        labels = list(labels)
        if any(x2 > w + ROUNDING_PX or y2 > h + ROUNDING_PX for (_, _, x2, y2), *_ in labels):
            return header.upright, labels
        if labels:
            self.count_defect("boxes turned with their picture, as its EXIF says", Span(path))
        return header.upright, [label._replace(box=header.turned(label.box)) for label in labels]

    def _repair_box(self, label: Label, size: Size) -> Box | None:
        """Return the box clipped to the picture, None if nothing is left; count the defect."""
        h, w = size
        x1, y1, x2, y2 = box = label.box
        if label.relative:
            x1, y1, x2, y2 = box = (x1 * w, y1 * h, x2 * w, y2 * h)
        whole = 0 <= x1 <= x2 - TINY_PX <= w - TINY_PX and 0 <= y1 <= y2 - TINY_PX <= h - TINY_PX
        if whole and (label.relative or max(x2, y2) > 1 + TINY_PX):
            return box
        clipped = max(x1, 0.0), max(y1, 0.0), min(x2, float(w)), min(y2, float(h))
        defect = ""
        if not all(map(math.isfinite, box)):
            defect = "box that is not finite"
        elif min(x2 - x1, y2 - y1) <= -TINY_PX:
            defect = "negative-size box"
        elif min(x2 - x1, y2 - y1) < TINY_PX:
            defect = "zero-size box"
        elif min(clipped[2] - clipped[0], clipped[3] - clipped[1]) < TINY_PX:
            defect = "box outside the picture"
        elif not label.relative and min(box) > -1 and max(box) < 1 + TINY_PX:
            defect = FRACTIONS  # a whole box within the first pixel
        elif max(abs(a - b) for a, b in zip(clipped, box, strict=True)) > ROUNDING_PX:
            self.count_defect("box clipped to the picture", label.span)
        if defect:
            self.count_defect(defect, label.span)
        return None if defect else clipped
