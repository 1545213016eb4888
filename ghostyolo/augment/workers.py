"""The worker processes of a loader: how they start, end, and die."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Generator, Iterator
from multiprocessing.connection import wait
from typing import Any, TypeVar

import cv2
from torch.utils.data import DataLoader

from ghostyolo.errors import GhostyoloError

T = TypeVar("T")
# Forked workers start at once and share the cache. Locks held by threads of torch or OpenCV do not
# matter, as workers use neither. Forking is not safe with the frameworks of macOS.
START = "fork" if sys.platform == "linux" else None


def outcomes(loader: DataLoader[T]) -> Generator[T, None, None]:
    """Yield the batches of the workers; end the workers at the end, on an error and on closing."""
    found: Any = _started(loader)
    try:
        yield from found
    except (RuntimeError, OSError, EOFError) as error:  # a worker may have been killed
        workers = found._workers if loader.num_workers else []
        if not workers or not wait([worker.sentinel for worker in workers], timeout=1):
            raise  # all workers are alive
        message = "a worker that prepares pictures was killed"
        hint = "if memory ran out, use fewer workers or a smaller batch"
        raise GhostyoloError(message, hint=hint) from error
    finally:
        if loader.num_workers:
            found._shutdown_workers()


def _started(loader: DataLoader[T]) -> Iterator[T]:
    """Start the workers.

    torch installs a signal handler that raises an error at any line of the main thread when a
    worker dies. Without it the error is raised where the next batch is awaited.
    """
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        return iter(loader)
    before = signal.getsignal(signal.SIGCHLD)
    outcomes = iter(loader)
    if before is not None:
        signal.signal(signal.SIGCHLD, before)
    return outcomes


def begin(_: int) -> None:
    """Use one thread, and ignore Ctrl-C: the parent may need another batch before it ends.

    torch's loader limits torch itself to one thread.
    """
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.excepthook = _print_unless_disconnected


def _print_unless_disconnected(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """Print an error, except that of the sending thread after the parent was interrupted.

    Errors in the making of batches are sent to the parent.
    """
    if not issubclass(kind, EOFError | ConnectionError):
        sys.__excepthook__(kind, error, trace)


def unchanged(value: T) -> T:
    """Return a worker's batch as it is, without collating it."""
    return value
