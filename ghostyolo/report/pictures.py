"""The pictures on which a detector makes most errors, with their truths and detections."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from ghostyolo.data import Sample, read_image
from ghostyolo.drawing import place_labels
from ghostyolo.errors import DataError
from ghostyolo.evaluation.error_types import (
    CORRECT,
    IGNORED,
    POORLY_LOCALIZED,
    WRONG_CLASS,
    WRONG_CLASS_AND_PLACE,
    Outcomes,
)
from ghostyolo.model.detections import Detections

MAX_PICTURES, MAX_BOXES = 6, 100
LONG_SIDE, QUALITY = 560, 80  # pixels, so that lines and letters look alike on all; JPEG quality
LETTER, LINE = 12, 20  # pixels of a label, in the larger letters that a phone shows
FEW_BOXES = 12  # up to this number of boxes each has room for its whole label
MAX_LETTERS = 26  # of a class name in a label
# Other outcomes are drawn on top.
DRAWN_FIRST = (IGNORED, CORRECT, POORLY_LOCALIZED, WRONG_CLASS_AND_PLACE, WRONG_CLASS)


class Boxes(NamedTuple):
    """Boxes to draw on a picture: (n, 4) xyxy in its pixels; (n,) of the rest.

    labels: what follows the name of the class.
    """

    boxes: np.ndarray
    classes: np.ndarray
    labels: Sequence[str]
    outcomes: Sequence[str]


def truths_of(sample: Sample, outcomes: Sequence[str]) -> Boxes:
    """Return the truths of a picture to draw, with their outcomes."""
    return Boxes(sample.boxes_xyxy_px, sample.classes, [""] * len(sample.classes), outcomes)


def detections_of(found: Detections, outcomes: Outcomes) -> Boxes:
    """Return the detections of a picture to draw, with their scores and outcomes."""
    labels = [f" {score:.2f}" for score in found.scores]
    return Boxes(found.boxes, found.classes, labels, outcomes.detections.tolist())


def with_most_errors(
    detections: Sequence[Detections],
    samples: Sequence[Sample],
    outcomes: Sequence[Outcomes],
    names: Sequence[str],
) -> list[dict[str, Any]]:
    """Return the pictures with most errors, or the first ones if there are no errors at all.

    Each has its truths and its detections as drawings, see `marked`. Pictures that cannot be read
    any more are left out.
    """
    counts = np.array([sum(outcome.errors().values()) for outcome in outcomes])
    order = np.argsort(-counts, kind="stable").tolist()
    return [
        marked(
            image,
            samples[row],
            names,
            {
                "truths": truths_of(samples[row], outcomes[row].truths.tolist()),
                "detections": detections_of(detections[row], outcomes[row]),
            },
            errors_in_words(outcomes[row]),
        )
        for row, image in first_readable(samples, order, MAX_PICTURES)
    ]


def first_readable(
    samples: Sequence[Sample], order: Sequence[int], count: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield index and picture of the first `count` samples that can be read, in the given order.

    Pictures may have been deleted since the validation; at most 2 * count are tried.
    """
    for row in order[: 2 * count]:
        if not count:
            return
        try:
            image = read_image(samples[row].path)
        except DataError:
            continue
        count -= 1
        yield row, image


def resized(image: np.ndarray, long_side: int) -> np.ndarray:
    """Return the picture, shrunk if its longer side is above `long_side` pixels."""
    h, w = _scaled_size(image, long_side)
    larger = max(image.shape[:2]) > long_side
    return cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA) if larger else image


def jpeg(image: np.ndarray) -> bytes:
    """Return a picture, uint8 RGB, as a JPEG file."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return data.tobytes()


def jpeg_uri(data: bytes) -> str:
    """Return a JPEG file as a data URI, which an HTML page can show."""
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"


def _scaled_size(image: np.ndarray, long_side: int) -> tuple[int, int]:
    scale = long_side / max(image.shape[:2])
    h, w = (max(1, round(side * scale)) for side in image.shape[:2])
    return h, w


def marked(
    image: np.ndarray, sample: Sample, names: Sequence[str], boxes: Mapping[str, Boxes], errors: str
) -> dict[str, Any]:
    """Return a picture, and for each drawing of it, by its title, the boxes to draw; see `_mark`.

    uri: the JPEG. w, h: the size of the drawings. errors: what is wrong, in words.
    """
    scale = LONG_SIDE / max(image.shape[:2])
    h, w = _scaled_size(image, LONG_SIDE)
    few = max(len(each.classes) for each in boxes.values()) <= FEW_BOXES
    drawings = {}
    for title, own in boxes.items():
        columns = (own.boxes * scale, own.outcomes, own.classes, own.labels)
        marks = (
            _mark(box, outcome, names[cls], label, few)
            for box, outcome, cls, label in zip(*columns, strict=True)
        )
        drawings[title] = _labelled(_in_order(marks), (h, w))
    return {
        "path": sample.path,
        "name": Path(sample.path).name,
        "uri": jpeg_uri(jpeg(resized(image, LONG_SIDE))),
        "w": w,
        "h": h,
        "drawings": drawings,
        "errors": errors,
    }


def errors_in_words(outcomes: Outcomes) -> str:
    """Return the number of errors of each type in a picture."""
    counts = outcomes.errors().items()
    return ", ".join(f"{kind}: {count}" for kind, count in counts if count) or "no errors"


def _mark(box: np.ndarray, outcome: str, name: str, score: str, few: bool) -> dict[str, Any]:
    """Return a box in units of the drawing, its outcome, its label, and its tooltip.

    few: whether the picture has so few boxes that the labels have room.
    """
    left, top, right, bottom = (round(float(edge), 1) for edge in box)
    short = name if len(name) <= MAX_LETTERS else f"{name[: MAX_LETTERS - 1]}…"
    is_error = outcome not in (CORRECT, IGNORED)
    label = f"{outcome}: {short}{score}" if is_error else f"{short}{score}"
    if not few:  # only the colour shows the outcome
        label = short if is_error else ""
    w, h = round(right - left, 1), round(bottom - top, 1)
    place = {"x": left, "y": top, "w": w, "h": h}
    return {**place, "outcome": outcome, "label": label, "title": f"{name}{score}: {outcome}"}


def _labelled(marks: list[dict[str, Any]], picture: tuple[int, int]) -> list[dict[str, Any]]:
    """Add the end and the baseline of each label; take away those without a free place.

    picture: (h, w) of the drawing. The marks on top have the first choice. The width of a letter
    is not known, so that a label begins, or ends, at the side where its place meets the box.
    """
    ordered = sorted(marks, key=lambda mark: bool(mark["label"]))[::-1]
    boxes = np.array([(m["x"], m["y"], m["x"] + m["w"], m["y"] + m["h"]) for m in ordered])
    widths = [min(LETTER * len(mark["label"]), picture[1]) for mark in ordered if mark["label"]]
    sizes = np.column_stack((widths, np.full(len(widths), LINE)))
    corners, free = place_labels(boxes.reshape(-1, 4), sizes, picture)
    for row, (mark, (x, y), w) in enumerate(zip(ordered, corners.tolist(), widths, strict=False)):
        mark["label"] = mark["label"] if free[row] else ""
        anchor, text_x = _anchor(mark, x, w)
        mark |= {"anchor": anchor, "text_x": round(text_x, 1), "text_y": round(y + 0.75 * LINE, 1)}
    return marks


def _anchor(mark: dict[str, Any], x: float, w: float) -> tuple[str, float]:
    """Return which end of a label, between x and x + w, is nearest to its box, and where it is."""
    left, right = mark["x"], mark["x"] + mark["w"]
    ends = {"start": x + 2, "end": x + w - 2, "middle": x + w / 2}
    if x >= right or x + w <= left:  # beside the box
        anchor = "start" if x >= right else "end"
    else:
        off = {"start": abs(x - left), "end": abs(x + w - right)}
        off["middle"] = abs(ends["middle"] - (left + right) / 2)
        anchor = min(off, key=off.__getitem__)
    return anchor, ends[anchor]


def _in_order(marks: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the first MAX_BOXES marks in the order in which they are drawn."""
    order = {outcome: place for place, outcome in enumerate(DRAWN_FIRST)}
    first = islice(marks, MAX_BOXES)
    return sorted(first, key=lambda mark: order.get(mark["outcome"], len(order)))
