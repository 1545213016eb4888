"""Detections as other programs' files: JSON lines, COCO, VOC's comp4, YOLO labels."""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ghostyolo.boxes import xyxy_to_cxcywh
from ghostyolo.files import replace, writing
from ghostyolo.prediction.predict import Found, label

# COCO numbers its 80 classes up to 90. Source: AlexeyAB/darknet src/detector.c, coco_ids.
_UNUSED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
COCO_IDS = tuple(number for number in range(1, 91) if number not in _UNUSED)

logger = logging.getLogger(__name__)


def line(row: dict[str, Any]) -> bytes:
    """Return a picture's row of JSON as a line."""
    return json.dumps(row, ensure_ascii=False).encode() + b"\n"


def image_id(row: dict[str, Any], number: int) -> int:
    """Return COCO's number of a picture: the last digits of its name, else `number`.

    It is also `number` for a frame of a video, whose name all frames share.
    """
    digits = re.findall(r"\d+", Path(row["file"]).stem)
    return int(digits[-1]) if digits and "frame" not in row else number


def coco_rows(row: dict[str, Any], number: int, classes: int) -> list[dict[str, Any]]:
    """Return a picture's detections as COCO's evaluation reads them.

    Of 80 classes, they are COCO's; others are numbered from 1. Boxes are x, y, w, h in pixels.
    """
    ids = COCO_IDS if classes == len(COCO_IDS) else range(1, classes + 1)
    picture = image_id(row, number)
    return [
        {
            "image_id": picture,
            "category_id": ids[found["class"]],
            "bbox": found["box"],
            "score": found["score"],
        }
        for found in row["detections"]
    ]


def write_coco(path: Path, rows: Sequence[dict[str, Any]], classes: int) -> None:
    """Write what `as_dict` gave of all pictures as one file of COCO's results.

    Pictures that would be one to COCO's evaluation are warned of.
    """
    message = "%s: %d pictures are number %s to COCO; give each a number in its name"
    _warn_if_shared((image_id(row, number) for number, row in enumerate(rows)), message, path)
    found = [each for number, row in enumerate(rows) for each in coco_rows(row, number, classes)]
    replace(path, [json.dumps(found).encode()])


def write_voc(folder: Path, rows: Sequence[dict[str, Any]], names: Sequence[str]) -> None:
    """Write a file of each class, `comp4_det_test_CLASS.txt`: picture, score and box from pixel 1.

    A picture goes by its name without folder and suffix; those that share one are warned of.
    Source: AlexeyAB/darknet src/detector.c, print_detector_detections.
    """
    message = "%s: %d pictures are '%s' to VOC; give each a name of its own"
    _warn_if_shared(map(_voc_name, rows), message, folder)
    lines: dict[str, list[str]] = {name: [] for name in names}
    for row in rows:
        picture = _voc_name(row)
        for found in row["detections"]:
            x, y, w, h = found["box"]
            limit = np.array([row["width"], row["height"]] * 2)
            box = np.clip(np.array([x, y, x + w, y + h]) + 1, 1, limit)
            numbers = " ".join(f"{value:f}" for value in (found["score"], *box))
            lines.setdefault(found["name"], []).append(f"{picture} {numbers}\n")
    for name, text in lines.items():
        replace(folder / f"comp4_det_test_{name}.txt", ["".join(text).encode()])


def _warn_if_shared(keys: Iterable[object], message: str, path: Path) -> None:
    """Log the message with the path, how many pictures have the commonest key, and that key."""
    for key, count in Counter(keys).most_common(1):
        if count > 1:
            logger.warning(message, path, count, key)


def _voc_name(row: dict[str, Any]) -> str:
    return frame_name(Path(row["file"]).stem, row.get("frame"))


def frame_name(stem: str, frame: int | None) -> str:
    """Return the name of a picture, which a frame shares with all others of its video."""
    return stem if frame is None else f"{stem}_{frame}"


def yolo_lines(found: Found) -> Iterator[str]:
    """Yield a label for each detection: class, cx, cy, w, h as shares of the picture, score."""
    h, w = found.image.shape[:2]
    shares = xyxy_to_cxcywh(found.detections.boxes) / np.array([w, h, w, h], np.float32)
    rows = zip(found.detections.classes, shares, found.detections.scores, strict=True)
    for cls, box, score in rows:
        yield f"{cls} {' '.join(f'{value:.6f}' for value in box)} {score:.5f}\n"


def write_yolo(path: Path, found: Found) -> None:
    """Write a picture's labels."""
    replace(path, ["".join(yolo_lines(found)).encode()])


class Lines:
    """A file of JSON lines, in its place once it is closed; `-` is a stream that is open."""

    def __init__(self, path: str, stdout: BinaryIO) -> None:
        self._stack = ExitStack()
        self._file = stdout if path == "-" else self._stack.enter_context(writing(path))

    def add(self, row: dict[str, Any]) -> None:
        """Write a picture's row."""
        self._file.write(line(row))
        self._file.flush()

    def close(self) -> None:
        """Put the file in its place."""
        self._stack.close()


def named(classes: int, names: Sequence[str]) -> list[str]:
    """Return a name for every class."""
    return [label(cls, names) for cls in range(classes)]
