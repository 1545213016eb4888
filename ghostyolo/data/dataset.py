"""Samples and data sets, with the defects of their pictures.

The readers of `data.layouts` return them, and the rest of the program uses them.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, overload

import numpy as np

from ghostyolo.data.columns import Columns
from ghostyolo.data.header import Size
from ghostyolo.data.images import inspect_image
from ghostyolo.errors import DataError, Span, counted, printable

UNREADABLE = "unreadable picture"
MOST_LISTED = 3  # places of a kind of defect
RESIZED = "picture of another size than its label says"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Sample:
    """One picture and its labelled boxes.

    boxes_xyxy_px: (n, 4) float32, continuous pixel edges in the upright picture. classes: (n,)
    int64. ignore: (n,) bool, boxes neither trained on nor counted in validation ("difficult",
    "iscrowd"). size: (h, w) as the label states it, or else the picture. window: xyxy in pixels of
    the picture file, of which the sample is this part; None for all of it. Boxes and size are those
    of the part.

    Raises ValueError if the arrays do not describe the same n boxes.

    >>> sample = ghostyolo.open_dataset("DATA", "val").samples[0]
    >>> sample.path, sample.size
    ('DATA/JPEGImages/val_00000.jpg', (96, 128))
    >>> sample.boxes_xyxy_px[0]
    array([13.,  2., 65., 49.], dtype=float32)
    """

    path: str
    boxes_xyxy_px: np.ndarray
    classes: np.ndarray
    ignore: np.ndarray
    size: Size
    image_id: int | str
    window: tuple[int, int, int, int] | None = None

    def __post_init__(self) -> None:
        n = len(self.boxes_xyxy_px)
        shapes = (self.boxes_xyxy_px.shape, self.classes.shape, self.ignore.shape)
        if shapes != ((n, 4), (n,), (n,)):
            raise ValueError(f"boxes, classes, ignore {shapes} are not (n, 4), (n,) and (n,)")

    def read(self, factor: int = 1) -> tuple[np.ndarray | None, dict[str, str]]:
        """Return the picture, uint8 RGB (H, W, 3), and its defects, each with a message to log.

        factor: by which its sides are divided, see `inspect_image`. The picture is None if it
        cannot be read. The message is "" for a defect that was repaired.
        """
        read = _recent if self.window else inspect_image
        try:
            image, size, repaired = read(self.path, factor)
        except DataError as error:
            return None, {UNREADABLE: str(error)}
        defects = dict.fromkeys(repaired, "")
        if self.window:
            image = _part(image, self.window, factor)
            left, top, right, bottom = self.window
            size = min(bottom, size[0]) - top, min(right, size[1]) - left
        if size != self.size:
            (h, w), (own_h, own_w) = self.size, size
            defects[RESIZED] = f"{self.path}: {own_w}x{own_h} pixels, but its label says {w}x{h}"
        return image, defects


def _part(image: np.ndarray, window: tuple[int, int, int, int], factor: int) -> np.ndarray:
    """Return a part of a picture whose sides were divided by a factor, rounded up."""
    left, top, right, bottom = window
    h, w = -(-(bottom - top) // factor), -(-(right - left) // factor)
    y, x = min(top // factor, image.shape[0] - h), min(left // factor, image.shape[1] - w)
    return np.ascontiguousarray(image[max(0, y) :, max(0, x) :][:h, :w])


# Parts of a picture are often read one after the other.
_recent = lru_cache(maxsize=1)(inspect_image)


class Samples(Sequence[Sample]):
    """Samples that are made from columns when they are asked for.

    A slice, or an array of indices, is again such a sequence, over the same columns. index: (n,)
    of the pictures in the columns, None for all of them. origin: a function that another process
    gets the columns from, in place of a copy, and its arguments. windows: (n, 4) int, the part of
    its file that each sample in the columns is; None for all of it. The samples share the arrays.
    """

    def __init__(
        self,
        columns: Columns,
        index: np.ndarray | None = None,
        origin: tuple[Any, ...] | None = None,
        windows: np.ndarray | None = None,
    ) -> None:
        self._columns, self._index, self._origin = columns, index, origin
        self._windows = windows

    def __reduce__(self) -> tuple[Any, ...]:
        if self._origin:
            return _restored, (self._origin, self._index)
        windows = self._windows
        if windows is not None and self._index is not None:
            windows = windows[self._index]
        return Samples, (self.columns, None, None, windows)

    @property
    def columns(self) -> Columns:
        """Return the columns of these samples, without those of others."""
        return self._columns if self._index is None else self._columns.take(self._index)

    def __len__(self) -> int:
        return len(self._columns.sizes if self._index is None else self._index)

    @overload
    def __getitem__(self, place: int) -> Sample: ...
    @overload
    def __getitem__(self, place: slice | np.ndarray) -> Samples: ...
    def __getitem__(self, place: int | slice | np.ndarray) -> Sample | Samples:
        if isinstance(place, slice | np.ndarray):
            every = np.arange(len(self)) if self._index is None else self._index
            return Samples(self._columns, every[place], self._origin, self._windows)
        index = range(len(self))[place]
        return self._sample(index if self._index is None else int(self._index[index]))

    def _sample(self, index: int) -> Sample:
        data = self._columns
        begin, end = data.ends[index : index + 2].tolist()
        h, w = data.sizes[index].tolist()
        return Sample(
            path=data.path(index),
            boxes_xyxy_px=data.boxes_xyxy_px[begin:end],
            classes=data.classes[begin:end],
            ignore=data.ignore[begin:end],
            size=(h, w),
            image_id=data.image_id(index),
            window=None if self._windows is None else tuple(self._windows[index].tolist()),
        )


def _restored(origin: tuple[Any, ...], index: np.ndarray | None) -> Samples:
    """Return samples that were sent from another process."""
    function, *arguments = origin
    return Samples(function(*arguments), index, origin)


@dataclass(frozen=True, eq=False)
class Dataset:
    """One split of a data set.

    samples: those of a file are made when they are asked for, see `Samples`; any sequence will do.
    defects: the number of each kind of defect that was repaired or left out. picture_defects: the
    defects found when pictures were read, as (path, defect). outside: paths of pictures that leave
    the folder of a data set whose files should name only pictures in it. places: the first files,
    with lines, of each kind of defect.

    Raises ValueError if a class has no name.

    >>> dataset = ghostyolo.open_dataset("DATA", "val")
    >>> len(dataset), dataset.names[:3]
    (3, ('ring', 'checker', 'triangle'))
    >>> sum(len(sample.classes) for sample in dataset.samples)
    16
    """

    names: tuple[str, ...]
    samples: Sequence[Sample]
    split: str
    path: str
    defects: Counter[str] = field(default_factory=Counter)
    picture_defects: set[tuple[str, str]] = field(default_factory=set)
    outside: tuple[str, ...] = ()
    places: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        last, columns = len(self.names) - 1, self.columns
        wrong = (columns.classes < 0) | (columns.classes > last)
        if np.any(wrong):
            path = columns.path(int(columns.owners[wrong.argmax()]))
            raise ValueError(f"{path} has a class outside 0..{last}")

    @property
    def columns(self) -> Columns:
        """Return what all samples hold, as a few arrays. They are made anew from a tuple."""
        samples = self.samples
        return samples.columns if isinstance(samples, Samples) else Columns.of(samples)

    def only(self, indices: Sequence[int] | np.ndarray) -> Dataset:
        """Return the data set with these of its samples only."""
        if isinstance(self.samples, Samples):
            return replace(self, samples=self.samples[np.asarray(indices, np.int64)])
        return replace(self, samples=tuple(self.samples[index] for index in indices))

    def __repr__(self) -> str:
        boxes = counted(len(self.columns.classes), "box", "es")
        counts = f"{counted(len(self), 'picture')}, {boxes}"
        classes = counted(len(self.names), "class", "es")
        return printable(f"{self.path}, split {self.split}: {counts}, {classes}")

    def __len__(self) -> int:
        return len(self.samples)

    def add_defect(self, path: str, defect: str, message: str = "") -> None:
        """Count a defect of a picture and log its message, unless it was counted before."""
        if (path, defect) in self.picture_defects:
            return
        self.picture_defects.add((path, defect))
        self.defects[defect] += 1
        add_place(self.places, defect, path)
        if message:
            logger.warning("%s", message)

    def log_defects(self) -> None:
        """Log a warning for each kind of defect, with its number and its first places."""
        for defect, count in sorted(self.defects.items()):
            told = f"{defect}: {self.where(defect)}"
            logger.warning("%s %s: %d x %s", self.path, self.split, count, told)

    def where(self, defect: str) -> str:
        """Return the first places of a kind of defect, and how many there are more."""
        listed = self.places.get(defect, [])
        more = self.defects[defect] - len(listed)
        return ", ".join(listed) + f" and {more} more" * bool(more)

    def add_defects(self, found: Iterable[tuple[str, str]]) -> None:
        """Count also the `picture_defects` of another process or of an earlier run."""
        for path, defect in found:
            self.add_defect(path, defect)

    def gather_defects(self, gather: Callable[[Any], list[Any]]) -> None:
        """Count also the defects found by other processes. gather: returns the values of all."""
        for found in gather(self.picture_defects):
            self.add_defects(found)

    def unreadable(self) -> DataError:
        """Return the error for a split of which no picture can be read."""
        message = f"split '{self.split}': no picture can be read"
        return DataError(message, span=Span(self.path), hint="check the files")


def add_place(places: dict[str, list[str]], defect: str, place: str) -> None:
    """Add the place of a defect unless enough of its kind are known."""
    listed = places.setdefault(defect, [])
    if len(listed) < MOST_LISTED:
        listed.append(place)
