"""A queue of pictures, computed in batches by one thread."""

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
    """The result for one picture, and the seconds in which its batch was computed."""

    result: Any
    seconds: float


class WaitingPicture(NamedTuple):
    """A picture in the queue, its options, and the future of its answer."""

    image: np.ndarray
    options: Any
    future: Future[Answer]


class Batcher:
    """Computes the pictures of the queue in order, up to `batch` at once.

    Pictures share a batch only if their options are equal. A picture is computed as soon as the
    thread is free: pictures that arrive while a batch is computed form the next batch.
    """

    def __init__(self, compute: Compute, batch: int) -> None:
        self.compute, self.batch = compute, batch
        self.ready = True  # whether pictures are accepted
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
            self._thread.submit(
                self._next
            )  # finds an empty queue if an earlier batch has taken the picture
        return picture.future

    def close(self) -> None:
        """Accept no more pictures; return when the queue is empty."""
        with self._lock:
            self.ready = False
        self._thread.shutdown()

    def _next(self) -> None:
        """Compute the next batch."""
        with self._lock:
            taken = self._take() if self._pictures else []
        self._compute([each for each in taken if each.future.set_running_or_notify_cancel()])

    def _take(self) -> list[WaitingPicture]:
        """Remove the first picture, and later ones that may share its batch, from the queue."""
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
        except Exception as error:  # these requests fail, others continue
            logging.getLogger("ghostyolo").exception("a batch failed")
            for picture in pictures:
                picture.future.set_exception(error)
            return
        seconds = time.perf_counter() - start
        for picture, result in zip(pictures, results, strict=True):
            picture.future.set_result(Answer(result, seconds))
