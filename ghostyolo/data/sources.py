"""What a data set is read from: every file and folder that readers look at is noted here.

While `noted` is active, the functions of this file note what they look at, with sizes and times, so
that `index` can tell later whether any of it has changed; warnings are noted too. Readers of data
sets look at the disk only through this file.
"""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

from ghostyolo import files
from ghostyolo.errors import DataError

T = TypeVar("T")
AnyPath = str | os.PathLike[str]
State = tuple[int, int]  # size in bytes, and time of the last change in ns
GONE = (-1, -1)  # of what is not there
TOLD = 1000
FOLDER = (-2, 0)  # of a folder whose entries were not listed; else with the time
OTHER = (-3, 0)  # of a device or a pipe


class Warned(NamedTuple):
    """A warning that was logged. once: only once in a process."""

    logger: str
    text: str
    once: bool


class Sources:
    """The states of what was looked at, by path, and the warnings that were logged.

    parsed: see `parse_once`. began: the time in ns. steady: whether all of it is files and folders,
    not pipes.
    """

    def __init__(self) -> None:
        self.states: dict[str, State] = {}
        self.warned: list[Warned] = []
        self.parsed: dict[Path, Any] = {}
        self.began, self.steady = time.time_ns(), True

    def see(self, path: AnyPath) -> State:
        """Note the state of a path, and return it.

        Of one that is not there the state of its folder is noted, which changes when it comes.
        """
        key = os.fspath(path)
        if key in self.states:
            return self.states[key]
        found = state(key)
        if found == GONE:
            self.list(os.path.dirname(key))
        else:
            self.states[key] = found
            self.steady &= found != OTHER
        return found

    def list(self, folder: AnyPath) -> None:
        """Note the state of a folder whose entries matter."""
        key = os.fspath(folder) or os.curdir
        if self.states.get(key, FOLDER) == FOLDER:
            self.states[key] = state(key, listed=True)


_active: ContextVar[Sources | None] = ContextVar("sources", default=None)
_said: set[str] = set()
# Gets the number of pictures read so far, and whether these are all.
OnRead = Callable[[int, bool], None]
_on_read: ContextVar[OnRead | None] = ContextVar("on_read", default=None)


@contextmanager
def noted() -> Iterator[Sources]:
    """Note what is looked at, and what is warned of."""
    sources = Sources()
    token = _active.set(sources)
    try:
        yield sources
    finally:
        _active.reset(token)


@contextmanager
def watched(on_read: OnRead) -> Iterator[None]:
    """Tell of every thousandth picture that is read."""
    token = _on_read.set(on_read)
    try:
        yield
    finally:
        _on_read.reset(token)


def tell_read(count: int, *, finished: bool = False) -> None:
    """Tell whoever watches how many pictures have been read."""
    if (on_read := _on_read.get()) and (finished or count % TOLD == 0):
        on_read(count, finished)


def warn(source: logging.Logger, message: str, *args: object, once: bool = False) -> None:
    """Log a warning about a data set. once: not again in this process, for another split."""
    warned = Warned(source.name, message % args, once)
    if sources := _active.get():
        sources.warned.append(warned)
    repeat(warned)


def repeat(warned: Warned) -> None:
    """Log a warning that was noted."""
    if not (warned.once and warned.text in _said):
        logging.getLogger(warned.logger).warning("%s", warned.text)
    if warned.once:
        _said.add(warned.text)


def state(path: str, *, listed: bool = False) -> State:
    """Return the state of a path now. listed: with the time of a folder, whose entries matter."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # a zero byte, or half of a character
        return GONE
    if stat.S_ISREG(found.st_mode):
        return found.st_size, found.st_mtime_ns
    if not stat.S_ISDIR(found.st_mode):
        return OTHER
    return (FOLDER[0], found.st_mtime_ns) if listed else FOLDER


def exists(path: AnyPath) -> bool:
    """Return whether there is something at a path."""
    return _seen(path) != GONE


def is_file(path: AnyPath) -> bool:
    """Return whether there is a file at a path."""
    return _seen(path)[0] >= 0


def is_folder(path: AnyPath) -> bool:
    """Return whether there is a folder at a path."""
    return _seen(path)[0] == FOLDER[0]


def entries(folder: AnyPath, pattern: str = "*") -> list[Path]:
    """Return what is in a folder and has a name of this pattern, sorted; [] if it is no folder."""
    if not is_folder(folder):
        return []
    _list(folder)
    names = os.listdir(folder)
    return [Path(folder, name) for name in sorted(names) if fnmatchcase(name, pattern)]


def below(folder: AnyPath) -> Iterator[str]:
    """Yield the files and folders below a folder, without what goes meanwhile."""
    for place, folders, names in os.walk(folder):
        _list(place)
        for name in (*folders, *names):
            yield os.path.join(place, name)


def opened(path: AnyPath) -> BinaryIO:
    """Open a file to read it, see `files.opened`."""
    _seen(path)
    return files.opened(path)


def read(path: AnyPath, most: int = files.MOST_BYTES) -> bytes:
    """Return the bytes of a file, see `files.read`."""
    _seen(path)
    return files.read(path, most)


def parse_once(path: Path, parse: Callable[[Path], T]) -> T:
    """Return `parse(path)` or raise its `DataError`, from before if it was parsed while noted."""
    sources = _active.get()
    if sources is None:
        return parse(path)
    if path not in sources.parsed:
        try:
            sources.parsed[path] = parse(path)
        except DataError as error:
            sources.parsed[path] = error
    found = sources.parsed[path]
    if isinstance(found, DataError):
        raise found
    return found


def _seen(path: AnyPath) -> State:
    sources = _active.get()
    return sources.see(path) if sources else state(os.fspath(path))


def _list(folder: AnyPath) -> None:
    if sources := _active.get():
        sources.list(folder)
