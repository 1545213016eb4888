"""Training batches, which depend only on a seed and on the number of the iteration."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader

from ghostyolo.augment import Rng
from ghostyolo.augment import workers as processes
from ghostyolo.augment.cache import Cache, Fault, decoded
from ghostyolo.augment.mosaic import Picture, compose
from ghostyolo.augment.reduction import Scale
from ghostyolo.data.dataset import Dataset, Sample
from ghostyolo.data.header import Size
from ghostyolo.data.images import grey, to_planes
from ghostyolo.errors import DataError, OptionError, Span

logger = logging.getLogger(__name__)
Batch = tuple[torch.Tensor, torch.Tensor]
# (picture, function that returns another picture, (h, w), settings, rng) -> the changed picture,
# uint8 RGB (h, w, 3), and its truths, rows (k, columns)
Compose = Callable[[Picture, Callable[[], Picture], Size, Any, Rng], tuple[np.ndarray, np.ndarray]]

CACHE_BYTES = 512 * 2**20
# Of a larger set, the other pictures of a mosaic are those at the same place of that many earlier
# batches, so many pictures at least. Each picture is seen four times in the course of them, on
# average, where it else is in the course of an epoch. 8 batches of 4, a window of 32 pictures, were
# too few on BCCD, see docs/experiments.md: they lie within the memory of a momentum of .9.
RECENT_BATCHES, RECENT_PICTURES = 16, 1024
AHEAD = 2  # batches prepared in advance by each worker
ORDER, AUGMENT = 0, 1  # streams of random numbers
UNSHARED = (
    "shared memory (/dev/shm) has no room for the batches of the workers, %.0f MB each, so they "
    "take a slower way; enlarge it (docker run --shm-size=2g), or give fewer --workers"
)


class Batches:
    """The batches of a training run.

    Batch i does not depend on the order of requests, on the number of workers or on what is kept in
    memory: the order of epoch e is drawn from (seed, e), the augmentation of a picture from (seed,
    i, place in the batch). Each picture comes once in an epoch, and a batch may contain the end of
    one epoch and the start of the next. The further pictures of a mosaic or a mixup are drawn from
    the whole data set if its decoded pictures fit into `CACHE_BYTES`, else from the pictures at the
    same place of the `recent` batches before, which need not be decoded again. A picture that
    cannot be read is replaced by the next one of the data set, counted in its `defects` and logged
    once.

    settings: of the augmentation, or a function that returns them for an iteration. compose:
    augments a picture by them; that of `mosaic` is for detectors. batch: the batch size. size:
    (h, w) of the network's input, or a function that returns it for an iteration. workers: number
    of processes, each of one thread; 0 prepares batches when they are requested. cache_bytes: the
    size of decoded pictures to keep for the whole run, for all workers together (`CACHE_BYTES` if
    all fit into it, else 0). window_bytes: the size of those to keep for `recent` batches (as many
    as these have). recent: number of batches, 0 for the whole set (by the size of the set). shard:
    (rank, world_size) of a process of distributed training, for which each batch has only the
    rank-th of world_size equal parts; all parts together are the batch of a single process. levels:
    return images as uint8, to be divided by 255 on the GPU, which copies a quarter of the bytes.
    pin_memory: use pinned memory if there is a GPU. channels: of the network's input, 1 for shades
    of grey. factors: see `reduction`; None to decode every picture whole. disk:
    a file to keep all decoded pictures in, see `disk.reserved`.

    Raises OptionError for numbers out of range, DataError if no picture can be read.
    """

    def __init__(
        self,
        dataset: Dataset,
        settings: Any,
        batch: int,
        size: Size | Callable[[int], Size],
        seed: int = 0,
        workers: int = 0,
        cache_bytes: int | None = None,
        *,
        window_bytes: int | None = None,
        recent: int | None = None,
        shard: tuple[int, int] = (0, 1),
        levels: bool = False,
        pin_memory: bool = False,
        compose: Compose = compose,
        channels: int = 3,
        factors: np.ndarray | None = None,
        disk: Path | None = None,
    ) -> None:
        for name, value, least in (("batch", batch, 1), ("seed", seed, 0), ("workers", workers, 0)):
            if value < least:
                raise OptionError(f"{name}={value} is under {least}", hint=f"raise {name}")
        if not len(dataset):
            raise DataError("no picture", span=Span(dataset.path), hint="choose another split")
        self.dataset, self.settings, self.batch = dataset, settings, batch
        self.size, self.seed, self.workers, self.pin_memory = size, seed, workers, pin_memory
        places, dtype = _places(batch, shard), torch.uint8 if levels else torch.float32
        fits = int(decoded(dataset, factors).sum()) <= CACHE_BYTES
        if recent is None:
            recent = 0 if fits else max(RECENT_BATCHES, math.ceil(RECENT_PICTURES / batch))
        if cache_bytes is None:
            cache_bytes = CACHE_BYTES if fits else 0
        held = (recent + 1 + AHEAD * workers) * len(places) if recent else 0
        cache = Cache(dataset, cache_bytes, held, window_bytes, max(1, workers), factors, disk)
        self._told = False  # that shared memory is too small
        self._maker = _Maker(cache, batch, seed, places, recent, dtype, compose, channels)

    def batch_at(self, iteration: int) -> Batch:
        """Return batch number `iteration` (from 0).

        images: (B, C, h, w) float32 in [0, 1], contiguous. truths: float32, rows of the index in
        the batch and the row of `compose`; for detectors (M, 6): index, cx, cy, w, h relative to
        the input, class. B is the size of the shard's part, and indices are those in that part.
        """
        return self._checked(self._maker[self._task(iteration)])

    def paths(self, iteration: int) -> list[str]:
        """Return the paths of the pictures of a batch; for a mosaic, that of its first picture."""
        return [str(sample.path) for sample in self._maker.samples(iteration)]

    def iterate(self, start: int, stop: int) -> Iterator[Batch]:
        """Yield batches start, ..., stop - 1, prepared in advance by the workers.

        Closing the iterator ends the workers. Raises GhostyoloError if one of them is killed.
        """
        several = {}
        if self.workers:
            several = {"prefetch_factor": AHEAD, "multiprocessing_context": processes.START}
        loader = DataLoader(
            self._maker,
            batch_size=None,
            sampler=map(self._task, range(start, stop)),
            num_workers=self.workers,
            collate_fn=processes.unchanged,
            worker_init_fn=processes.begin,
            pin_memory=self.pin_memory and torch.cuda.is_available(),
            generator=torch.Generator(),  # the default would draw from the global generator
            **several,  # type: ignore[arg-type]
        )
        with closing(processes.outcomes(loader)) as found:
            for prepared in found:
                yield self._checked(prepared)

    def _task(self, iteration: int) -> _Task:
        size = self.size(iteration) if callable(self.size) else self.size
        settings = self.settings(iteration) if callable(self.settings) else self.settings
        return _Task(iteration, size, settings)

    def _checked(self, prepared: _Prepared) -> Batch:
        """Count the defects of a batch's pictures, and return the batch or raise its error."""
        for sample, defect, message in prepared.faults:
            self.dataset.add_defect(self.dataset.samples[sample].path, defect, message)
        if prepared.error:
            raise prepared.error
        images = prepared.images
        if isinstance(images, np.ndarray):
            images = torch.from_numpy(images)
            if not self._told:
                logger.warning(UNSHARED, images.nbytes / 1e6)
                self._told = True
        return images, torch.from_numpy(prepared.truths)


class _Task(NamedTuple):
    """The number of a batch, and its size and settings."""

    iteration: int
    size: Size
    settings: Any


class _Prepared(NamedTuple):
    """A batch from a worker, with the defects of its pictures, or the error that prevented it.

    images: an array if shared memory has no room for it, so that it comes through a pipe.
    """

    images: torch.Tensor | np.ndarray
    truths: np.ndarray
    faults: tuple[Fault, ...]
    error: DataError | None = None


@dataclass(eq=False)
class _Maker(torch.utils.data.Dataset[_Prepared]):
    """Makes batches; each worker has a copy. places: of a batch, those of the shard."""

    cache: Cache
    batch: int
    seed: int
    places: range
    recent: int
    dtype: torch.dtype
    compose: Compose
    channels: int

    def __getitem__(self, task: _Task) -> _Prepared:
        images: torch.Tensor | np.ndarray = np.empty(0)
        truths, error = np.empty((0, 6)), None
        try:
            images, truths = self._made(task)
            if torch.utils.data.get_worker_info():
                images = _shared(images)
        except DataError as stop:
            error = stop
        faults = tuple(self.cache.faults)
        self.cache.faults.clear()
        return _Prepared(images, truths, faults, error)

    def samples(self, iteration: int) -> list[Sample]:
        """Return the samples of a batch, before any mosaic or mixup."""
        samples = self.cache.dataset.samples
        return [samples[self._index(iteration, place)] for place in self.places]

    def _made(self, task: _Task) -> tuple[torch.Tensor, np.ndarray]:
        shape = (len(self.places), self.channels, *task.size)
        images, truths = torch.empty(shape, dtype=self.dtype), []
        planes = images.numpy()
        for slot, place in enumerate(self.places):
            changed, rows = self.cache.lending(partial(self._composed, task, place))
            to_planes(changed, out=planes[slot])
            truths.append(np.column_stack((np.full(len(rows), slot), rows)))
        return images, np.concatenate(truths).astype(np.float32)

    def _composed(self, task: _Task, place: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the changed picture at a place of a batch, and its truths."""
        rng = np.random.default_rng((self.seed, AUGMENT, task.iteration, place))
        first = self._at(task.iteration, place)
        partner = partial(next, self._partners(task.iteration, place, rng))
        return self.compose(first, partner, task.size, task.settings, rng)

    def _partners(self, iteration: int, place: int, rng: Rng) -> Iterator[Picture]:
        """Yield the further pictures of a mosaic: any, or those of recent batches at its place.

        Places belong to processes, so that all of these pictures have been read by this one. The
        first batches of a run take those of each other.
        """
        while not self.recent:
            yield self._picture(int(rng.integers(self.cache.count)))
        first = max(0, iteration - self.recent)
        while True:
            for step in rng.permutation(self.recent).tolist():
                yield self._at(first + step + (first + step >= iteration), place)

    def _at(self, iteration: int, place: int) -> Picture:
        """Return the picture at a place of a batch."""
        position = iteration * len(self.places) + place - self.places.start
        return self._picture(self._index(iteration, place), position)

    def _picture(self, index: int, position: int = 0) -> Picture:
        """Return a picture, or the next picture that can be read, with the boxes to train on."""
        index, image = self.cache.read(index, position)
        image = grey(image) if self.channels == 1 else image
        (boxes, classes), factor = self.cache.truths(index), self.cache.factor(index)
        if image.shape[:2] != self.cache.size(index):  # the label states a wrong size
            boxes = np.minimum(boxes, np.multiply(image.shape[1::-1] * 2, factor))
        return Picture(image, boxes, classes, Scale(factor, partial(self._finer, index)))

    def _finer(self, index: int, factor: int) -> np.ndarray | None:
        """Return a picture with its sides divided by less than in the cache."""
        image = self.cache.finer(index, factor)
        return grey(image) if image is not None and self.channels == 1 else image

    def _index(self, iteration: int, place: int) -> int:
        """Return the index of the sample at a place of a batch, before any mosaic or mixup."""
        count = self.cache.count
        epoch, step = divmod(iteration * self.batch + place, count)
        return int(_shuffled(self.seed, epoch, count)[step])


def _shared(images: torch.Tensor) -> torch.Tensor | np.ndarray:
    """Move a worker's images to shared memory; return them as an array if it has no room.

    torch would move them while it sends them, and on an error send nothing: the parent would wait
    for ever.
    """
    try:
        return images.share_memory_()
    except RuntimeError:
        return images.numpy()


@lru_cache(maxsize=4)
def _shuffled(seed: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng((seed, ORDER, epoch)).permutation(count)


def _places(batch: int, shard: tuple[int, int]) -> range:
    """Return the places of a shard's pictures in a batch."""
    rank, world = shard
    if not 0 <= rank < world:
        raise OptionError(f"shard={rank}, {world}", hint="give (rank, world_size), rank below it")
    if batch % world:
        message = f"batch={batch} does not divide among {world} processes"
        raise OptionError(message, hint=f"use a multiple of {world}")
    part = batch // world
    return range(rank * part, (rank + 1) * part)
