"""The sources of pictures: files, folders, patterns, videos, cameras, streams, standard input."""

from __future__ import annotations

import glob
import logging
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import cv2
import numpy as np

from ghostyolo.data.images import decode_image, read_image
from ghostyolo.data.paths import SUFFIXES
from ghostyolo.errors import DataError, Span

VIDEOS = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"})
ADDRESS = re.compile(r"(rtsp|rtmp|http|https|udp|tcp)://")
STDIN = Path("-")
MOST_CAMERAS = 1000
MOST_NAMED = 3  # files that are named in a message, of all that it counts
FPS = 25.0  # of a stream that does not tell its frame rate

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SourceImage:
    """A picture, uint8 (H, W, 3), and its source.

    frame: its number in a stream. bgr: whether the picture is BGR, as OpenCV reads frames, not RGB.
    """

    source: str
    image: np.ndarray
    frame: int | None = None
    bgr: bool = False

    def rgb(self) -> np.ndarray:
        """Return the picture as RGB."""
        return cv2.cvtColor(self.image, cv2.COLOR_BGR2RGB) if self.bgr else self.image


@dataclass(frozen=True)
class Stream:
    """A video file, a camera or an address. live: frames that are not read in time are lost."""

    name: str
    address: str | int
    live: bool

    def open(self) -> Frames:
        """Open it with OpenCV. Raises `DataError` if that fails."""
        if not self.live and os.path.exists(self.name) and not os.path.isfile(self.name):
            message, hint = "is a device or pipe, not a file", "give a video file"
            raise DataError(message, span=Span(self.name), hint=hint)
        capture = cv2.VideoCapture(self.address)
        if not capture.isOpened():
            what = "camera" if isinstance(self.address, int) else "video"
            hint = "check that it is there and that OpenCV reads its format"
            raise DataError(f"cannot open the {what}", span=Span(self.name), hint=hint)
        return Frames(self, capture)


class Frames:
    """The frames of an open stream.

    fps: frames per second. total: number of frames, 0 if unknown. live: as for the stream, but
    False for a video at an address: a stream with a known length is not live. reuse: each frame
    takes the memory of the one before, which saves a fifth of the time to read one of 1080p.
    """

    reuse = False

    def __init__(self, stream: Stream, capture: Any) -> None:
        self.stream, self._capture = stream, capture
        self.fps = float(capture.get(cv2.CAP_PROP_FPS)) or FPS
        self.total = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.live = stream.live and not self.total

    def __iter__(self) -> Iterator[SourceImage]:
        number, image = 0, None
        while True:
            there, image = self._capture.read(image if self.reuse else None)
            if not there:
                break
            yield SourceImage(self.stream.name, image, number, bgr=True)
            number += 1
        if number == 0:
            raise DataError("no frame in it", span=Span(self.stream.name), hint="check the video")

    def close(self) -> None:
        """Release the camera or file."""
        self._capture.release()


class Sources(NamedTuple):
    """The picture files and the streams of a job."""

    pictures: list[Path]
    streams: list[Stream]


def find_sources(words: Iterable[str | Path], *, recursive: bool = False) -> Sources:
    """Return the pictures and streams that words name.

    words: files, folders, patterns, numbers of cameras, addresses, or - for standard input.
    recursive: whether to look into subfolders. Raises `DataError` for what does not exist, and
    for a folder without pictures.
    """
    found, streams = dict[Path, None](), dict[str, Stream]()
    for word in map(str, words):
        if word.isdecimal() and not os.path.exists(word):
            if len(word) > len(str(MOST_CAMERAS)) or int(word) > MOST_CAMERAS:
                hint = "cameras are numbered from 0; give a file that exists"
                raise DataError("no camera has this number", span=Span(word), hint=hint)
            streams[word] = Stream(f"camera-{word}", int(word), live=True)
        elif ADDRESS.match(word):
            if Path(word.partition("?")[0]).suffix.lower() in SUFFIXES:
                hint = f"fetch it: curl -L {word} | ghostyolo detect ... -"
                raise DataError("is a picture at an address", span=Span(word), hint=hint)
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
        inside = sorted(source.rglob("*") if recursive else source.iterdir())
        known = [path for path in inside if path.suffix.lower() in SUFFIXES | VIDEOS]
        if not known:
            hint = f"put pictures ({_listed(SUFFIXES)}) or videos ({_listed(VIDEOS)}) there"
            if any(path.is_dir() for path in source.iterdir()) and not recursive:
                hint = "look into its subfolders with --recursive"
            raise DataError("no pictures in this folder", span=span, hint=hint)
        _tell_left_out(source, sorted({*inside} - {*known}))
        return known
    if source.exists():
        return [source]
    matches = sorted(Path(path) for path in glob.glob(str(source), recursive=True))
    if not matches:
        raise DataError("no such file or folder", span=span, hint="check the path")
    return matches


def _listed(suffixes: Iterable[str]) -> str:
    return ", ".join(sorted(suffixes))


def _tell_left_out(folder: Path, others: list[Path]) -> None:
    """Log which files of a folder are no pictures or videos; folders and hidden files are not."""
    names = [path.name for path in others if path.name[0] != "." and path.is_file()]
    if names:
        more = " ..." if len(names) > MOST_NAMED else ""
        message = "%s: %d files are neither pictures nor videos: %s%s"
        logger.warning(message, folder, len(names), ", ".join(names[:MOST_NAMED]), more)


def find_pictures(words: Iterable[str | Path]) -> list[Path]:
    """Return the picture files that files, folders and patterns name, in their order.

    Subfolders are searched: the data of a classifier has one for each class.
    Raises `DataError` as `find_sources` does.
    """
    return find_sources(words, recursive=True).pictures


def with_list(words: Iterable[str], lines: Iterable[str]) -> list[str]:
    """Return the words with the non-blank lines of a list in place of -."""
    listed = [line.strip() for line in lines if line.strip()]
    return [each for word in words for each in (listed if word == str(STDIN) else [word])]


def read_source(path: Path, stdin: BinaryIO | None = None) -> SourceImage | DataError:
    """Return the picture of a path, or the error if it cannot be read; `-` is read from `stdin`."""
    try:
        if path == STDIN and stdin is not None:
            return SourceImage(str(path), decode_image(stdin.read(), path))
        return SourceImage(str(path), read_image(path))
    except DataError as error:
        return error
