"""The file that belongs to each picture and stream in the folders that a job writes to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2

from ghostyolo.errors import OptionError, Span
from ghostyolo.prediction.sources import STDIN, Stream

VIDEO_SUFFIX = ".mp4"


def picture_paths(
    pictures: Sequence[Path], folder: Path, suffix: str | None = None
) -> dict[str, Path]:
    """Return a file of the folder for each picture; equal names get a number.

    suffix: of the files, by default that of each picture if pictures can be written with it.
    Raises `OptionError` where that would overwrite one of the pictures.
    """
    named = [Path("stdin.jpg") if path == STDIN else path for path in pictures]
    names = distinct((path.stem, suffix or _writable(path.suffix)) for path in named)
    return _kept({str(path): folder / name for path, name in zip(pictures, names, strict=True)})


def stream_paths(streams: Sequence[Stream], folder: Path, suffix: str) -> dict[str, Path]:
    """Return a file of the folder for each stream; equal names get a number.

    Raises `OptionError` where that would overwrite one of the streams.
    """
    names = distinct((_stem(stream.name), suffix) for stream in streams)
    return _kept({s.name: folder / name for s, name in zip(streams, names, strict=True)})


def frame_path(path: Path, frame: int | None) -> Path:
    """Return the file of a frame beside that of its stream; a picture's is `path` itself."""
    return path.with_name(f"{frame_name(path.stem, frame)}{path.suffix}")


def frame_name(stem: str, frame: int | None) -> str:
    """Return the name of a picture, which a frame shares with all others of its video."""
    return stem if frame is None else f"{stem}_{frame}"


def distinct(names: Iterable[tuple[str, str]]) -> list[str]:
    """Return the names of files, given as stems and suffixes; equal ones get a number."""
    taken: dict[str, None] = {}  # a set that keeps its order
    for stem, suffix in names:
        name, number = f"{stem}{suffix}", 1
        while name in taken:
            number += 1
            name = f"{stem}-{number}{suffix}"
        taken[name] = None
    return list(taken)


def _kept(paths: dict[str, Path]) -> dict[str, Path]:
    """Return the file of each source. Raises `OptionError` where one of them is a source."""
    sources = {Path(source).resolve() for source in paths}
    for path in paths.values():
        if path.resolve() in sources:
            hint = "give another folder with --out"
            raise OptionError("would be overwritten", span=Span(str(path)), hint=hint)
    return paths


def _writable(suffix: str) -> str:
    return suffix if suffix and cv2.haveImageWriter(f"x{suffix}") else ".jpg"


def _stem(name: str) -> str:
    words = "".join(c if c.isalnum() or c in "-_. " else "-" for c in Path(name).stem)
    return words.strip("-.") or "stream"
