"""Detection in pictures and videos, with all output files; classification of pictures.

Pictures are read ahead, computed in batches, and drawn and written in threads. Several processes
share the sources; rank 0 writes the files that belong to all sources.
"""

from __future__ import annotations

import heapq
import json
import logging
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ghostyolo.data.images import write_image
from ghostyolo.data.prefetch import ahead, mapped
from ghostyolo.distributed import World
from ghostyolo.drawing import draw
from ghostyolo.errors import DataError, GhostyoloError, counted
from ghostyolo.inference.timer import Timer
from ghostyolo.model.detections import Detections, in_words
from ghostyolo.model.detector import Detector
from ghostyolo.model.out_of_memory import told
from ghostyolo.prediction import writers
from ghostyolo.prediction.outputs import Outputs
from ghostyolo.prediction.predict import (
    Compute,
    Prediction,
    Prepared,
    Row,
    classified,
    detect_inputs,
    detected,
    detector_input,
    picture_row,
    predict_files,
    predict_images,
    whole,
)
from ghostyolo.prediction.sources import Frames, Sources, Stream
from ghostyolo.prediction.video import VideoWriter
from ghostyolo.prediction.writers import AddRow

AddIndexed = Callable[[int, Row], object]  # takes the index of the source among all, and a row
Watch = Callable[[Iterator[Any], int, str], Iterable[Any]]  # takes items, their number and unit
Show = Callable[[np.ndarray, bool], bool]  # see `video.window`
WRITERS, AHEAD = 2, 4  # threads that draw and encode; pictures that wait for them

logger = logging.getLogger(__name__)


class Done(NamedTuple):
    """What a job has done.

    pictures: number of pictures and frames. detections: in all of them. failed: number of sources
    that cannot be read. seconds: by phase, see `predict_images`; they add up to the whole time.
    """

    pictures: int
    detections: int
    failed: int
    seconds: dict[str, float]


@dataclass
class DetectionJob:
    """Detection in sources.

    names: of the classes; a class without a name is shown by its number. batch: batch size, 1 for
    live streams. limit: the most pictures, and the most frames of each stream. stdin: the stream
    that the source - is read from. show: shows each annotated picture. on_row: called with the row
    of each picture and frame, in the order of the sources. on_source: called with a line about each
    finished source. watch: passes items on and shows progress.
    `folder` is that of the annotated pictures, None if there is none.
    Raises `OptionError` if a folder of the outputs has files or cannot be made.
    """

    detector: Detector
    sources: Sources
    outputs: Outputs
    names: Sequence[str] = ()
    batch: int = 1
    limit: int | None = None
    world: World = World()  # noqa: RUF009 (a value)
    stdin: BinaryIO | None = None
    show: Show | None = None
    on_row: AddRow = lambda row: None
    on_source: Callable[[str], object] = lambda line: None
    watch: Watch = lambda items, total, unit: items

    def __post_init__(self) -> None:
        made = self.outputs.make_folders() if self.world.first else None
        (self.folder, labels), *_ = self.world.gather(made)
        self.failed, paths = 0, partial(writers.output_paths, self.sources)
        self.annotated = paths(self.folder) if self.folder else dict[str, Path]()
        self.labels = paths(labels, ".txt") if labels else dict[str, Path]()
        self.timer, self._keep = Timer({}), bool(self.annotated or self.show)
        prepare = whole if self.detector.tiles else partial(detector_input, self.detector)
        self._prepare = partial(prepare, keep=self._keep)

    def run(self) -> Done:
        """Detect in all sources and write the files, row by row.

        A source that cannot be read is logged as a warning. After an error or Ctrl-C the files hold
        the pictures before it.
        """
        try:
            return self._run()
        finally:
            if self.folder and self.outputs.numbered and self.world.first:
                with suppress(OSError):  # it is not empty
                    self.folder.rmdir()

    def _run(self) -> Done:
        world, found = self.world, Counter[str]()
        rows = self._of_all_ranks() if world.size > 1 else None
        outputs = self.outputs if world.first else Outputs()  # writes nothing
        with outputs.writing(self.folder, self.names, self.detector.classes) as write:

            def add(row: Row) -> None:
                found.update(pictures=1, detections=len(row["detections"]))
                write(row)
                self.on_row(row)

            if rows is None:
                self._detect(lambda index, row: add(row))
            elif world.first:
                for row in rows:
                    add(row)
        failed = sum(world.gather(self.failed))  # all wait until rank 0 has written
        return Done(found["pictures"], found["detections"], failed, self.timer.seconds)

    def _of_all_ranks(self) -> Iterator[Row]:
        """Detect, and return the rows of all ranks in the order of the sources."""
        own = list[tuple[int, str]]()  # as text, which takes a tenth of the memory
        self._detect(lambda index, row: own.append((index, json.dumps(row))))
        parts = self.world.gather(own)
        return (json.loads(text) for _, text in heapq.merge(*parts, key=itemgetter(0)))

    def _detect(self, add: AddIndexed) -> None:
        """Detect in the sources of this process; pass the index of the source and the row on."""
        self.timer = Timer({})
        with told(batch=self.batch, size=self.detector.options.size):
            self._pictures(add)
            self._streams(add)

    def _compute(self, inputs: list[Any]) -> list[Detections]:
        if self.detector.tiles:
            return self.detector(inputs)
        return detect_inputs(self.detector, self.timer, inputs)

    def _pictures(self, add: AddIndexed) -> None:
        """Detect in the pictures of this process."""
        rank, size = self.world.rank, self.world.size
        own = self.sources.pictures[: self.limit][rank::size]
        found = predict_files(
            self._compute, own, batch=self.batch, stdin=self.stdin if own else None,
            prepare=self._prepare, timer=self.timer,
        )  # fmt: skip
        done = mapped(self._write, found, workers=WRITERS, ahead=AHEAD)
        for number, item in enumerate(self.watch(done, len(own), "picture")):
            if isinstance(item, DataError):
                self._fail(item)
                continue
            prediction, drawn, row, error = item
            add(number * size + rank, row)
            if error:
                self._fail(error)
            elif target := self.annotated.get(prediction.source):
                words = in_words(prediction.result, self.names)
                self.on_source(f"{prediction.source}: {words} -> {target}")
            if self.show and not self.show(drawn, True):
                break

    def _streams(self, add: AddIndexed) -> None:
        """Detect in the streams of this process; log those that cannot be opened."""
        start = len(self.sources.pictures)
        for number, stream in enumerate(self.sources.streams):
            if number % self.world.size == self.world.rank:
                try:
                    self._stream(stream, partial(add, start + number))
                except GhostyoloError as error:
                    self._fail(error)

    def _stream(self, stream: Stream, add: AddRow) -> None:
        """Detect in a video, or in a live stream until it ends or Ctrl-C."""
        frames = stream.open()
        target = self.annotated.get(stream.name)
        video = VideoWriter(target, frames.fps) if target else None
        count = self._follow(frames, video, add)
        if target:
            self.on_source(f"{stream.name}: {counted(count, 'frame')} -> {target}")

    def _follow(self, frames: Frames, video: VideoWriter | None, add: AddRow) -> int:
        """Add the rows of a stream, and its annotated frames to a video; return their number."""
        done = self._frames(frames, 1 if frames.live else self.batch, video)
        interrupted = (KeyboardInterrupt,) if frames.live else ()
        total, count = min(frames.total, self.limit or frames.total), 0
        try:
            with suppress(*interrupted):
                for _, drawn, row, error in self.watch(done, total, "frame"):
                    add(row)
                    count += 1
                    if error:
                        raise error
                    if self.show and not self.show(drawn, False):
                        break
        finally:
            done.close()
            if video:
                video.close()
        return count

    def _frames(
        self, frames: Frames, batch: int, video: VideoWriter | None
    ) -> Generator[Any, None, None]:
        """Yield what `_write` returns for each frame of an open stream, once it is in the video."""
        images = ahead(self._read(frames), 2 * batch, newest=frames.live)
        found = predict_images(self._compute, images, batch, self.timer)
        drawn = mapped(self._write, found, workers=WRITERS, ahead=AHEAD)
        return mapped(partial(_append, video), drawn, workers=1, ahead=AHEAD)

    def _read(self, frames: Frames) -> Iterator[Prepared]:
        """Yield the frames of an open stream, and close it at the end."""
        frames.reuse = not self._keep
        try:
            yield from map(self._prepare, islice(frames, self.limit))
        finally:
            frames.close()

    def _write(self, item: Prediction | DataError) -> Any:
        """Write the files of one picture, in a thread.

        Returns its prediction, the annotated picture, None if it is not needed, its row, and the
        error if a file cannot be written, else None.
        """
        if isinstance(item, DataError):
            return item
        drawn = None if item.image is None else draw(item.image, item.result, self.names)
        row = picture_row(item.size, detected(item.result, self.names), item.source, item.frame)
        try:
            if self.labels:
                writers.write_yolo(self.labels[item.source], item)
            if drawn is not None and self.annotated and item.frame is None:
                write_image(self.annotated[item.source], drawn)
        except GhostyoloError as error:
            return item, drawn, row, error
        return item, drawn, row, None

    def _fail(self, error: GhostyoloError) -> None:
        logger.warning("%s", error)
        self.failed += 1


def _append(video: VideoWriter | None, item: Any) -> Any:
    if video is not None:
        video.add(item[1])
    return item


def classify_files(
    classifier: Compute,
    paths: Sequence[Path],
    names: Sequence[str],
    *,
    top: int = 5,
    batch: int = 1,
    timer: Timer | None = None,
) -> Iterator[Row | None]:
    """Yield the row of each picture, with its `top` most probable classes.

    A picture that cannot be read is logged as a warning and yields None. timer: see
    `predict_images`.
    """
    for item in predict_files(classifier, paths, batch=batch, timer=timer):
        if isinstance(item, DataError):
            logger.warning("%s", item)
            yield None
        else:
            yield picture_row(item.size, classified(item.result, names, top), item.source)
