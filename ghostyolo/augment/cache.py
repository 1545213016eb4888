"""Caches of decoded pictures: those kept for the whole run, and those read recently.

Kept, mosaics of pictures of 480x640 are prepared in 1.7 ms each instead of 3.8 on one core, see
tools/bench_loader.py. With recent ones a mosaic takes one picture to decode instead of four.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ghostyolo.augment.disk import Disk
from ghostyolo.augment.reduction import reduced
from ghostyolo.augment.slots import Head, Slots, lengths
from ghostyolo.data.dataset import Dataset
from ghostyolo.data.header import Size

T = TypeVar("T")
USUAL = 0.95  # of the pictures fit into a slot for recent ones; a few large ones do not


class Fault(NamedTuple):
    """A defect of a picture, see `Sample.read`. sample: the index of the picture."""

    sample: int
    defect: str
    message: str


class Cache:
    """Reads pictures, keeps as many as fit, and replaces unreadable ones by the next.

    The first pictures of the data set are kept, as many as fit; of the others those that were read
    last. Any process may decode a picture, even two at a time. `faults` has the defects that were
    found; the caller that reports them empties it. count: the number of pictures.

    disk: the file that has all of them, see `disk`, in place of memory for those to keep.
    factors: of each picture, by which its sides are divided, see `inspect_image`; None for 1.
    room: bytes for pictures to keep, for all processes. recent: the number of other pictures to
    hold. recent_room: bytes for these, None for as many as they take. readers: the number of
    processes; a spawned one, which does not share memory, has its part of all three for itself.
    """

    _lent: list[tuple[Slots, int, Head]]  # slots that are in use
    _lends: bool

    def __init__(
        self,
        dataset: Dataset,
        room: int,
        recent: int = 0,
        recent_room: int | None = None,
        readers: int = 1,
        factors: np.ndarray | None = None,
        disk: Path | None = None,
    ) -> None:
        self.dataset, self.readers, self.factors, self.disk = dataset, readers, factors, disk
        self.room, self.recent, self.recent_room = room, recent, recent_room
        self._prepare()

    def lending(self, make: Callable[[], T]) -> T:
        """Return `make()`, which makes something of pictures that it reads here.

        It is called again if another process has meanwhile replaced one of these pictures, and then
        decodes anew those that may be replaced.
        """
        self._lent, self._lends = [], True
        made = make()
        self._lends = all(store.holds(slot, head) for store, slot, head in self._lent)
        return made if self._lends else make()

    def read(self, index: int, position: int = 0) -> tuple[int, np.ndarray]:
        """Return an index and its picture, uint8 RGB; if unreadable, the next that can be read.

        position: of the picture in the sequence of all epochs; when it is asked for again with the
        same one, it is likely to be among the recent ones.

        Raises DataError if no picture can be read.
        """
        for step in range(self.count):
            place = (index + step) % self.count
            image = self._image(place, position)
            if image is not None:
                return place, image
        raise self.dataset.unreadable()

    def truths(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the boxes to train on, (n, 4) xyxy in pixels of the whole picture, and classes."""
        begin, end = self._columns.ends[index : index + 2].tolist()
        return self._columns.boxes_xyxy_px[begin:end], self._columns.classes[begin:end]

    def size(self, index: int) -> Size:
        """Return the size (h, w) of what `read` returns, if the label of the picture is right."""
        h, w = self._columns.sizes[index].tolist()
        factor = self.factor(index)
        return -(-h // factor), -(-w // factor)

    def factor(self, index: int) -> int:
        """Return by what the sides of a picture are divided."""
        return 1 if self.factors is None else int(self.factors[index])

    def finer(self, index: int, factor: int) -> np.ndarray | None:
        """Return a picture with its sides divided by a factor of its own; None if unreadable."""
        return self.dataset.samples[index].read(factor)[0]

    def _prepare(self) -> None:
        """Reserve memory: for pictures to keep, in their order, and for recent ones."""
        self.faults: list[Fault] = []
        self._lent, self._lends = [], True
        self._columns = self.dataset.columns.without_ignored()
        self.count = len(self.dataset)
        sizes = decoded(self.dataset, self.factors)
        count = len(sizes) if self.disk else fitting(sizes, self.room)
        self.kept = Disk(self.disk, self.dataset, sizes) if self.disk else Slots(sizes[:count])
        usual = np.quantile(sizes, USUAL, method="higher")
        recent = 0 if count == len(sizes) else self.recent
        if self.recent_room is not None:
            recent = min(recent, self.recent_room // int(lengths(usual)))
        self.window = Slots(np.full(recent, usual))

    def _image(self, index: int, position: int) -> np.ndarray | None:
        store, slot = self.kept, index
        if index >= len(self.kept):
            store, slot = self.window, position % max(1, len(self.window))
        found = store.get(slot, index + 1) if self._lends and len(store) else None
        if found is None:
            return self._decoded(index, store, slot)
        self.faults += [Fault(index, defect, "") for defect in store.defects(found[1])]
        self._lent.append((store, slot, found[1]))
        return found[0]

    def _decoded(self, index: int, store: Slots, slot: int) -> np.ndarray | None:
        """Decode a picture and put it into a slot, unless that is lent to this process."""
        image, found = self.dataset.samples[index].read(self.factor(index))
        self.faults += [Fault(index, defect, message) for defect, message in found.items()]
        lent = any(each is store and place == slot for each, place, _ in self._lent)
        if image is not None and len(store) and not lent:
            store.put(slot, index + 1, image, found)
        return image

    def __getstate__(self) -> dict[str, Any]:
        state = {"dataset": self.dataset, "readers": 1, "factors": self.factors, "disk": self.disk}
        for name in ("room", "recent", "recent_room"):
            whole = getattr(self, name)
            state[name] = whole if whole is None else whole // self.readers
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._prepare()


def fitting(sizes: np.ndarray, room: int) -> int:
    """Return how many of the first pictures, of so many bytes when decoded, fit into `room`."""
    return int(np.searchsorted(np.cumsum(lengths(sizes)), room, side="right"))


def decoded(dataset: Dataset, factors: np.ndarray | None = None) -> np.ndarray:
    """Return the bytes of each picture of a data set when it is decoded, by its stated size.

    factors: see `Cache`.
    """
    sizes = dataset.columns.sizes
    return 3 * (sizes if factors is None else reduced(sizes, factors)).prod(1)
