"""Training batches as a pure function of a seed and the number of the iteration."""

from __future__ import annotations

import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache, partial

import cv2
import numpy as np
import torch

from ghostyolo.data.augment import Augmentation
from ghostyolo.data.header import Size
from ghostyolo.data.images import read_image, to_planes
from ghostyolo.data.mosaic import Picture, compose
from ghostyolo.data.sample import Dataset, Sample
from ghostyolo.errors import DataError, OptionError, Span

Batch = tuple[torch.Tensor, torch.Tensor]

CACHE_BYTES = 512 * 2**20
AHEAD = 2  # batches under way for each worker
ORDER, CHANGE = 0, 1  # which stream of chance


class Batches:
    """The batches of a training run.

    Batch i is the same whoever asks for it, in whatever order and with however many workers: the
    order of epoch e comes from (seed, e), the changes to a picture from (seed, i, place in the
    batch). Pictures come once an epoch; a batch may straddle two; those that a mosaic or a mixup
    adds are drawn from all. A picture that cannot be read is replaced by the next of the data set,
    counted in its `defects` and warned of once.

    settings: how pictures are changed, or a function of the iteration that returns it.
    size: (h, w) of the network's input, or a function of the iteration that returns it.
    workers: threads (OpenCV and torch let others run); 0 prepares batches when they are asked for.
    cache_bytes: decoded pictures are kept up to this size.

    Raises OptionError for numbers that cannot be, DataError if no picture can be read.
    """

    def __init__(
        self,
        dataset: Dataset,
        settings: Augmentation | Callable[[int], Augmentation],
        batch: int,
        size: Size | Callable[[int], Size],
        seed: int = 0,
        workers: int = 0,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        for name, value, least in (("batch", batch, 1), ("seed", seed, 0), ("workers", workers, 0)):
            if value < least:
                raise OptionError(f"{name}={value} is under {least}", hint=f"raise {name}")
        if not len(dataset):
            raise DataError("no picture", span=Span(dataset.path), hint="choose another split")
        self.dataset, self.settings, self.batch = dataset, settings, batch
        self.size, self.seed, self.workers = size, seed, workers
        self._cache = _Cache(dataset, cache_bytes)
        self._order = lru_cache(maxsize=4)(self._shuffled)

    def batch_at(self, iteration: int) -> Batch:
        """Return batch number `iteration` (from 0).

        images: (B, 3, h, w) float32 in [0, 1], contiguous. truths: (M, 6) float32, each the index
        in the batch, cx, cy, w, h relative to the input, and the class.
        """
        size = h, w = self.size(iteration) if callable(self.size) else self.size
        settings = self.settings(iteration) if callable(self.settings) else self.settings
        images = np.empty((self.batch, 3, h, w), np.float32)
        truths = []
        for slot in range(self.batch):
            rng = np.random.default_rng((self.seed, CHANGE, iteration, slot))
            first = self._picture(self._index(iteration * self.batch + slot))
            partner = partial(self._partner, rng)
            changed, cxcywh, classes = compose(first, partner, size, settings, rng)
            to_planes(changed, out=images[slot])
            truths.append(np.column_stack((np.full(len(classes), slot), cxcywh, classes)))
        return torch.from_numpy(images), torch.from_numpy(np.concatenate(truths)).float()

    def iterate(self, start: int, stop: int) -> Iterator[Batch]:
        """Yield batches start, ..., stop - 1, prepared ahead by the workers."""
        if not self.workers:
            yield from map(self.batch_at, range(start, stop))
            return
        with _one_opencv_thread(), ThreadPoolExecutor(self.workers) as pool:
            under_way: deque[Future[Batch]] = deque()
            try:
                for iteration in range(start, stop):
                    under_way.append(pool.submit(self.batch_at, iteration))
                    if len(under_way) > AHEAD * self.workers:
                        yield under_way.popleft().result()
                while under_way:
                    yield under_way.popleft().result()
            finally:  # the caller may leave early
                pool.shutdown(wait=False, cancel_futures=True)

    def _partner(self, rng: np.random.Generator) -> Picture:
        return self._picture(int(rng.integers(len(self.dataset))))

    def _picture(self, index: int) -> Picture:
        """Return a picture, or the next that can be read, with the boxes to be learned."""
        sample, image = self._cache.read(index)
        trained = ~sample.ignore
        return Picture(image, sample.boxes_xyxy_px[trained], sample.classes[trained])

    def _index(self, position: int) -> int:
        """Return which sample stands at a position in the endless row of epochs."""
        epoch, place = divmod(position, len(self.dataset))
        return int(self._order(epoch)[place])

    def _shuffled(self, epoch: int) -> np.ndarray:
        rng = np.random.default_rng((self.seed, ORDER, epoch))
        return rng.permutation(len(self.dataset))


class _Cache:
    """Reads pictures, keeps the first that fit, and steps over those that cannot be read.

    Nothing is evicted: in epochs without replacement the oldest picture is the next to come.
    """

    def __init__(self, dataset: Dataset, room: int) -> None:
        self.dataset, self.room = dataset, room
        self.images: dict[int, np.ndarray] = {}
        self.reported: set[int] = set()
        self.lock = threading.Lock()

    def read(self, index: int) -> tuple[Sample, np.ndarray]:
        """Return a sample and its picture, or the next that can be read."""
        samples = self.dataset.samples
        for step in range(len(samples)):
            place = (index + step) % len(samples)
            image = self._image(place)
            if image is not None:
                return samples[place], image
        raise DataError(
            "no picture can be read", span=Span(self.dataset.path), hint="check the files"
        )

    def _image(self, index: int) -> np.ndarray | None:
        if index in self.images:
            return self.images[index]
        sample = self.dataset.samples[index]
        try:
            image = read_image(sample.path)
        except DataError as error:
            self._report(index, "unreadable picture", str(error))
            return None
        if image.shape[:2] != sample.size:
            (h, w), (own_h, own_w) = sample.size, image.shape[:2]
            message = f"{sample.path}: {own_w}x{own_h} pixels, but its label says {w}x{h}"
            self._report(index, "picture of another size than its label says", message)
        self._keep(index, image)
        return image

    def _keep(self, index: int, image: np.ndarray) -> None:
        with self.lock:
            if index not in self.images and image.nbytes <= self.room:
                self.room -= image.nbytes
                self.images[index] = image

    def _report(self, index: int, defect: str, message: str) -> None:
        """Count and warn of a picture once."""
        with self.lock:
            if index not in self.reported:
                self.reported.add(index)
                self.dataset.defects[defect] += 1
                warnings.warn(message, stacklevel=2)


@contextmanager
def _one_opencv_thread() -> Iterator[None]:
    """Keep OpenCV from starting threads of its own below ours."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(0)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
