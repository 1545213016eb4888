"""Pictures that wait for the network, computed in batches by one thread."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

Compute = Callable[[Sequence[np.ndarray], Any], Sequence[Any]]  # pictures, options -> results


class Answer(NamedTuple):
    """The result for one picture, and the seconds that its batch took."""

    result: Any
    seconds: float


class WaitingPicture(NamedTuple):
    """A picture that waits, what is asked of it, and its answer to come."""

    image: np.ndarray
    options: Any
    future: Future[Answer]


class Batcher:
    """Computes the pictures that wait, up to `batch` at once, in the order in which they came.

    Pictures share a batch only if their options are equal. A single picture does not wait for
    others: under load, those that come while a batch is computed make up the next.
    """

    def __init__(self, compute: Compute, batch: int) -> None:
        self.compute, self.batch = compute, batch
        self.ready = True  # whether pictures are taken and computed
        self._pictures: deque[WaitingPicture] = deque()
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, "compute")

    def submit(self, image: np.ndarray, options: Any) -> Future[Answer]:
        """Put a picture, uint8 RGB (H, W, 3), in the queue. Raises `RuntimeError` once closed."""
        picture = WaitingPicture(image, options, Future())
        with self._lock:
            if not self.ready:
                raise RuntimeError("the batcher is closed")
            self._pictures.append(picture)
            self._thread.submit(self._next)  # finds nothing where an earlier batch has taken it
        return picture.future

    def close(self) -> None:
        """Take no more pictures; return when those that wait are done."""
        with self._lock:
            self.ready = False
        self._thread.shutdown()

    def _next(self) -> None:
        """Compute the next batch."""
        with self._lock:
            taken = self._take() if self._pictures else []
        self._compute([each for each in taken if each.future.set_running_or_notify_cancel()])

    def _take(self) -> list[WaitingPicture]:
        """Remove and return the first picture and those after it that may share its batch."""
        options, taken = self._pictures[0].options, list[WaitingPicture]()
        left = deque[WaitingPicture]()
        for picture in self._pictures:
            fits = picture.options == options and len(taken) < self.batch
            (taken if fits else left).append(picture)
        self._pictures = left
        return taken

    def _compute(self, pictures: list[WaitingPicture]) -> None:
        if not pictures:
            return
        start = time.perf_counter()
        try:
            results = self.compute([each.image for each in pictures], pictures[0].options)
        except Exception as error:  # it is the answer to these requests; others go on
            logging.getLogger("ghostyolo").exception("a batch failed")
            for picture in pictures:
                picture.future.set_exception(error)
            return
        seconds = time.perf_counter() - start
        for picture, result in zip(pictures, results, strict=True):
            picture.future.set_result(Answer(result, seconds))
