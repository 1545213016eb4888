"""The index of a data set: what was read of it, in one file that processes map into memory.

Files are in the folder ghostyolo/data-sets of the user's cache, one for each split that was opened,
named by a hash of what was asked for and of the code that reads. An index counts only as long as
all that its data set was read from is unchanged, see `sources`; then opening train2017 takes a
second instead of twenty, and processes share 40 MB instead of having them each. Above `MOST_BYTES`
in all, the least recently used files are deleted.
"""

from __future__ import annotations

import gc
import hashlib
import json
import logging
import mmap
import os
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ghostyolo import files
from ghostyolo.data import sources
from ghostyolo.data.columns import Columns, joined, split
from ghostyolo.data.dataset import Dataset, Samples
from ghostyolo.data.sources import Sources, Warned
from ghostyolo.errors import DataError, OptionError, Span

LEAST = 1000  # pictures; fewer are read in about a second
MOST_BYTES = 2 << 30
MAGIC = b"ghostyolo index of a data set, version 1\n"
LENGTH = 8  # bytes of the length of the header, which follows
ALIGNED = 64  # arrays begin at multiples of so many bytes
UNSETTLED_NS = 2_000_000_000  # what changed so shortly before it was read may change unnoticed

logger = logging.getLogger(__name__)


class Content(NamedTuple):
    """What an index file holds: all but the arrays, see `_header`, and the arrays by name."""

    header: dict[str, Any]
    arrays: dict[str, np.ndarray]


def opened(read: Callable[[], Dataset], *asked: object, no_cache: bool = False) -> Dataset:
    """Return `read()`, or the same from its index if nothing has changed since it was written.

    asked: the arguments of `read`. no_cache: neither use nor write an index.
    """
    path = _path(asked)
    if not no_cache and (found := _unchanged(path)):
        return found
    with sources.noted() as seen, _collector_paused():
        dataset = read()
    return dataset if no_cache or len(dataset) < LEAST else _kept(path, dataset, seen)


def _path(asked: object) -> Path:
    """Return the path of the index of what is asked for."""
    here = ""
    with suppress(OSError):  # it has been deleted
        here = os.getcwd()
    text = repr((here, asked, _code_version()))
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16)
    return files.cache_folder() / "data-sets" / f"{digest.hexdigest()}.index"


@cache
def _code_version() -> str:
    """Return the sizes and times of the files of this folder."""
    code = sorted(Path(__file__).parent.rglob("*.py"))
    return " ".join(f"{file.stat().st_size}:{file.stat().st_mtime_ns}" for file in code)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Collect no garbage, for which every one of millions of new objects would be visited."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _unchanged(path: Path) -> Dataset | None:
    """Return the data set of an index, and log its warnings; None if it cannot be used."""
    try:
        found = _load(path)
        states = map(tuple, found.arrays["states"].tolist())
        paths = split(found.arrays["state_paths"], found.arrays["state_ends"])
        for name, state in zip(map(os.fsdecode, paths), states, strict=True):
            if sources.state(name, listed=state != sources.FOLDER) != state:
                logger.info("%s: has changed, so its data set is read anew", name)
                return None
        dataset = _dataset(path, found)
        warned = [Warned(*each) for each in found.header["warned"]]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        logger.info("%s: cannot be used as an index (%s): the data set is read anew", path, error)
        return None
    with suppress(OSError):  # another user owns the file
        os.utime(path)
    for each in warned:
        sources.repeat(each)
    logger.info("%s: read from its index, %s", dataset.path, path)
    return dataset


def _kept(path: Path, dataset: Dataset, seen: Sources) -> Dataset:
    """Write the index of a data set, and return the data set as it is in the file.

    Returns it as it is in memory where that is impossible, which is logged.
    """
    latest = max((time for _, time in seen.states.values()), default=0)
    if not seen.steady or latest > seen.began - UNSETTLED_NS:
        why = "has only just changed" if seen.steady else "is read from a pipe"
        logger.info("%s: %s, so no index is written", dataset.path, why)
        return dataset
    try:
        files.make_folder(path.parent)
        _write(path, Content(_header(dataset, seen), _arrays(dataset, seen)))
        found = _load(path)
    except (OptionError, OSError, ValueError) as error:
        _warn_once(str(error))
        return dataset
    for old in files.least_recent(path.parent, "*.index", MOST_BYTES, kept=path):
        old.unlink(missing_ok=True)
    size = path.stat().st_size / 1e6
    logger.info("%s: its index for the next time is %s, %.0f MB", dataset.path, path, size)
    return _dataset(path, found)


@cache
def _warn_once(why: str) -> None:
    message = "%s: no index of the data set can be kept, so it is read anew each time; "
    logger.warning(message + "set XDG_CACHE_HOME, or give --no-cache", why)


def _header(dataset: Dataset, seen: Sources) -> dict[str, Any]:
    fields = ("names", "split", "path", "defects", "outside", "places")
    return {
        "dataset": {name: getattr(dataset, name) for name in fields},
        "picture_defects": sorted(dataset.picture_defects),
        "warned": seen.warned,
        "token": secrets.token_hex(8),
    }


def _arrays(dataset: Dataset, seen: Sources) -> dict[str, np.ndarray]:
    paths, ends = joined([os.fsencode(path) for path in seen.states])
    states = np.array(list(seen.states.values()), np.int64).reshape(-1, 2)
    own = {"state_paths": paths, "state_ends": ends, "states": states}
    return {**dataset.columns._asdict(), **own}


def _dataset(path: Path, found: Content) -> Dataset:
    stored, token = found.header["dataset"], found.header["token"]
    columns = Columns(*(found.arrays[name] for name in Columns._fields))
    return Dataset(
        names=tuple(stored["names"]),
        samples=Samples(columns, origin=(restored, str(path), token)),
        split=stored["split"],
        path=stored["path"],
        defects=Counter(stored["defects"]),
        picture_defects={(place, defect) for place, defect in found.header["picture_defects"]},
        outside=tuple(stored["outside"]),
        places=stored["places"],
    )


def restored(path: str, token: str) -> Columns:
    """Return the columns of an index for another process. Raises DataError if it was replaced."""
    try:
        found = _load(Path(path))
        if found.header["token"] == token:
            return Columns(*(found.arrays[name] for name in Columns._fields))
    except (OSError, ValueError, KeyError):
        pass
    hint = "start again"
    raise DataError("the index was replaced or deleted meanwhile", span=Span(path), hint=hint)


def _write(path: Path, content: Content) -> None:
    """Write a file: `MAGIC`, the length of the header, the header as JSON, and the arrays."""
    places, place = {}, 0
    for name, array in content.arrays.items():
        places[name] = (array.dtype.str, array.shape, place)
        place += -(-array.nbytes // ALIGNED) * ALIGNED
    header = json.dumps({**content.header, "arrays": places, "length": place}).encode()
    begin = len(MAGIC) + LENGTH + len(header)
    header += b" " * (-begin % ALIGNED)
    with files.writing(path) as file:
        file.write(MAGIC + len(header).to_bytes(LENGTH, "little") + header)
        for array in content.arrays.values():
            file.write(array.tobytes())
            file.write(bytes(-array.nbytes % ALIGNED))


def _load(path: Path) -> Content:
    """Map a file into memory. Raises OSError, ValueError or KeyError if it is damaged."""
    with open(path, "rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise ValueError("it begins otherwise")
        length = int.from_bytes(file.read(LENGTH), "little")
        begin = len(MAGIC) + LENGTH + length
        if begin > os.fstat(file.fileno()).st_size:
            raise ValueError("it is truncated")
        header = json.loads(file.read(length))
        if begin + header["length"] != os.fstat(file.fileno()).st_size:
            raise ValueError("it is truncated")
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    return Content(header, _mapped(memory, begin, header["arrays"]))


def _mapped(memory: mmap.mmap, begin: int, places: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the arrays in a file; what is changed in them is changed for this process only."""
    arrays = {}
    for name, (dtype, shape, place) in places.items():
        count = int(np.prod(shape, dtype=np.int64))
        arrays[name] = np.frombuffer(memory, dtype, count, begin + place).reshape(shape)
    return arrays
