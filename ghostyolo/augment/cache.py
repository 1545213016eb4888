"""Caches of decoded pictures: those kept for the whole run, and those read recently.

Kept, pictures of 480x640, half of them in mosaics, are prepared in 3.6 ms each instead of 8.1 on
one core. With recent ones a mosaic takes one picture to decode instead of four.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ghostyolo.augment.slots import Slots, lengths
from ghostyolo.data.dataset import Dataset, Sample

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
    found; the caller that reports them empties it.

    room: bytes for pictures to keep, for all processes. recent: the number of other pictures to
    hold. recent_room: bytes for these, None for as many as they take. readers: the number of
    processes; a spawned one, which does not share memory, has its part of all three for itself.
    """

    def __init__(
        self,
        dataset: Dataset,
        room: int,
        recent: int = 0,
        recent_room: int | None = None,
        readers: int = 1,
    ) -> None:
        self.dataset, self.readers = dataset, readers
        self.room, self.recent, self.recent_room = room, recent, recent_room
        self.faults: list[Fault] = []
        self._reserve()

    def read(self, index: int, position: int = 0) -> tuple[Sample, np.ndarray]:
        """Return a sample and its picture, uint8 RGB; if unreadable, the next that can be read.

        position: of the picture in the sequence of all epochs; when it is asked for again with the
        same one, it is likely to be among the recent ones.

        Raises DataError if no picture can be read.
        """
        samples = self.dataset.samples
        for step in range(len(samples)):
            place = (index + step) % len(samples)
            image = self._image(place, position)
            if image is not None:
                return samples[place], image
        raise self.dataset.unreadable()

    def _reserve(self) -> None:
        """Reserve memory: for pictures to keep, in their order, and for recent ones."""
        sizes = decoded(self.dataset)
        count = np.searchsorted(np.cumsum(lengths(sizes)), self.room, side="right")
        self.kept = Slots(sizes[:count], lasting=True)
        usual = np.quantile(sizes, USUAL, method="higher")
        recent = 0 if count == len(sizes) else self.recent
        if self.recent_room is not None:
            recent = min(recent, self.recent_room // int(lengths(usual)))
        self.window = Slots(np.full(recent, usual))

    def _image(self, index: int, position: int) -> np.ndarray | None:
        store, slot = self.kept, index
        if index >= len(self.kept):
            store, slot = self.window, position % max(1, len(self.window))
        held = store.get(slot, index + 1) if len(store) else None
        if held is not None:
            return held
        image, found = self.dataset.samples[index].read()
        self.faults += [Fault(index, defect, message) for defect, message in found.items()]
        if image is not None and len(store):
            store.put(slot, index + 1, image)
        return image

    def __getstate__(self) -> dict[str, Any]:
        state = {"dataset": self.dataset, "readers": 1, "faults": []}
        for name in ("room", "recent", "recent_room"):
            whole = getattr(self, name)
            state[name] = whole if whole is None else whole // self.readers
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reserve()


def decoded(dataset: Dataset) -> np.ndarray:
    """Return the bytes of each picture of a data set when it is decoded, by its stated size."""
    return 3 * dataset.columns.sizes.prod(1)
