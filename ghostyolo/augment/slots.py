"""Slots for decoded pictures, in memory that all forked workers share."""

from __future__ import annotations

import mmap
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from io import FileIO
from typing import TypeVar

import numpy as np

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]

HEAD = 64  # bytes before the pixels of a slot, 8 numbers, see `Slots`
Bytes = TypeVar("Bytes", int, np.ndarray)
Head = list[int]  # key, height, width, number of writes, and 4 marks
NO_MARKS = [0, 0, 0, 0]


class Slots:
    """Memory for one picture each, which may be replaced by another.

    The head of a slot states the key of its picture, not 0, its height and width, how often the
    slot was written, and marks for a subclass. A process that writes sets the key to 0 first and to
    its value last; one that reads looks at the head before and after it uses the pixels. Only one
    process at a time writes into a slot: the lock is the kernel's, which ends it with the process,
    and nobody waits for it.

    capacities: bytes of the largest picture of each slot. Memory is taken when a slot is first
    written. file: whose content is the memory, as long as `lengths` add up to.
    """

    def __init__(self, capacities: np.ndarray, file: FileIO | None = None) -> None:
        self.capacities = capacities
        self.ends = np.cumsum(lengths(capacities))
        number = file.fileno() if file else -1
        self.memory = mmap.mmap(number, int(self.ends[-1])) if len(self) else None
        # Of this file, which else stays empty, bytes are locked. It closes with the object.
        shared = fcntl and hasattr(os, "memfd_create")
        self.locks = file or (FileIO(os.memfd_create("locks"), "w") if shared else None)

    def __len__(self) -> int:
        return len(self.capacities)

    def get(self, slot: int, key: int) -> tuple[np.ndarray, Head] | None:
        """Return a picture, uint8 (h, w, 3), and the head of its slot; None if it is not there.

        The picture is the slot's own memory: what was made of it counts only if the slot still has
        that head, see `holds`.
        """
        head, pixels = self._parts(slot)
        state = head.tolist()
        found, h, w, *_ = state
        if found != key or 3 * h * w > len(pixels):
            return None
        return pixels[: 3 * h * w].reshape(h, w, 3), state

    def holds(self, slot: int, head: Head) -> bool:
        """Return whether a slot has the head that it had, so that its pixels have not changed."""
        return self._parts(slot)[0][:4].tolist() == head[:4]

    def put(self, slot: int, key: int, image: np.ndarray, defects: Collection[str] = ()) -> None:
        """Write a picture into a slot, unless it is too large or another process writes there.

        defects: of the picture, for `defects`.
        """
        head, pixels = self._parts(slot)
        marks = self._marks(slot, image, defects) if image.nbytes <= len(pixels) else None
        if marks is None or (head[0] == key and head[4:].tolist() == marks):
            return
        with self._alone(slot) as alone:
            if alone:
                head[0] = 0
                pixels[: image.nbytes] = image.reshape(-1)
                head[1:] = *image.shape[:2], head[3] + 1, *marks
                head[0] = key

    def defects(self, head: Head) -> list[str]:
        """Return the defects of a picture that were found in another run."""
        return []

    def _marks(self, slot: int, image: np.ndarray, defects: Collection[str]) -> list[int] | None:
        """Return the marks of a picture, None if it is not to be written."""
        return NO_MARKS

    def _parts(self, slot: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the head of a slot, and the bytes for its pixels."""
        capacity = int(self.capacities[slot])
        begin = int(self.ends[slot]) - _rounded(capacity)
        assert self.memory is not None
        head = np.frombuffer(self.memory, np.int64, 8, begin - HEAD)
        return head, np.frombuffer(self.memory, np.uint8, capacity, begin)

    @contextmanager
    def _alone(self, slot: int) -> Iterator[bool]:
        """Keep other processes from writing into a slot; yield False if one is doing so."""
        if self.locks is None:
            yield True
            return
        try:
            fcntl.lockf(self.locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
        except OSError:
            yield False
            return
        try:
            yield True
        finally:
            fcntl.lockf(self.locks, fcntl.LOCK_UN, 1, slot)


def lengths(capacities: np.ndarray) -> np.ndarray:
    """Return the bytes of slots for pictures of so many bytes."""
    return HEAD + _rounded(capacities)


def _rounded(capacity: Bytes) -> Bytes:
    return -(-capacity // HEAD) * HEAD
