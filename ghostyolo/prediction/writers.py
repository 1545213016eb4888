"""Files of detections: annotated pictures, JSON, JSON lines, COCO, VOC's comp4, YOLO labels."""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np

from ghostyolo.boxes import xyxy_to_cxcywh
from ghostyolo.errors import DataError, Span
from ghostyolo.files import replace, writing
from ghostyolo.prediction.output_paths import frame_name
from ghostyolo.prediction.predict import Prediction
from ghostyolo.prediction.results import class_name

# COCO numbers its 80 classes up to 90. Source: AlexeyAB/darknet src/detector.c, coco_ids.
_UNUSED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
COCO_IDS = tuple(number for number in range(1, 91) if number not in _UNUSED)

logger = logging.getLogger(__name__)


def write_picture(path: Path, image: np.ndarray) -> None:
    """Write a picture, uint8 RGB (H, W, 3), in the format of the path's suffix."""
    try:
        _, data = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    except cv2.error:
        hint = "give pictures with a suffix such as .jpg or .png"
        raise DataError("cannot be written", span=Span(str(path)), hint=hint) from None
    replace(path, [data.tobytes()])


def write_json(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write the rows of all pictures as one file."""
    replace(path, [json.dumps(rows, indent=1).encode()])


class JsonLines:
    """A file of JSON lines, complete once it is closed; or an open stream; None writes nothing."""

    def __init__(self, target: str | Path | BinaryIO | None) -> None:
        self._stack = ExitStack()
        if isinstance(target, str | Path):
            target = self._stack.enter_context(writing(target))
        self._file = target

    def add(self, row: dict[str, Any]) -> None:
        """Write the row of a picture."""
        if self._file is not None:
            self._file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
            self._file.flush()

    def close(self) -> None:
        """Put the file in its place."""
        self._stack.close()


def image_id(row: dict[str, Any], number: int) -> int:
    """Return COCO's id of a picture: the last digits of its name, else `number`.

    It is `number` too for a frame of a video, since all frames share the name.
    """
    digits = re.findall(r"\d+", Path(row["file"]).stem)
    return int(digits[-1]) if digits and "frame" not in row else number


def coco_rows(row: dict[str, Any], number: int, classes: int) -> list[dict[str, Any]]:
    """Return the detections of a picture as COCO's evaluation reads them.

    If there are 80 classes, their ids are COCO's; else classes are numbered from 1. Boxes are x, y,
    w, h in pixels.
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
    """Write the rows of all pictures as a file of COCO's results.

    Logs a warning where several pictures have the same id for COCO's evaluation.
    """
    message = "%s: %d pictures have COCO's id %s; give each a number in its name"
    _warn_if_shared((image_id(row, number) for number, row in enumerate(rows)), message, path)
    found = [each for number, row in enumerate(rows) for each in coco_rows(row, number, classes)]
    replace(path, [json.dumps(found).encode()])


def write_voc(
    folder: Path, rows: Sequence[dict[str, Any]], names: Sequence[str], classes: int
) -> None:
    """Write a file for each class, `comp4_det_test_CLASS.txt`: picture, score and box from pixel 1.

    VOC knows a picture by its name without folder and suffix. Logs a warning where several pictures
    share one.
    Source: AlexeyAB/darknet src/detector.c, print_detector_detections.
    """
    message = "%s: %d pictures are named '%s' for VOC; give each a name of its own"
    _warn_if_shared(map(_voc_name, rows), message, folder)
    lines: dict[str, list[str]] = {class_name(cls, names): [] for cls in range(classes)}
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
    """Log the message with the path, the number of pictures with the commonest key, and the key."""
    for key, count in Counter(keys).most_common(1):
        if count > 1:
            logger.warning(message, path, count, key)


def _voc_name(row: dict[str, Any]) -> str:
    return frame_name(Path(row["file"]).stem, row.get("frame"))


def yolo_lines(prediction: Prediction) -> Iterator[str]:
    """Yield a label for each detection: class, cx, cy, w, h as fractions of the picture, score."""
    found, (h, w) = prediction.result, prediction.image.shape[:2]
    boxes = xyxy_to_cxcywh(found.boxes) / np.array([w, h, w, h], np.float32)
    rows = zip(found.classes, boxes, found.scores, strict=True)
    for cls, box, score in rows:
        yield f"{cls} {' '.join(f'{value:.6f}' for value in box)} {score:.5f}\n"


def write_yolo(path: Path, prediction: Prediction) -> None:
    """Write the labels of a picture."""
    replace(path, ["".join(yolo_lines(prediction)).encode()])
