"""A file of decoded pictures, which later runs use again and processes share.

It is in the folder ghostyolo/pictures of the user's cache, named by a hash of the paths, the stated
sizes and the scale of all pictures, so that it has a slot for each. A picture counts only as long
as its file has the size and the time of modification that it had when it was decoded. What was
written before the machine was last started counts if its checksum is right: a crash may have lost
a part. Bytes are reserved on the disk before the run.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import time
import zlib
from collections.abc import Collection
from io import FileIO
from pathlib import Path

import numpy as np

from ghostyolo import files
from ghostyolo.augment.slots import Head, Slots, lengths
from ghostyolo.data.dataset import Dataset
from ghostyolo.data.header import REPAIRS
from ghostyolo.errors import OptionError, Span, in_bytes

VERSION = 1
UNSETTLED_NS = 2_000_000_000  # what changed so shortly before it was read may change unnoticed
BLOCK = 1 << 20


class Disk(Slots):
    """Slots in a file, one for each picture of a data set.

    The marks of a slot are the size and the time of modification of the picture's file, a checksum
    of the pixels with the picture's defects as bits above it, and since which start of the machine
    the pixels are known to be whole.
    """

    def __init__(self, path: Path, dataset: Dataset, capacities: np.ndarray) -> None:
        super().__init__(capacities, FileIO(path, "r+"))
        self.dataset = dataset
        self.known = np.zeros(len(capacities), bool)  # by this process, to hold what they should

    def get(self, slot: int, key: int) -> tuple[np.ndarray, Head] | None:
        """Return a picture as `Slots.get` does, unless its file has changed, or it is not whole."""
        found = super().get(slot, key)
        if found is None or self.known[slot]:
            return found
        image, (*_, size, changed, checksum, start) = found
        if (size, changed) != self._state(slot):
            return None
        if start != START:
            if zlib.crc32(image.data) != checksum & 0xFFFFFFFF:
                return None
            self._parts(slot)[0][7] = START
        self.known[slot] = True
        return found

    def defects(self, head: Head) -> list[str]:
        """Return the defects of a picture that were found in another run."""
        return [name for bit, name in enumerate(REPAIRS) if head[6] >> (32 + bit) & 1]

    def _marks(self, slot: int, image: np.ndarray, defects: Collection[str]) -> list[int] | None:
        """Return the marks of a picture; None if it has only just changed, or has other defects."""
        size, changed = self._state(slot)
        if changed > time.time_ns() - UNSETTLED_NS or not size or set(defects) - set(REPAIRS):
            return None
        bits = sum((name in defects) << bit for bit, name in enumerate(REPAIRS))
        return [size, changed, bits << 32 | zlib.crc32(image.data), START]

    def _state(self, slot: int) -> tuple[int, int]:
        """Return the size and the time of modification of a picture's file, 0 if it is gone."""
        try:
            found = os.stat(self.dataset.samples[slot].path)
        except OSError:
            return 0, 0
        return found.st_size, found.st_mtime_ns


def reserved(dataset: Dataset, capacities: np.ndarray, factors: np.ndarray | None) -> Path:
    """Return the path of the file for the pictures of a data set; make it if there is none.

    Raises OptionError if the disk has no room for it, or the folder cannot be written.
    """
    length = int(lengths(capacities).sum())
    try:
        folder = files.make_folder(files.cache_folder() / "pictures")
    except OptionError as error:
        hint = "set XDG_CACHE_HOME to a folder that can be written, or give --cache ram"
        raise OptionError(error.diagnostic.message, span=error.diagnostic.span, hint=hint) from None
    path = folder / f"{_name(dataset, factors)}.pictures"
    if _usable(path, length):
        return path
    free = shutil.disk_usage(folder).free
    if length > free:
        others = sum(each.stat().st_size for each in folder.glob("*.pictures"))
        message = f"the decoded pictures take {in_bytes(length)}, {in_bytes(free)} are free"
        told = f"delete the files of other runs here, {in_bytes(others)}, " if others else ""
        hint = told + "set XDG_CACHE_HOME to a folder on another disk, or give --cache ram"
        raise OptionError(message, span=Span(str(folder)), hint=hint)
    with files.writing(path) as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, length)
        else:
            for begin in range(0, length, BLOCK):
                file.write(bytes(min(BLOCK, length - begin)))
    return path


def _usable(path: Path, length: int) -> bool:
    """Return whether there is a file of so many bytes. Raises OptionError if it cannot be used."""
    try:
        with open(path, "r+b") as file:
            return os.fstat(file.fileno()).st_size == length
    except FileNotFoundError:
        return False
    except OSError as error:
        hint = "delete it, or set XDG_CACHE_HOME to another folder"
        raise OptionError(
            f"cannot use it: {error.strerror}", span=Span(str(path)), hint=hint
        ) from None


def _name(dataset: Dataset, factors: np.ndarray | None) -> str:
    """Return a hash of what decides which pictures are in which slots."""
    columns, here = dataset.columns, os.getcwd()
    found = hashlib.blake2b(repr((VERSION, here, len(dataset))).encode(), digest_size=16)
    for array in (columns.paths, columns.path_ends, columns.sizes, factors):
        found.update(b"" if array is None else array.tobytes())
    return found.hexdigest()


def _start() -> int:
    """Return a number of this start of the machine; where that is unknown, of this process."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_bytes()
    except OSError:
        text = secrets.token_bytes()
    return int.from_bytes(hashlib.blake2b(text, digest_size=7).digest(), "little")


START = _start()
