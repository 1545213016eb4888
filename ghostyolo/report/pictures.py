"""The pictures that a detector got most wrong, with what is there and what it found."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ghostyolo.boxes import Detections
from ghostyolo.data import Sample, read_image
from ghostyolo.errors import DataError
from ghostyolo.evaluation.curves import CLASS, IGNORED, PLACE, RIGHT, Verdict

MOST_PICTURES, MOST_BOXES = 6, 100
LONG_SIDE, QUALITY = 560, 80  # pixels and JPEG quality: six pictures are half a megabyte
FEW_BOXES = 12  # so few that each has room for all that is to be said of it
LETTERS = 26


@dataclass(frozen=True)
class Mark:
    """A box in units of the drawing. kind: of its verdict; label: what stands beside it."""

    x: float
    y: float
    w: float
    h: float
    kind: str
    label: str
    title: str


@dataclass(frozen=True)
class Picture:
    """A JPEG with its marks. errors: how many of each kind there are, in words.

    w, h: of the drawing, whose longer side is LONG_SIDE whatever the picture has, so that lines
    and letters look alike on all.
    """

    path: str
    name: str
    uri: str
    w: int
    h: int
    truths: tuple[Mark, ...]
    found: tuple[Mark, ...]
    errors: str


def worst(
    detections: Sequence[Detections],
    samples: Sequence[Sample],
    verdicts: Sequence[Verdict],
    names: Sequence[str],
) -> list[Picture]:
    """Return the pictures with most errors, the worst first; one that cannot be read is left out.

    Without any error these are the first pictures.
    """
    counts = [sum(verdict.errors().values()) for verdict in verdicts]
    pictures: list[Picture] = []
    for row in np.argsort(-np.array(counts), kind="stable")[: 2 * MOST_PICTURES].tolist():
        if len(pictures) == MOST_PICTURES:
            break
        try:
            image = read_image(samples[row].path)
        except DataError:  # it was read for the detections, and is gone since
            continue
        pictures.append(_picture(image, detections[row], samples[row], verdicts[row], names))
    return pictures


def _picture(
    image: np.ndarray, found: Detections, sample: Sample, verdict: Verdict, names: Sequence[str]
) -> Picture:
    scale = LONG_SIDE / max(image.shape[:2])
    h, w = (max(1, round(side * scale)) for side in image.shape[:2])
    few = max(len(found), len(sample.classes)) <= FEW_BOXES
    truths = [
        _mark(box * scale, kind, names[cls], "", few)
        for box, cls, kind in zip(sample.boxes_xyxy_px, sample.classes, verdict.truths, strict=True)
    ]
    marks = [
        _mark(box * scale, kind, names[cls], f" {score:.2f}", few)
        for box, cls, score, kind in zip(
            found.boxes, found.classes, found.scores, verdict.detections, strict=True
        )
    ]
    errors = ", ".join(f"{count} {kind}" for kind, count in verdict.errors().items() if count)
    small = cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA) if scale < 1 else image
    return Picture(
        path=sample.path,
        name=Path(sample.path).name,
        uri=jpeg_uri(small),
        w=w,
        h=h,
        truths=_ordered(truths),
        found=_ordered(marks),
        errors=errors or "no errors",
    )


def _mark(box: np.ndarray, kind: str, name: str, score: str, few: bool) -> Mark:
    left, top, right, bottom = (round(float(edge), 1) for edge in box)
    short = name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…"
    fine = kind in (RIGHT, IGNORED)
    label = f"{short}{score}" if fine else f"{kind}: {short}{score}"
    if not few:  # the colour has to say the rest
        label = "" if fine else short
    size = (round(right - left, 1), round(bottom - top, 1))
    return Mark(left, top, *size, kind, label, f"{name}{score}: {kind}")


def _ordered(marks: Sequence[Mark]) -> tuple[Mark, ...]:
    """Put the errors last, so that they are drawn over the others."""
    order = {IGNORED: 0, RIGHT: 1, PLACE: 2, CLASS: 3}
    return tuple(sorted(marks[:MOST_BOXES], key=lambda mark: order.get(mark.kind, 4)))


def jpeg_uri(image: np.ndarray) -> str:
    """Return a picture as a JPEG that an HTML page holds itself."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
