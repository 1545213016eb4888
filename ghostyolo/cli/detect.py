"""ghostyolo detect: objects in pictures and videos, drawn and listed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghostyolo.cli import shared
from ghostyolo.distributed import joined
from ghostyolo.errors import DataError
from ghostyolo.files import make_folder
from ghostyolo.network.outputs import detection_heads

if TYPE_CHECKING:
    from ghostyolo.model.detector import Detector
    from ghostyolo.prediction.predict import Found
    from ghostyolo.prediction.sources import Sources, Stream
    from ghostyolo.prediction.writers import Lines
    from ghostyolo.runtime.interface import Runtime

Row = tuple[int, dict[str, Any]]  # a picture's place among all, and what was found in it
WRITERS, AHEAD = 2, 4  # threads that draw and encode, and the pictures that may wait for them


def options(p: argparse.ArgumentParser) -> None:
    """Declare what detect takes."""
    shared.add_model(p)
    p.add_argument(
        "source",
        nargs="+",
        metavar="SOURCE",
        help="pictures, videos, folders, patterns, a camera's number, an rtsp:// or http:// "
        "address, or - for a picture on standard input",
    )
    shared.add_run(p)
    shared.add_runtime(p)
    p.add_argument("--names", metavar="FILE", help="class names, one a line (beside WEIGHTS)")
    p.add_argument("--thresh", type=shared.share, help="least score (0.25)", default=0.25)
    p.add_argument("--nms", type=shared.share, help="overlap that suppresses (0.45)", default=0.45)
    p.add_argument("--recursive", action="store_true", help="look into the folders of folders")
    p.add_argument("--list", action="store_true", help="SOURCE - is a list, one source a line")
    p.add_argument(
        "--out",
        default="runs/detect",
        metavar="FOLDER",
        help="for annotated pictures and detections.json (runs/detect)",
    )
    p.add_argument("--json", action="store_true", help="print JSON and draw nothing")
    p.add_argument(
        "--jsonl", metavar="FILE", help="write a line of JSON for each picture; - prints"
    )
    p.add_argument("--coco", metavar="FILE", help="write what COCO's evaluation reads")
    p.add_argument("--voc", metavar="FOLDER", help="write VOC's comp4_det_test_CLASS.txt there")
    p.add_argument("--txt", metavar="FOLDER", help="write YOLO labels with scores there")
    p.add_argument(
        "--show", action="store_true", help="show in a window; a key goes on from a picture, q ends"
    )


def run(args: argparse.Namespace) -> int:
    """Find objects in pictures and videos, draw and list them."""
    from ghostyolo.data.class_names import class_names

    sources = _sources(args)
    network = None if shared.is_exported(args) else shared.read_network(args)
    names: tuple[str, ...] = ()
    if network:
        names = class_names(network, args.names, beside=args.weights, warn=True)
    with ExitStack() as stack:
        world = stack.enter_context(joined(args.device))
        args.device = world.device
        runtime = stack.enter_context(shared.open_runtime(args, network))
        names = names or _file_names(args, runtime)
        job = Job(args, sources, runtime, tuple(names), (world.rank, world.size), stack)
        rows = [row for part in world.gather(job.rows()) for row in part]
        failed = sum(world.gather(job.failed))
        if world.first:
            job.finish([row for _, row in sorted(rows, key=lambda item: item[0])], world.size > 1)
        world.gather(None)  # torchrun ends all as soon as one has failed
    return 1 if failed and world.first else 0


def _sources(args: argparse.Namespace) -> Sources:
    from ghostyolo.prediction import sources

    words = args.source
    if args.list:
        lines = sources.listed(sys.stdin)
        words = [each for word in words for each in (lines if word == "-" else [word])]
    return sources.expand(words, recursive=args.recursive)


class Job:
    """The sources of a run, what is made of them, and what failed."""

    def __init__(
        self,
        args: argparse.Namespace,
        sources: Sources,
        runtime: Runtime,
        names: tuple[str, ...],
        part: tuple[int, int],
        stack: ExitStack,
    ) -> None:
        """part: this process's number and how many there are. stack: closes what is opened."""
        from ghostyolo.prediction import predict, video, writers

        self.args, self.sources, self.names = args, sources, names
        self.failed, (self.rank, self.size) = 0, part
        self.classes = next((head.classes for _, head in detection_heads(runtime.network)), 0)
        self.detector: Detector = runtime.detector(thresh=args.thresh, nms=args.nms)
        quiet = args.json or args.jsonl == "-"
        self.out = None if quiet else make_folder(args.out)
        folders = [make_folder(path) if path else None for path in (args.txt, args.voc)]
        self.txt, self.voc = folders
        pictures, streams = sources
        self.targets = predict.target_paths(pictures, self.out) if self.out else {}
        self.labels = predict.target_paths(pictures, self.txt, ".txt") if self.txt else {}
        self.videos = video.targets(streams, self.out) if self.out else {}
        self.stems = video.stems(streams)
        self.show = video.window("ghostyolo") if args.show else None
        self.lines: Lines | None = None
        if args.jsonl and self.rank == 0:
            lines = writers.Lines(args.jsonl, sys.stdout.buffer)
            self.lines = stack.enter_context(closing(lines))

    def rows(self) -> list[Row]:
        """Go through this process's share of the sources."""
        found = list(self._pictures())
        start = len(self.sources.pictures)
        for number, stream in enumerate(self.sources.streams):
            if number % self.size == self.rank:
                try:
                    rows = self._stream(stream)
                except DataError as error:
                    self._tell(error)
                    continue
                found += [(start + number, row) for row in rows]
        return found

    def _pictures(self) -> Iterator[Row]:
        from ghostyolo.data.prefetch import mapped
        from ghostyolo.prediction import predict

        own = self.sources.pictures[self.rank :: self.size]
        items = predict.predict(
            self.detector, own, batch=self.args.batch, stdin=sys.stdin.buffer if own else None
        )
        done = mapped(self._written, items, workers=WRITERS, ahead=AHEAD)
        for place, (found, row) in enumerate(shared.watched(done, len(own), "picture")):
            if isinstance(found, DataError):
                self._tell(found)
                continue
            self._add(row)
            if self.out is not None:
                words = predict.summary(found, self.names)
                print(f"{found.path}: {words} -> {self.targets[found.path]}")
            yield place * self.size + self.rank, row
            if self.show and not self.show(self._drawn(found), True):
                break

    def _written(self, found: Found | DataError) -> tuple[Any, dict[str, Any]]:
        """Write what belongs to one picture alone; in a thread."""
        from ghostyolo.prediction import predict, writers

        if isinstance(found, DataError):
            return found, {}
        if self.out is not None:
            predict.write_picture(self.targets[found.path], found, self.names)
        if self.txt is not None:
            writers.write_yolo(self.labels[found.path], found)
        return found, predict.as_dict(found, self.names)

    def _stream(self, stream: Stream) -> list[dict[str, Any]]:
        """Go through a video, or through what is live until it ends or Ctrl-C."""
        from ghostyolo.data.prefetch import ahead, mapped
        from ghostyolo.prediction import predict, video

        frames, rows = stream.open(), list[dict[str, Any]]()
        target = self.videos[stream] if self.out else None
        writer = video.VideoWriter(target, frames.fps) if target else None
        batch = 1 if frames.live else self.args.batch
        items = ahead(frames, 2 * batch, newest=frames.live)
        drawn = mapped(
            partial(self._annotated, stream), predict.detect(self.detector, items, batch),
            workers=WRITERS, ahead=AHEAD,
        )  # fmt: skip
        written = mapped(partial(_append, writer), drawn, workers=1, ahead=AHEAD)
        watched = shared.watched(written, frames.total, "frame")
        interrupted = (KeyboardInterrupt,) if frames.live else ()
        try:
            with suppress(*interrupted):
                for image, row in watched:
                    self._add(row)
                    rows.append(row)
                    if self.show and not self.show(image, False):
                        break
        finally:
            written.close()
            if writer:
                writer.close()
        if target:
            said = "1 frame" if len(rows) == 1 else f"{len(rows)} frames"
            print(f"{stream.name}: {said} -> {target}")
        return rows

    def _annotated(self, stream: Stream, found: Any) -> tuple[Any, dict[str, Any]]:
        """Write what belongs to one frame alone and draw it; in a thread."""
        from ghostyolo.prediction import predict, writers

        if self.txt is not None:
            name = writers.frame_name(self.stems[stream], found.frame)
            writers.write_yolo(self.txt / f"{name}.txt", found)
        drawn = self._drawn(found) if self.out is not None or self.show else None
        return drawn, {**predict.as_dict(found, self.names), "file": stream.name}

    def _drawn(self, found: Found) -> Any:
        from ghostyolo.drawing import draw

        return draw(found.image, found.detections, self.names)

    def _add(self, row: dict[str, Any]) -> None:
        if self.lines and self.size == 1:
            self.lines.add(row)

    def _tell(self, error: DataError) -> None:
        print(f"ghostyolo: {error}", file=sys.stderr)
        self.failed += 1

    def finish(self, rows: list[dict[str, Any]], several: bool) -> None:
        """Write what belongs to all pictures; several: processes, of which this is the first."""
        from ghostyolo.prediction import predict, writers

        for row in rows if self.lines and several else ():
            self.lines.add(row)  # type: ignore[union-attr]
        if self.args.json:
            print(json.dumps(rows))
        elif rows and self.out is not None:
            predict.write_json(self.out / "detections.json", rows)
        if self.args.coco:
            writers.write_coco(Path(self.args.coco), rows, self.classes)
        if self.voc is not None:
            writers.write_voc(self.voc, rows, writers.named(self.classes, self.names))


def _append(writer: Any, item: tuple[Any, dict[str, Any]]) -> tuple[Any, dict[str, Any]]:
    if writer is not None:
        writer.add(item[0])
    return item


def _file_names(args: argparse.Namespace, runtime: Runtime) -> tuple[str, ...]:
    """Return the names in --names, else those that an exported file holds."""
    from ghostyolo.data.class_names import class_names

    if not shared.is_exported(args):
        return ()
    return class_names(runtime.network, args.names, runtime.names, beside=args.cfg, warn=True)
