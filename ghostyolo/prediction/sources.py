"""Where pictures come from: files, folders, patterns, videos, cameras, streams, standard input."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import cv2
import numpy as np

from ghostyolo.data.images import decode_image, read_image
from ghostyolo.errors import DataError, Span

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".tif", ".tiff", ".webp"})
VIDEOS = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"})
ADDRESS = re.compile(r"(rtsp|rtmp|http|https|udp|tcp)://")
STDIN = Path("-")
FPS = 25.0  # of a stream that does not state it


@dataclass(frozen=True)
class SourceImage:
    """A picture, uint8 RGB (H, W, 3), and the source it is from; frame: its number in a stream."""

    source: str
    image: np.ndarray
    frame: int | None = None


@dataclass(frozen=True)
class Stream:
    """A video file, or a camera or address. live: a frame that is not taken in time is lost."""

    name: str
    address: str | int
    live: bool

    def open(self) -> Frames:
        """Open it with OpenCV. Raises `DataError` if that fails."""
        capture = cv2.VideoCapture(self.address)
        if not capture.isOpened():
            what = "camera" if isinstance(self.address, int) else "video"
            hint = "check that it is there and that OpenCV reads its format"
            raise DataError(f"cannot open the {what}", span=Span(self.name), hint=hint)
        return Frames(self, capture)


class Frames:
    """The frames of an open stream. fps: frames per second; total: their number, 0 if unknown.

    live: as of the stream, but a video at an address is not live, for it has a length.
    """

    def __init__(self, stream: Stream, capture: Any) -> None:
        self.stream, self._capture = stream, capture
        self.fps = float(capture.get(cv2.CAP_PROP_FPS)) or FPS
        self.total = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.live = stream.live and not self.total

    def __iter__(self) -> Iterator[SourceImage]:
        number = 0
        while True:
            there, image = self._capture.read()
            if not there:
                break
            yield SourceImage(self.stream.name, cv2.cvtColor(image, cv2.COLOR_BGR2RGB), number)
            number += 1
        if number == 0:
            raise DataError("no frame in it", span=Span(self.stream.name), hint="check the video")

    def close(self) -> None:
        """Release the camera or file."""
        self._capture.release()


class Sources(NamedTuple):
    """The picture files and the streams that a job goes through."""

    pictures: list[Path]
    streams: list[Stream]


def find_sources(words: Iterable[str | Path], *, recursive: bool = False) -> Sources:
    """Return what words name: files, folders, patterns, a camera's number, an address, - for stdin.

    recursive: look into the folders of folders too. Raises `DataError` for what does not exist, and
    for a folder without pictures.
    """
    found, streams = dict[Path, None](), dict[str, Stream]()
    for word in map(str, words):
        if word.isdecimal() and not os.path.exists(word):
            streams[word] = Stream(f"camera-{word}", int(word), live=True)
        elif ADDRESS.match(word):
            streams[word] = Stream(word, word, live=True)
        elif word == str(STDIN):
            found[STDIN] = None
        else:
            for path in _expanded(Path(word), recursive):
                if path.suffix.lower() in VIDEOS:
                    streams[str(path)] = Stream(str(path), str(path), live=False)
                else:
                    found[path] = None
    return Sources(list(found), list(streams.values()))


def _expanded(source: Path, recursive: bool) -> list[Path]:
    span = Span(str(source))
    if source.is_dir():
        inside = source.rglob("*") if recursive else source.iterdir()
        known = sorted(path for path in inside if path.suffix.lower() in SUFFIXES | VIDEOS)
        if not known:
            hint = f"put {', '.join(sorted(SUFFIXES))} files there"
            if any(path.is_dir() for path in source.iterdir()) and not recursive:
                hint = "look into its folders with --recursive"
            raise DataError("no pictures in this folder", span=span, hint=hint)
        return known
    if source.exists():
        return [source]
    matches = sorted(Path(path) for path in glob.glob(str(source), recursive=True))
    if not matches:
        raise DataError("no such file or folder", span=span, hint="check the path")
    return matches


def find_pictures(words: Iterable[str | Path]) -> list[Path]:
    """Return the picture files that files, folders and patterns name, in their order.

    The folders in a folder count too: the data of a classifier has one for each class.
    Raises `DataError` as `find_sources` does.
    """
    return find_sources(words, recursive=True).pictures


def with_list(words: Iterable[str], lines: Iterable[str]) -> list[str]:
    """Return words with the lines of a list, without blank ones, in place of -."""
    listed = [line.strip() for line in lines if line.strip()]
    return [each for word in words for each in (listed if word == str(STDIN) else [word])]


def read_source(path: Path, stdin: BinaryIO | None = None) -> SourceImage | DataError:
    """Read a picture, that of `-` from an open stream; return the error if it cannot be read."""
    try:
        if path == STDIN and stdin is not None:
            return SourceImage(str(path), decode_image(stdin.read(), path))
        return SourceImage(str(path), read_image(path))
    except DataError as error:
        return error
