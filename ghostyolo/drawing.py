"""Draw detections on an image, with lines and text scaled to its size."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np

Colour = tuple[int, int, int]
Box = tuple[int, int, int, int]  # left, top, right, bottom in whole pixels

FONT = cv2.FONT_HERSHEY_SIMPLEX
GOLDEN_RATIO = 0.6180339887
TONES = ((0.85, 1.0), (0.6, 0.8), (1.0, 0.65))  # saturation and value
SMALLEST_TEXT = 0.35  # scale of OpenCV's font at which digits are still legible


class Drawable(Protocol):
    """Boxes (n, 4) xyxy in pixels, scores (n,) and classes (n,), such as `Detections`."""

    @property
    def boxes(self) -> np.ndarray: ...

    @property
    def scores(self) -> np.ndarray: ...

    @property
    def classes(self) -> np.ndarray: ...


def draw(image: np.ndarray, detections: Drawable, names: Sequence[str] = ()) -> np.ndarray:
    """Return a copy of an image with a box, the class name and the score of each detection.

    image: (H, W, 3) uint8 RGB. Detections are drawn in ascending order of score, so that the
    highest scores are on top. A class without a name is shown by its number; a name wider than the
    image is shortened. Boxes that are not finite are omitted, all others are clipped to the image.
    """
    canvas = np.ascontiguousarray(image).copy()
    thickness = max(1, round(_unit(canvas) / 300))
    for row in np.argsort(detections.scores, kind="stable"):
        if not np.isfinite(detections.boxes[row]).all():
            continue
        cls, score = int(detections.classes[row]), float(detections.scores[row])
        name = names[cls] if 0 <= cls < len(names) else f"class {cls}"
        box = _pixels(detections.boxes[row], canvas.shape)
        cv2.rectangle(canvas, box[:2], box[2:], class_colour(cls), thickness)
        _label(canvas, name, f"{score:.2f}", box, class_colour(cls))
    return canvas


def class_colour(cls: int) -> Colour:
    """Return the RGB colour of a class: fixed, and different from those of neighbouring classes."""
    hue = (cls * GOLDEN_RATIO) % 1
    red, green, blue = colorsys.hsv_to_rgb(hue, *TONES[cls % len(TONES)])
    return round(red * 255), round(green * 255), round(blue * 255)


def _pixels(box_xyxy_px: np.ndarray, shape: tuple[int, ...]) -> Box:
    """Return the outermost pixels of a box within the image."""
    h, w = shape[:2]
    left, top = np.floor(box_xyxy_px[:2])
    right, bottom = np.ceil(box_xyxy_px[2:]) - 1
    x, y = np.clip((left, right), 0, w - 1), np.clip((top, bottom), 0, h - 1)
    return int(x[0]), int(y[0]), int(x[1]), int(y[1])


def _label(canvas: np.ndarray, name: str, score: str, box: Box, colour: Colour) -> None:
    """Write name and score on a filled rectangle within the image, near the top of the box."""
    h, w = canvas.shape[:2]
    scale = max(SMALLEST_TEXT, _unit(canvas) / 1100)
    weight = max(1, round(scale * 1.4))
    (_, text_h), baseline = cv2.getTextSize(f"{name} {score}", FONT, scale, weight)
    pad = max(2, text_h // 4)
    text, text_w = _fitted(name, score, w - 2 * pad, scale, weight)
    label_w, label_h = text_w + 2 * pad, text_h + baseline // 2 + 2 * pad
    left = max(0, min(box[0], w - label_w))
    top = max(0, min(_label_top(box, label_h), h - label_h))
    cv2.rectangle(canvas, (left, top), (left + label_w - 1, top + label_h - 1), colour, -1)
    foot = (left + pad, top + pad + text_h)
    cv2.putText(canvas, text, foot, FONT, scale, _contrast(colour), weight, cv2.LINE_AA)


def _label_top(box: Box, label_h: int) -> int:
    """Return the label's top: above the box if there is room, else inside a tall box, or below."""
    _, top, _, bottom = box
    if top >= label_h:
        return top - label_h
    return top if bottom - top > 3 * label_h else bottom + 1


def _fitted(name: str, score: str, width: int, scale: float, weight: int) -> tuple[str, int]:
    """Shorten the name until the text is no wider than `width`; return the text and its width."""
    for end in range(len(name), -1, -1):
        text = f"{name[:end]}{'..' if end < len(name) else ''} {score}"
        text_w = cv2.getTextSize(text, FONT, scale, weight)[0][0]
        if text_w <= width:
            break
    return text, text_w


def _unit(canvas: np.ndarray) -> float:
    """Return the square root of the image's area, to which lines and text are proportional."""
    return float(np.sqrt(canvas.shape[0] * canvas.shape[1]))


def _contrast(colour: Colour) -> Colour:
    """Return black or white, whichever contrasts more. Source: ITU-R BT.601, luma."""
    red, green, blue = colour
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else (255, 255, 255)
