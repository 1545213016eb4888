"""Files of detections and their names: annotated pictures, JSON, CSV, COCO, VOC, YOLO labels."""

from __future__ import annotations

import csv
import io
import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np

from ghostyolo.boxes import xyxy_to_cxcywh
from ghostyolo.drawing import class_name
from ghostyolo.errors import UNPRINTABLE, printable
from ghostyolo.files import replace, writing
from ghostyolo.prediction.predict import Prediction, Row
from ghostyolo.prediction.sources import STDIN, Sources

VIDEO_SUFFIX = ".mp4"
CSV_COLUMNS = "file", "frame", "class", "name", "score", "left", "top", "right", "bottom"
# COCO numbers its 80 classes up to 90. Source: AlexeyAB/darknet src/detector.c, coco_ids.
_UNUSED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
COCO_IDS = tuple(number for number in range(1, 91) if number not in _UNUSED)
MOST_STEM = 200  # bytes of a class name in a file name

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


def write_json(path: Path, rows: Sequence[Row]) -> None:
    """Write the rows of all pictures as one JSON file."""
    replace(path, [json.dumps(rows, indent=1).encode()])


@contextmanager
def json_lines(target: str | Path | BinaryIO | None) -> Iterator[Callable[[Row], None]]:
    """Yield a function that writes a row as a line of JSON.

    target: a file, which is in its place once the context ends, or an open stream. Without a target
    nothing is written.
    """
    stack = ExitStack()
    file = stack.enter_context(writing(target)) if isinstance(target, str | Path) else target

    def add(row: Row) -> None:
        if file is not None:
            text = json.dumps(row, ensure_ascii=False)
            line = UNPRINTABLE.sub(lambda char: f"\\u{ord(char[0]):04x}", text)
            file.write(line.encode() + b"\n")
            file.flush()

    try:
        yield add
    finally:
        stack.close()


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write a line for each detection, for spreadsheets; `frame` is empty for a picture."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(CSV_COLUMNS)
    for row in rows:
        for found in row["detections"]:
            place = _cell(row["file"]), row.get("frame")
            table.writerow(
                [*place, found["class"], _cell(found["name"]), found["score"], *found["box"]]
            )
    replace(path, [text.getvalue().encode(errors="backslashreplace")])


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


def write_coco(path: Path, rows: Sequence[Row], classes: int) -> None:
    """Write the detections of all pictures in COCO's format of results.

    Logs a warning if several pictures have the same id.
    """
    message = "%s: %d pictures have COCO's id %s; give each a number in its name"
    _warn_if_shared((image_id(row, number) for number, row in enumerate(rows)), message, path)
    found = [each for number, row in enumerate(rows) for each in coco_rows(row, number, classes)]
    replace(path, [json.dumps(found).encode()])


def write_voc(folder: Path, rows: Sequence[Row], names: Sequence[str], classes: int) -> None:
    """Write a file `comp4_det_test_CLASS.txt` for each class: picture, score, box from pixel 1.

    VOC identifies a picture by its name without folder and suffix. Logs a warning if several
    pictures have the same name.
    Source: AlexeyAB/darknet src/detector.c, print_detector_detections.
    """
    message = "%s: %d pictures are named '%s' for VOC; give each a name of its own"
    _warn_if_shared(map(_voc_name, rows), message, folder)
    lines: list[list[str]] = [[] for _ in range(classes)]
    for row in rows:
        picture = _voc_name(row)
        for found in row["detections"]:
            limit = np.array([row["width"], row["height"]] * 2)
            box = np.clip(np.array(found["box"]) + 1, 1, limit)
            numbers = " ".join(f"{value:f}" for value in (found["score"], *box))
            lines[found["class"]].append(f"{picture} {numbers}\n")
    stems = _file_stems([class_name(cls, names) for cls in range(classes)])
    for stem, text in zip(stems, lines, strict=True):
        replace(folder / f"comp4_det_test_{stem}.txt", ["".join(text).encode()])


def _file_stems(names: Sequence[str]) -> list[str]:
    """Return a part of a file name for each class: its name as far as files can have it.

    A class whose part would be that of another has its number behind it.
    """
    stems = [re.sub(r"[/\0\ud800-\udfff]", "_", name) for name in names]
    stems = [stem.encode()[:MOST_STEM].decode(errors="ignore") for stem in stems]
    times = Counter(stems)
    return [stem if times[stem] == 1 else f"{stem}_{cls}" for cls, stem in enumerate(stems)]


def _warn_if_shared(keys: Iterable[object], message: str, path: Path) -> None:
    """Log the message for the most common key, with its count, if several pictures share it."""
    for key, count in Counter(keys).most_common(1):
        if count > 1:
            logger.warning(message, path, count, key)


def _voc_name(row: Row) -> str:
    return printable(frame_name(Path(row["file"]).stem, row.get("frame")))


def yolo_lines(prediction: Prediction) -> Iterator[str]:
    """Yield a label for each detection: class, cx, cy, w, h as fractions of the picture, score."""
    found, (h, w) = prediction.result, prediction.image.shape[:2]
    boxes = xyxy_to_cxcywh(found.boxes) / np.array([w, h, w, h], np.float32)
    rows = zip(found.classes, boxes, found.scores, strict=True)
    for cls, box, score in rows:
        yield f"{cls} {' '.join(f'{value:.6f}' for value in box)} {score:.5f}\n"


def write_yolo(path: Path, prediction: Prediction) -> None:
    """Write the labels of a picture, or of a frame to a file of its own beside `path`."""
    target = path.with_name(f"{frame_name(path.stem, prediction.frame)}{path.suffix}")
    replace(target, ["".join(yolo_lines(prediction)).encode()])
