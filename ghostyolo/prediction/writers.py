"""Files of detections and their names: annotated pictures, JSON, CSV, COCO, VOC, YOLO labels.

Rows are written one by one, so that no run is too long for the memory. After an error or Ctrl-C
each file is complete with the rows until then.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np

from ghostyolo.boxes import xyxy_to_cxcywh
from ghostyolo.drawing import class_name
from ghostyolo.errors import UNPRINTABLE, OptionError, printable
from ghostyolo.files import HINT, appending, replace
from ghostyolo.prediction.predict import Prediction, Row
from ghostyolo.prediction.sources import STDIN, Sources

VIDEO_SUFFIX = ".mp4"
CSV_COLUMNS = "file", "frame", "class", "name", "score", "left", "top", "right", "bottom"
# COCO numbers its 80 classes up to 90. Source: AlexeyAB/darknet src/detector.c, coco_ids.
_UNUSED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
COCO_IDS = tuple(number for number in range(1, 91) if number not in _UNUSED)
MOST_STEM = 200  # bytes of a class name in a file name

AddRow = Callable[[Row], object]
Append = Callable[[bytes], None]

logger = logging.getLogger(__name__)


def output_paths(sources: Sources, folder: Path, suffix: str = "") -> dict[str, Path]:
    """Return the output file of each source in a folder; files of equal name get a number.

    suffix: of all files, by default that of each picture if OpenCV writes that format, and .mp4 for
    videos and streams.
    """
    pictures = [Path("stdin.jpg") if path == STDIN else path for path in sources.pictures]
    names = _distinct((path.stem, suffix or _writable(path.suffix)) for path in pictures)
    names += _distinct((_stem(s.name), suffix or VIDEO_SUFFIX) for s in sources.streams)
    inputs = [*map(str, sources.pictures), *(stream.name for stream in sources.streams)]
    return {source: folder / name for source, name in zip(inputs, names, strict=True)}


def frame_name(stem: str, frame: int | None) -> str:
    """Return the name of a frame, made of the name of its video; of a picture, the name itself."""
    return stem if frame is None else f"{stem}_{frame}"


def _distinct(names: Iterable[tuple[str, str]]) -> list[str]:
    """Return file names from stems and suffixes; equal ones get a number."""
    taken: dict[str, None] = {}  # a set that keeps its order
    for stem, suffix in names:
        name, number = f"{stem}{suffix}", 1
        while name in taken:
            number += 1
            name = f"{stem}-{number}{suffix}"
        taken[name] = None
    return list(taken)


def _writable(suffix: str) -> str:
    return suffix if suffix and cv2.haveImageWriter(f"x{suffix}") else ".jpg"


def _stem(name: str) -> str:
    """Return a file stem for the name of a stream, which may be an address."""
    words = "".join(c if c.isalnum() or c in "-_. " else "-" for c in Path(name).stem)
    return words.strip("-.") or "stream"


def _to(target: str | Path | BinaryIO) -> AbstractContextManager[Append]:
    """Return a context that yields a function which appends to a file, or to an open stream."""
    return appending(target) if isinstance(target, str | Path) else nullcontext(_flushed(target))


def _flushed(stream: BinaryIO) -> Append:
    def append(data: bytes) -> None:
        try:
            stream.write(data)
            stream.flush()
        except BrokenPipeError:  # the reader has seen enough
            raise
        except OSError as error:
            raise OptionError(f"cannot write the rows: {error.strerror}", hint=HINT) from None

    return append


@contextmanager
def json_lines(target: str | Path | BinaryIO) -> Iterator[AddRow]:
    """Yield a function that writes a row as a line of JSON, to a file or an open stream."""
    with _to(target) as append:

        def add(row: Row) -> None:
            text = json.dumps(row, ensure_ascii=False)
            line = UNPRINTABLE.sub(lambda char: f"\\u{ord(char[0]):04x}", text)
            append(line.encode() + b"\n")

        yield add


@contextmanager
def json_list(target: str | Path | BinaryIO, indent: int | None = None) -> Iterator[AddRow]:
    """Yield a function that adds a row to a list in JSON, written as `json.dumps` writes it.

    target: a file, or an open stream, which gets a line.
    """
    with _to(target) as append:
        end = b"" if isinstance(target, str | Path) else b"\n"
        with _listed(append, indent, end) as add:
            yield add


@contextmanager
def _listed(append: Append, indent: int | None = None, end: bytes = b"") -> Iterator[AddRow]:
    """Yield a function that appends an item to a list in JSON; the list is closed in any case."""
    line = "" if indent is None else "\n" + " " * indent
    count = 0
    append(b"[")

    def add(item: Row) -> None:
        nonlocal count
        text = json.dumps(item, indent=indent).replace("\n", line or "\n")
        comma = ("," + " " * (not line)) * bool(count)
        append(f"{comma}{line}{text}".replace("\x7f", "\\u007f").encode())
        count += 1

    try:
        yield add
    finally:
        append(("\n]" if line and count else "]").encode() + end)


@contextmanager
def csv_table(target: Path) -> Iterator[AddRow]:
    """Yield a function that writes a line for each detection of a row, for spreadsheets."""
    with appending(target) as append:
        append(_csv_lines([CSV_COLUMNS]))
        yield lambda row: append(_csv_lines(_cells(row)))


def _csv_lines(rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode(errors="backslashreplace")


def _cells(row: Row) -> Iterator[Sequence[object]]:
    """Yield the cells of each detection; `frame` is empty for a picture."""
    place = _cell(row["file"]), row.get("frame")
    for found in row["detections"]:
        yield (*place, found["class"], _cell(found["name"]), found["score"], *found["box"])


def _cell(text: str) -> str:
    """Return a text as a cell that no spreadsheet computes as a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def image_id(row: Row, number: int) -> int:
    """Return COCO's id of a picture: the last digits in its name, else `number`.

    A frame of a video always gets `number`, since all frames share the name of the video.
    """
    digits = re.findall(r"\d+", Path(row["file"]).stem)
    return int(digits[-1]) if digits and "frame" not in row else number


def coco_rows(row: Row, number: int, classes: int) -> list[dict[str, Any]]:
    """Return the detections of a picture in COCO's format of results.

    80 classes get COCO's category ids; other classes are numbered from 1. Boxes are left, top,
    width, height in pixels there; `format`, a key that COCO's readers ignore, says so.
    """
    ids = COCO_IDS if classes == len(COCO_IDS) else range(1, classes + 1)
    picture = image_id(row, number)
    return [
        {
            "image_id": picture,
            "category_id": ids[found["class"]],
            "bbox": [left, top, round(right - left, 2), round(bottom - top, 2)],
            "format": "xywh",
            "score": found["score"],
        }
        for found in row["detections"]
        for left, top, right, bottom in [found["box"]]
    ]


@contextmanager
def coco_results(target: Path, classes: int) -> Iterator[AddRow]:
    """Yield a function that writes the detections of a row in COCO's format of results.

    Logs a warning at the end if several pictures have the same id.
    """
    ids = Counter[int]()
    with appending(target) as append, _listed(append) as add_found:

        def add(row: Row) -> None:
            number = ids.total()
            ids[image_id(row, number)] += 1
            for found in coco_rows(row, number, classes):
                add_found(found)

        yield add
    message = "%s: %d pictures have COCO's id %s; give each a number in its name"
    _warn_if_shared(ids, message, target)


@contextmanager
def voc_files(folder: Path, names: Sequence[str], classes: int) -> Iterator[AddRow]:
    """Yield a function that adds the detections of a row to VOC's files, written at the end.

    There is a file `comp4_det_test_CLASS.txt` for each class, with picture, score and box from
    pixel 1. VOC identifies a picture by its name without folder and suffix. Logs a warning if
    several pictures have the same name.
    Source: AlexeyAB/darknet src/detector.c, print_detector_detections.
    """
    pictures, lines = Counter[str](), [bytearray() for _ in range(classes)]

    def add(row: Row) -> None:
        pictures[_voc_name(row)] += 1
        for found in row["detections"]:
            lines[found["class"]] += _voc_line(row, found)

    try:
        yield add
    finally:
        message = "%s: %d pictures are named '%s' for VOC; give each a name of its own"
        _warn_if_shared(pictures, message, folder)
        for stem, text in zip(_file_stems(names, classes), lines, strict=True):
            replace(folder / f"comp4_det_test_{stem}.txt", [bytes(text)])


def _voc_line(row: Row, found: Row) -> bytes:
    box = np.clip(np.array(found["box"]) + 1, 1, [row["width"], row["height"]] * 2)
    numbers = " ".join(f"{value:f}" for value in (found["score"], *box))
    return f"{_voc_name(row)} {numbers}\n".encode()


def _file_stems(names: Sequence[str], classes: int) -> list[str]:
    """Return a part of a file name for each class: its name as far as files can have it.

    A class whose part would be that of another has its number behind it.
    """
    shown = (class_name(cls, names) for cls in range(classes))
    stems = [re.sub(r"[/\0\ud800-\udfff]", "_", name) for name in shown]
    stems = [stem.encode()[:MOST_STEM].decode(errors="ignore") for stem in stems]
    times = Counter(stems)
    return [stem if times[stem] == 1 else f"{stem}_{cls}" for cls, stem in enumerate(stems)]


def _warn_if_shared(pictures: Counter[Any], message: str, path: Path) -> None:
    """Log the message for the most common key, with its count, if several pictures share it."""
    for key, count in pictures.most_common(1):
        if count > 1:
            logger.warning(message, path, count, key)


def _voc_name(row: Row) -> str:
    return printable(frame_name(Path(row["file"]).stem, row.get("frame")))


def yolo_lines(prediction: Prediction) -> Iterator[str]:
    """Yield a label for each detection: class, cx, cy, w, h as fractions of the picture, score."""
    found, (h, w) = prediction.result, prediction.size
    boxes = xyxy_to_cxcywh(found.boxes) / np.array([w, h, w, h], np.float32)
    rows = zip(found.classes, boxes, found.scores, strict=True)
    for cls, box, score in rows:
        yield f"{cls} {' '.join(f'{value:.6f}' for value in box)} {score:.5f}\n"


def write_yolo(path: Path, prediction: Prediction) -> None:
    """Write the labels of a picture, or of a frame to a file of its own beside `path`."""
    target = path.with_name(f"{frame_name(path.stem, prediction.frame)}{path.suffix}")
    replace(target, ["".join(yolo_lines(prediction)).encode()])
