"""Samples and data sets, and the rules by which labels are repaired or left out.

A file that describes the data set and cannot be parsed stops the reader at its line. A picture, its
label file or a box that cannot be used is left out, counted in `Dataset.defects` and logged; never
silently.
"""

from __future__ import annotations

import logging
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ghostyolo.data.header import Size
from ghostyolo.data.images import picture_size
from ghostyolo.errors import DataError, Span

MALFORMED = "malformed label"
UNREADABLE = "unreadable picture"
UNPARSED = "unreadable label file"
UNKNOWN = "box of unknown class"
MOST_TOLD = 5  # unknown classes, and label files, that are told of one by one
# Of pictures, those too that OpenCV may not read: they are to be counted, not overlooked.
SUFFIXES = {
    ".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff",
    ".webp", ".gif", ".avif", ".heic", ".heif",
}  # fmt: skip
ROUNDING_PX = 0.5  # a box may stick out by this much without being called a defect
STRAY = ("../", "data/")  # first folders that are not always there
TINY_PX = 0.01  # a side under this is zero once it is stored as float32

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Sample:
    """One picture and what is marked in it.

    boxes_xyxy_px: (n, 4) float32, continuous pixel edges in the upright picture. classes: (n,)
    int64. ignore: (n,) bool, boxes neither trained on nor counted in validation ("difficult",
    "iscrowd"). size: (h, w), as the label or else the picture states it.

    Raises ValueError if the arrays do not describe the same n boxes.
    """

    path: str
    boxes_xyxy_px: np.ndarray
    classes: np.ndarray
    ignore: np.ndarray
    size: Size
    image_id: int | str

    def __post_init__(self) -> None:
        n = len(self.boxes_xyxy_px)
        shapes = (self.boxes_xyxy_px.shape, self.classes.shape, self.ignore.shape)
        if shapes != ((n, 4), (n,), (n,)):
            raise ValueError(f"boxes, classes, ignore {shapes} are not (n, 4), (n,) and (n,)")


@dataclass(frozen=True, eq=False)
class Dataset:
    """One split of a data set.

    defects: counts what was repaired or left out; `noted`, of these, what was found after the
    opening, as path and defect. Raises ValueError if a class has no name.
    """

    names: tuple[str, ...]
    samples: tuple[Sample, ...]
    split: str
    path: str
    defects: Counter[str] = field(default_factory=Counter)
    noted: set[tuple[str, str]] = field(default_factory=set, repr=False)

    def __post_init__(self) -> None:
        last = len(self.names) - 1
        for sample in self.samples:
            if np.any((sample.classes < 0) | (sample.classes > last)):
                raise ValueError(f"{sample.path} has a class outside 0..{last}")

    def __len__(self) -> int:
        return len(self.samples)

    def note(self, path: str, defect: str, message: str = "") -> None:
        """Count a defect of a picture when it is first met, and log the message."""
        if (path, defect) in self.noted:
            return
        self.noted.add((path, defect))
        self.defects[defect] += 1
        if message:
            logger.warning("%s", message)

    def log_defects(self) -> None:
        """Log a warning for each kind of defect, with their number."""
        for defect, count in sorted(self.defects.items()):
            logger.warning("%s %s: %d x %s", self.path, self.split, count, defect)

    def take_notes(self, noted: Iterable[tuple[str, str]]) -> None:
        """Count what was found elsewhere, too: `noted` of another process or of an earlier run."""
        for path, defect in noted:
            self.note(path, defect)

    def share_notes(self, gather: Callable[[Any], list[Any]]) -> None:
        """Count what other processes have found, too. gather: returns what each of them has."""
        for noted in gather(self.noted):
            self.take_notes(noted)


class Label(NamedTuple):
    """One box as a label file has it: edges in pixels, not yet repaired."""

    box: tuple[float, float, float, float]
    cls: int
    ignore: bool
    span: Span


class Builder:
    """Gathers the pictures of one split, and counts and logs what it repairs or leaves out."""

    def __init__(self, names: Sequence[str], split: str, path: str) -> None:
        self.names, self.split, self.path = tuple(names), split, path
        self.samples: list[Sample] = []
        self.defects: Counter[str] = Counter()
        self.listed: dict[str, None] = {}  # a set that keeps its order
        self.labels = 0
        self.told: dict[str, None] = {}

    def count(self, defect: str, span: Span) -> None:
        self.defects[defect] += 1
        logger.info("%s: %s", span, defect)

    def leave_out(self, path: str, defect: str, span: Span) -> None:
        """Count a listed picture that does not become a sample."""
        self.listed[path] = None
        self.count(defect, span)

    def unknown(self, found: str, span: Span, place: str = "") -> None:
        """Count a box whose class has no name, and tell where each such class is first met.

        place: where in the line, or the file, that is.
        """
        self.labels += 1
        self.count(UNKNOWN, span)
        self._tell(found, unknown_class(f"{found}{place}", self.names, span))

    def unparsed(self, error: DataError) -> None:
        """Count a label file that cannot be read, and tell why."""
        self.count(UNPARSED, error.diagnostic.span or Span(self.path))
        self._tell(str(error), error)

    def _tell(self, what: str, error: DataError) -> None:
        """Log the first of what was not yet told."""
        if what not in self.told and len(self.told) < MOST_TOLD:
            logger.warning("%s", error)
        self.told[what] = None

    def size(self, path: str, stated: Size | None = None) -> Size | None:
        """Return (h, w) of a picture, None (and count why) if it cannot be a sample.

        stated: the size that a label gives, believed if it can be a size.
        """
        twice = path in self.listed
        self.listed[path] = None
        if twice:
            self.count("picture listed twice", Span(path))
        elif not os.path.isfile(path):
            self.count("missing picture", Span(path))
        elif stated and min(stated) > 0:
            return stated
        else:
            try:
                return picture_size(path)
            except DataError as error:
                self.count(UNREADABLE, Span(path))
                logger.info("%s", error)
        return None

    def add(self, path: str, image_id: int | str, size: Size, labels: Iterable[Label]) -> None:
        """Take a picture with those of its labels that can be used."""
        kept: dict[tuple[float, ...], bool] = {}
        for label in labels:
            self.labels += 1
            box = self._repaired(label, size)
            if box is None:
                continue
            if (label.cls, *box) in kept:
                self.count("duplicate box", label.span)
            kept.setdefault((label.cls, *box), label.ignore)
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
        """Return the data set; DataError if nothing in it can be used."""
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
            if self.defects[UNKNOWN]:
                hint = "give the names of their classes with --names"
        if message:
            found = "".join(f", {n} x {defect}" for defect, n in self.defects.items())
            message = f"split '{self.split}': {message}{found}"
            raise DataError(message, span=Span(self.path), hint=hint)
        return Dataset(self.names, tuple(self.samples), self.split, self.path, self.defects)

    def _repaired(self, label: Label, size: Size) -> tuple[float, float, float, float] | None:
        """Return the box clipped to the picture, None if nothing of it is left; count either."""
        x1, y1, x2, y2 = label.box
        h, w = size
        clipped = max(x1, 0.0), max(y1, 0.0), min(x2, float(w)), min(y2, float(h))
        defect = ""
        if not all(map(math.isfinite, label.box)):
            defect = "box that is not finite"
        elif min(x2 - x1, y2 - y1) <= -TINY_PX:
            defect = "negative-size box"
        elif min(x2 - x1, y2 - y1) < TINY_PX:
            defect = "zero-size box"
        elif min(clipped[2] - clipped[0], clipped[3] - clipped[1]) < TINY_PX:
            defect = "box outside the picture"
        elif max(abs(a - b) for a, b in zip(clipped, label.box, strict=True)) > ROUNDING_PX:
            self.count("box clipped to the picture", label.span)
        if defect:
            self.count(defect, label.span)
        return None if defect else clipped


def image_ids(paths: Sequence[str]) -> list[str]:
    """Return an id for each picture: its file name without suffix, or its path if that repeats."""
    stems = [Path(path).stem for path in paths]
    times = Counter(stems)
    return [stem if times[stem] == 1 else path for stem, path in zip(stems, paths, strict=True)]


def class_index(names: Sequence[str]) -> dict[str, int]:
    """Return name -> class; DataError if two classes share a name."""
    index = {name: i for i, name in enumerate(names)}
    if len(index) < len(names):
        twice = next(name for name, n in Counter(names).items() if n > 1)
        raise DataError(f"two classes are named '{twice}'", hint="give every class its own name")
    return index


def unknown_class(found: str, names: Sequence[str], span: Span) -> DataError:
    """Return what is to be said of a label of a class that is not among the names."""
    known = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    hint = f"use one of: {known}; or give all names with --names"
    return DataError(f"unknown class {found} ({len(names)} classes)", span=span, hint=hint)


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    """Read the lines of a text file, without blanks around them; DataError if it cannot be read.

    Bytes that are not UTF-8 survive, so that a list may name any file.
    """
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
            return [line.strip() for line in file]
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(
            f"cannot read it: {reason}", span=Span(str(path)), hint="check the path"
        ) from error


def locate(entry: str, folders: Iterable[Path]) -> str:
    """Return a path as it is written in a list: below the first folder that has it.

    Below the first of all if none has it. Windows' separators are understood everywhere. Roboflow
    writes ../train/images for train/images, and CVAT data/obj.names for obj.names: where a path is
    nowhere, such a first folder is passed over.
    """
    entry, folders = entry.replace("\\", "/"), tuple(folders)
    paths = [str(folder / entry) for folder in folders]
    if entry.startswith(STRAY):
        paths += [str(folder / entry.partition("/")[2]) for folder in folders]
    return next(filter(os.path.exists, paths), paths[0])


def given_names(names: str | Path | Sequence[str] | None) -> tuple[str, ...] | None:
    """Return class names that are given as themselves or as a file of them, None if there are none.

    Raises DataError as `read_names` does.
    """
    if isinstance(names, str | Path):
        return read_names(names)
    return tuple(names) if names else None


def read_names(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Read class names, one a line, class 0 first; DataError at a blank line between names."""
    names = read_lines(path)
    while names and not names[-1]:
        names.pop()
    if not names or "" in names:
        line = names.index("") + 1 if names else 0
        raise DataError("no class name here", span=Span(str(path), line), hint="one name a line")
    return tuple(names)
