"""Read files whole, make folders, and replace files.

A crash or a full disk leaves the old file complete. Devices and pipes are not read as files.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

from ghostyolo.errors import OptionError, Span

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from pathlib import Path

# The version of JSON that commands and the server write, in its key "schema". It grows when a key
# goes or changes its meaning; keys may be added.
SCHEMA = 1
HINT = "give a file in a folder that can be written"
MOST_BYTES = 1 << 30  # of a file that is read whole
CHUNK = 1 << 22  # bytes that are read at once of a file that may be large
LOCK = ".lock"
WAIT, PAUSE = 10.0, 0.02  # seconds for another process that writes the same file
STREAMS = ("/dev/stdin", "/dev/fd/", "/proc/self/fd/")  # how a shell names an open stream
# What files begin with that are often named .weights or .cfg by mistake, and what to do.
SIGNATURES = {
    b"<!doctype": ("a web page", "download the file itself, not the page that links to it"),
    b"<html": ("a web page", "download the file itself, not the page that links to it"),
    b"version https://git-lfs": ("a pointer of Git LFS", "run git lfs pull where it was cloned"),
    b"pk\x03\x04": ("a zip archive, such as a PyTorch checkpoint", "unpack or convert it"),
    b"\x1f\x8b": ("compressed by gzip", "unpack it"),
    b"\x80\x02": ("a PyTorch checkpoint", "convert it with ghostyolo convert"),
    b"\x89hdf": ("an HDF5 file, as Keras writes", "convert it in the program that wrote it"),
    b"\xff\xfe": ("text in UTF-16", "save it as UTF-8"),
    b"\xfe\xff": ("text in UTF-16", "save it as UTF-8"),
    b"[net": ("a cfg", "give the weights in its place"),
}
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def opened(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file to read it. Raises OSError, also for a device or pipe that no shell has opened.

    Reading those may never end.
    """
    try:
        mode = os.stat(path).st_mode
    except ValueError:  # a zero byte, or half of a character
        raise OSError(errno.EINVAL, "no file can have this name") from None
    if not stat.S_ISREG(mode) and not str(path).startswith(STREAMS):
        reason = "is a folder" if stat.S_ISDIR(mode) else "is a device or pipe, not a file"
        raise OSError(errno.EINVAL, reason)
    return open(path, "rb")


def read(path: str | os.PathLike[str], most: int = MOST_BYTES) -> bytes:
    """Return the bytes of a file. Raises OSError as `opened`, and for more than `most` bytes."""
    with opened(path) as file:
        step = os.fstat(file.fileno()).st_size + CHUNK  # reading allocates it; a stream has no size
        chunks, left = [], most + 1
        while left and (chunk := file.read(min(step, left))):
            chunks.append(chunk)
            left -= len(chunk)
    if not left:
        raise OSError(errno.EFBIG, f"has more than {most:,} bytes")
    return b"".join(chunks)


def digest(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file, in hexadecimal. Raises OSError as `opened`."""
    import hashlib  # takes time that writing a cfg does not need

    found = hashlib.sha256()
    with opened(path) as file:
        while chunk := file.read(CHUNK):
            found.update(chunk)
    return found.hexdigest()


def foreign(start: bytes) -> tuple[str, str]:
    """Return what the first bytes of a file show it to be, and what to do; "" if nothing known."""
    begin = start.lstrip(b"\xef\xbb\xbf \t\r\n")[:32].lower()
    return next((found for mark, found in SIGNATURES.items() if begin.startswith(mark)), ("", ""))


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Create a folder if it does not exist, and return it. Raises `OptionError` if that fails."""
    from pathlib import Path  # takes time that writing a cfg does not need

    folder = Path(path)
    with _made(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def make_folder_of(path: str | os.PathLike[str]) -> None:
    """Create the folder of a file that will be written, if it does not exist.

    Raises `OptionError` if that fails, or if the path is that of a folder.
    """
    make_folder(os.path.dirname(path))
    if os.path.isdir(path):
        raise OptionError("it is a folder", span=Span(str(path)), hint="give the path of a file")


def make_new_folder(path: str | os.PathLike[str]) -> Path:
    """Create the folder `path`, or if it exists `path`-2, -3 ..., and return the created one.

    Two processes that call it at once get two folders. Raises `OptionError` if it cannot be made.
    """
    parent, name = os.path.split(os.path.normpath(path))
    folder, number = make_folder(parent) / name, 1
    while True:
        with _made(folder), suppress(FileExistsError):
            folder.mkdir()
            return folder
        number += 1
        folder = folder.with_name(f"{name}-{number}")


def make_empty_folder(path: str | os.PathLike[str]) -> Path:
    """Create a folder if it does not exist, and return it. Raises `OptionError` if it has files."""
    folder = make_folder(path)
    if any(folder.iterdir()):
        hint = "give a new or empty folder"
        raise OptionError("there are files in it", span=Span(str(path)), hint=hint)
    return folder


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Raise `OptionError` if the folder cannot be made."""
    try:
        yield
    except OSError as error:
        message, hint = f"cannot make it: {error.strerror}", "give a folder that can be written"
        raise OptionError(message, span=Span(str(folder)), hint=hint) from None


def cache_folder() -> Path:
    """Return the folder of ghostyolo's caches, which may not exist.

    Source: XDG Base Directory Specification 0.8.
    """
    from pathlib import Path

    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "ghostyolo")


def least_recent(folder: Path, pattern: str, most: int, kept: Path) -> list[Path]:
    """Return the least recently used files of a cache, without which it has `most` bytes.

    kept: a file that is not among them.
    """
    found = []
    for path in folder.glob(pattern):
        with suppress(OSError):  # another process has deleted it
            found.append((path.stat().st_mtime, path.stat().st_size, path))
    total, spare = 0, []
    for _, size, path in sorted(found, reverse=True):
        total += size
        if total > most and path != kept:
            spare.append(path)
    return spare


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`, and rename it to `path` once it is complete on disk.

    If `path` is a symbolic link, the linked file is replaced. The new file keeps the permissions of
    the old one. Another process that writes the same file waits until this one has renamed it.
    Raises `OptionError` if the file cannot be written.
    """
    target = os.path.realpath(path)
    beside = f"{target}.part"
    try:
        with _alone(beside, WAIT) as file:
            try:
                yield file
                file.flush()
                os.fsync(file.fileno())
                if os.path.exists(target):
                    os.chmod(beside, os.stat(target).st_mode & 0o7777)
                if fcntl is None:  # Windows renames no open file
                    file.close()
                os.replace(beside, target)
            except BaseException:
                with suppress(OSError):
                    os.unlink(beside)
                raise
    except OSError as error:
        raise _cannot_write(path, error) from None


@contextmanager
def appending(path: str | os.PathLike[str]) -> Iterator[Callable[[bytes], None]]:
    """Yield a function that appends to a file beside `path`, which is renamed to it at the end.

    Unlike `writing`, it is also renamed after an error elsewhere, such as Ctrl-C: the file has what
    was appended until then. Raises `OptionError` if the file cannot be written, which is gone then;
    inside the block, the function raises OSError.
    """
    failed = list[OSError]()
    with ExitStack() as stack:
        file = stack.enter_context(writing(path))

        def append(data: bytes) -> None:
            if failed:  # what was not told: an error that followed hid it
                raise failed[0]
            try:
                file.write(data)
                file.flush()
            except OSError as error:
                failed.append(error)
                raise

        try:
            yield append
        except BaseException:
            if not failed:
                stack.close()
                raise
        if failed:
            raise failed[0]  # `writing` drops the file and names it


@contextmanager
def locked(path: str | os.PathLike[str]) -> Iterator[None]:
    """Keep other processes, and other threads of this one, from entering a context of this path.

    The lock is on the file `path`.lock, or .lock in a folder, and ends with the process, however
    that ends.
    Raises `OptionError` if another holds it, or if the file cannot be written.
    """
    target = os.path.realpath(path)
    beside = os.path.join(target, LOCK) if os.path.isdir(target) else f"{target}{LOCK}"
    try:
        file = _alone(beside, 0)
    except OSError as error:
        raise _cannot_write(path, error) from None
    with file:
        _LOCKS.add(file)
        try:
            yield
        finally:
            _LOCKS.remove(file)
            with suppress(OSError):
                os.unlink(beside)


def _alone(path: str, seconds: float) -> BinaryIO:
    """Open an empty file to write it, which nobody else has open by this function.

    seconds: to wait for others to close it; BlockingIOError is raised then. Nothing is locked on
    Windows, which renames no open file, and on file systems without locks.
    """
    end = time.monotonic() + seconds
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "wb")
        free = _lock(file)
        with suppress(FileNotFoundError):  # its holder has just renamed or deleted it
            if free and os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                file.truncate()
                return file
        file.close()
        if not free and time.monotonic() > end:
            raise BlockingIOError(errno.EAGAIN, "another process writes it")
        time.sleep(PAUSE)


def _lock(file: BinaryIO) -> bool:
    """Lock an open file where that is possible; return whether nobody else has locked it."""
    try:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # the file system has no locks
        return True
    return True


_LOCKS: set[BinaryIO] = set()  # that this process holds


def _leave_locks() -> None:
    """Close the locks of the parent in a forked process, which may live longer."""
    for file in _LOCKS:
        file.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_locks)


def _cannot_write(path: str | os.PathLike[str], error: OSError) -> OptionError:
    hint = "free some space" if error.errno in FULL else HINT
    if isinstance(error, BlockingIOError):
        hint = "wait until it has ended, or give another path"
    return OptionError(f"cannot write: {error.strerror}", span=Span(str(path)), hint=hint)


def replace(path: str | os.PathLike[str], chunks: Iterable[bytes | memoryview]) -> None:
    """Replace a file by chunks, completely or not at all. Raises `OptionError` if that fails."""
    with writing(path) as file:
        file.writelines(chunks)
