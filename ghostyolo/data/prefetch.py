"""Prefetching: threads make the next items while the caller uses the present one.

Decoding, encoding and drawing pictures release the GIL, so threads are enough. Every queue is
bounded.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def mapped(
    function: Callable[[A], B], items: Iterable[A], *, workers: int, ahead: int
) -> Generator[B, None, None]:
    """Yield function(item) in the order of the items, computed by threads in advance.

    ahead: how many items are submitted beyond the one that is awaited. The caller's thread iterates
    over the items. An error, of the function or of the iteration, is raised where its item would
    be yielded.
    """
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[B]] = deque()
        source = iter(items)
        try:
            while True:
                try:
                    waiting.append(pool.submit(function, next(source)))
                except StopIteration:
                    break
                except BaseException as error:  # Ctrl-C too comes after the items before it
                    waiting.append(Future())
                    waiting[-1].set_exception(error)
                    break
                while len(waiting) > ahead or (waiting and waiting[0].done()):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
            close(source)


def ahead(items: Iterable[A], depth: int, *, newest: bool = False) -> Generator[A, None, None]:
    """Yield the items; a thread iterates over them, up to `depth` items in advance.

    newest: if the caller is too slow, drop the oldest items in the queue rather than block, for a
    camera. An error in the iteration is raised after the items before it.
    """
    waiting: queue.Queue[tuple[A | None, BaseException | None]] = queue.Queue(depth)
    stopped = threading.Event()
    thread = threading.Thread(target=_fill, args=(items, waiting, stopped, newest), daemon=True)
    thread.start()
    try:
        while True:
            item, error = waiting.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]
    finally:
        stopped.set()
        while thread.is_alive():  # it may be waiting for room in the queue
            _drop(waiting)
            thread.join(0.05)


def close(items: Iterable[object]) -> None:
    """End a generator now, in this thread: who collects it later may be one of its own threads."""
    if hasattr(items, "close"):
        items.close()


def batches(items: Iterable[A], count: int) -> Iterator[list[A]]:
    """Yield lists of `count` items; the last one may be shorter."""
    rest = iter(items)
    while some := list(islice(rest, count)):
        yield some


def _fill(items: Iterable[A], waiting: queue.Queue, stopped: threading.Event, newest: bool) -> None:
    end: BaseException = StopIteration()
    try:
        for item in items:
            if newest and waiting.full():
                _drop(waiting)
            waiting.put((item, None))
            if stopped.is_set():
                break
    except Exception as error:
        end = error
    finally:
        close(items)
        waiting.put((None, end))


def _drop(waiting: queue.Queue) -> None:
    try:
        waiting.get_nowait()
    except queue.Empty:
        return
