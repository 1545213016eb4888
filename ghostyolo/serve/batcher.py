"""Pictures that wait for the network, computed together: one thread, one batch after the other."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import NamedTuple

import numpy as np

from ghostyolo.boxes import Detections


class Choice(NamedTuple):
    """What a request asks of detection: the least score, the overlap that suppresses."""

    thresh: float
    nms: float


class Answer(NamedTuple):
    """What was found in one picture, and the seconds that its batch took."""

    detections: Detections
    took: float


class Job(NamedTuple):
    """A picture that waits, and its answer to come."""

    image: np.ndarray
    choice: Choice
    future: Future[Answer]


Detect = Callable[[Sequence[np.ndarray], Choice], Sequence[Detections]]


class Batcher:
    """Detects in what waits, up to `batch` pictures at once, in the order in which they came.

    Pictures share a batch only if their choices are equal. A lone picture does not wait for others:
    under load, those that come while a batch is computed make up the next.
    """

    def __init__(self, detect: Detect, batch: int) -> None:
        self.detect, self.batch = detect, batch
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="detect", daemon=True)
        self._thread.start()

    def submit(self, image: np.ndarray, choice: Choice) -> Future[Answer]:
        """Put a picture, uint8 RGB (H, W, 3), in the queue. Raises `RuntimeError` once closed."""
        job = Job(image, choice, Future())
        with self._changed:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            self._jobs.append(job)
            self._changed.notify()
        return job.future

    @property
    def waiting(self) -> int:
        """Return how many pictures wait for a batch."""
        return len(self._jobs)

    @property
    def ready(self) -> bool:
        """Return whether pictures are taken and computed."""
        return self._thread.is_alive() and not self._closed

    def close(self) -> None:
        """Take no more pictures; return when those that wait are done."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._closed)
                if not self._jobs:
                    return
                jobs = self._take()
            self._compute([job for job in jobs if job.future.set_running_or_notify_cancel()])

    def _take(self) -> list[Job]:
        """Remove and return the first job and those after it that may share its batch."""
        choice, taken, left = self._jobs[0].choice, list[Job](), deque[Job]()
        for job in self._jobs:
            fits = job.choice == choice and len(taken) < self.batch
            (taken if fits else left).append(job)
        self._jobs = left
        return taken

    def _compute(self, jobs: list[Job]) -> None:
        if not jobs:
            return
        start = time.perf_counter()
        try:
            found = self.detect([job.image for job in jobs], jobs[0].choice)
        except Exception as error:  # it is the answer to these requests; others go on
            logging.getLogger("ghostyolo").exception("detection failed")
            for job in jobs:
                job.future.set_exception(error)
            return
        took = time.perf_counter() - start
        for job, detections in zip(jobs, found, strict=True):
            job.future.set_result(Answer(detections, took))
