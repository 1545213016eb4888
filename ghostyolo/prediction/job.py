"""Detection in pictures and videos, with all output files; classification of pictures.

Pictures are read ahead, computed in batches, and drawn and written in threads. Several processes
share the sources; rank 0 writes the files that belong to all sources.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ghostyolo.data.images import write_image
from ghostyolo.data.prefetch import ahead, mapped
from ghostyolo.distributed import World
from ghostyolo.drawing import draw
from ghostyolo.errors import DataError, GhostyoloError
from ghostyolo.files import make_empty_folder, make_new_folder
from ghostyolo.model.detections import in_words
from ghostyolo.model.detector import Detector
from ghostyolo.model.out_of_memory import told
from ghostyolo.prediction import writers
from ghostyolo.prediction.predict import (
    Compute,
    Prediction,
    Row,
    classified,
    detected,
    picture_row,
    predict_files,
    predict_images,
)
from ghostyolo.prediction.sources import Frames, Sources, Stream
from ghostyolo.prediction.video import VideoWriter

AddRow = Callable[[Row], object]
Watch = Callable[[Iterator[Any], int, str], Iterable[Any]]  # takes items, their number and unit
Show = Callable[[np.ndarray, bool], bool]  # see `video.window`
WRITERS, AHEAD = 2, 4  # threads that draw and encode; pictures that wait for them

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outputs:
    """The output files of a job; None where no such file is written.

    folder: of annotated pictures and videos and of detections.json. numbered: whether that folder
    gets a number if it exists, so that it is new each time. jsonl: a file, or an open stream, of a
    line of JSON for each picture. csv: a table with a line for each detection. coco: a file in
    COCO's format of results. voc: the folder of VOC's files. yolo: the folder of YOLO labels with
    scores.

    Files are replaced. Folders must be new or empty, so that a job leaves earlier results alone.
    """

    folder: str | Path | None = None
    numbered: bool = False
    jsonl: str | Path | BinaryIO | None = None
    csv: str | Path | None = None
    coco: str | Path | None = None
    voc: str | Path | None = None
    yolo: str | Path | None = None

    def make_folders(self) -> tuple[Path | None, Path | None]:
        """Make all folders; return those of annotated pictures and of YOLO labels."""
        if self.voc is not None:
            make_empty_folder(self.voc)
        labels = None if self.yolo is None else make_empty_folder(self.yolo)
        make = make_new_folder if self.numbered else make_empty_folder
        return None if self.folder is None else make(self.folder), labels


@dataclass
class DetectionJob:
    """Detection in sources.

    names: of the classes; a class without a name is shown by its number. batch: batch size, 1 for
    live streams. stdin: the stream that the source - is read from. show: shows each annotated
    picture. on_source: called with a line about each finished source. watch: passes items on and
    shows progress.
    `folder` is that of the annotated pictures, None if there is none.
    Raises `OptionError` if a folder of the outputs has files or cannot be made.
    """

    detector: Detector
    sources: Sources
    outputs: Outputs
    names: Sequence[str] = ()
    batch: int = 1
    world: World = World()  # noqa: RUF009 (a value)
    stdin: BinaryIO | None = None
    show: Show | None = None
    on_source: Callable[[str], object] = lambda line: None
    watch: Watch = lambda items, total, unit: items

    def __post_init__(self) -> None:
        made = self.outputs.make_folders() if self.world.first else None
        (self.folder, labels), *_ = self.world.gather(made)
        self.failed, paths = 0, partial(writers.output_paths, self.sources)
        self.annotated = paths(self.folder) if self.folder else dict[str, Path]()
        self.labels = paths(labels, ".txt") if labels else dict[str, Path]()

    def run(self) -> tuple[list[Row], int]:
        """Return a row for each picture and frame, in the order of the sources.

        Also returns the number of sources that cannot be read; each is logged as a warning.
        """
        try:
            return self._run()
        finally:
            if self.folder and self.outputs.numbered and self.world.first:
                with suppress(OSError):  # it is not empty
                    self.folder.rmdir()

    def _run(self) -> tuple[list[Row], int]:
        world = self.world
        with writers.json_lines(self.outputs.jsonl if world.first else None) as add_row:
            add_now = add_row if world.size == 1 else lambda row: None
            own = list[tuple[int, Row]]()
            try:
                with told(batch=self.batch, size=self.detector.options.size):
                    own.extend(chain(self._pictures(add_now), self._streams(add_now)))
            except GhostyoloError:
                if world.size == 1:
                    self._write_lists([row for _, row in own])
                raise
            found = [item for part in world.gather(own) for item in part]
            rows = [row for _, row in sorted(found, key=lambda item: item[0])]
            if world.first:
                for row in rows if world.size > 1 else ():
                    add_row(row)
                self._write_lists(rows)
        return rows, sum(world.gather(self.failed))  # all wait until rank 0 has written

    def _pictures(self, add_row: AddRow) -> Iterator[tuple[int, Row]]:
        """Yield the index among all sources and the row of each picture of this process."""
        rank, size = self.world.rank, self.world.size
        own = self.sources.pictures[rank::size]
        stdin = self.stdin if own else None
        found = predict_files(self.detector, own, batch=self.batch, stdin=stdin)
        done = mapped(self._write, found, workers=WRITERS, ahead=AHEAD)
        for number, item in enumerate(self.watch(done, len(own), "picture")):
            if isinstance(item, DataError):
                self._fail(item)
                continue
            prediction, drawn, row, error = item
            add_row(row)
            if error:
                self._fail(error)
            elif target := self.annotated.get(prediction.source):
                words = in_words(prediction.result, self.names)
                self.on_source(f"{prediction.source}: {words} -> {target}")
            yield number * size + rank, row
            if self.show and not self.show(drawn, True):
                break

    def _streams(self, add_row: AddRow) -> Iterator[tuple[int, Row]]:
        """Yield the index among all sources and the row of each frame of this process."""
        start = len(self.sources.pictures)
        for number, stream in enumerate(self.sources.streams):
            if number % self.world.size != self.world.rank:
                continue
            try:
                rows = self._stream(stream, add_row)
            except DataError as error:
                self._fail(error)
                continue
            yield from ((start + number, row) for row in rows)

    def _stream(self, stream: Stream, add_row: AddRow) -> list[Row]:
        """Return the rows of a video, or of a live stream until it ends or Ctrl-C.

        After an error those before it are returned. Raises `DataError` if it cannot be opened.
        """
        frames, rows = stream.open(), list[Row]()
        target = self.annotated.get(stream.name)
        video = VideoWriter(target, frames.fps) if target else None
        try:
            self._follow(frames, video, add_row, rows)
        except GhostyoloError as error:
            self._fail(error)
            return rows
        if target:
            count = "1 frame" if len(rows) == 1 else f"{len(rows)} frames"
            self.on_source(f"{stream.name}: {count} -> {target}")
        return rows

    def _follow(
        self, frames: Frames, video: VideoWriter | None, add_row: AddRow, rows: list[Row]
    ) -> None:
        """Append the rows of a stream to `rows`, and its annotated frames to a video."""
        done = self._frames(frames, 1 if frames.live else self.batch, video)
        interrupted = (KeyboardInterrupt,) if frames.live else ()
        try:
            with suppress(*interrupted):
                for _, drawn, row, error in self.watch(done, frames.total, "frame"):
                    add_row(row)
                    rows.append(row)
                    if error:
                        raise error
                    if self.show and not self.show(drawn, False):
                        break
        finally:
            done.close()
            if video:
                video.close()

    def _frames(
        self, frames: Any, batch: int, video: VideoWriter | None
    ) -> Generator[Any, None, None]:
        """Yield what `_write` returns for each frame of an open stream, once it is in the video."""
        images = ahead(frames, 2 * batch, newest=frames.live)
        found = predict_images(self.detector, images, batch)
        drawn = mapped(self._write, found, workers=WRITERS, ahead=AHEAD)
        return mapped(partial(_append, video), drawn, workers=1, ahead=AHEAD)

    def _write(self, item: Prediction | DataError) -> Any:
        """Write the files of one picture, in a thread.

        Returns its prediction, the annotated picture, None if it is not needed, its row, and the
        error if a file cannot be written, else None.
        """
        if isinstance(item, DataError):
            return item
        drawn = draw(item.image, item.result, self.names) if self.annotated or self.show else None
        row = picture_row(item.image, detected(item.result, self.names), item.source, item.frame)
        try:
            if self.labels:
                writers.write_yolo(self.labels[item.source], item)
            if drawn is not None and self.annotated and item.frame is None:
                write_image(self.annotated[item.source], drawn)
        except GhostyoloError as error:
            return item, drawn, row, error
        return item, drawn, row, None

    def _write_lists(self, rows: list[Row]) -> None:
        """Write the files that hold the detections of all pictures."""
        outputs = self.outputs
        if rows and self.folder:
            writers.write_json(self.folder / "detections.json", rows)
        if outputs.csv is not None:
            writers.write_csv(Path(outputs.csv), rows)
        if outputs.coco is not None:
            writers.write_coco(Path(outputs.coco), rows, self.detector.classes)
        if outputs.voc is not None:
            writers.write_voc(Path(outputs.voc), rows, self.names, self.detector.classes)

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
) -> Iterator[Row | None]:
    """Yield the row of each picture, with its `top` most probable classes.

    A picture that cannot be read is logged as a warning and yields None.
    """
    for item in predict_files(classifier, paths, batch=batch):
        if isinstance(item, DataError):
            logger.warning("%s", item)
            yield None
        else:
            yield picture_row(item.image, classified(item.result, names, top), item.source)
