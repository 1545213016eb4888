"""Grids of pictures as JPEG: training batches, and validation pictures with truths beside found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from ghostyolo.boxes import cxcywh_to_xyxy
from ghostyolo.data import Sample
from ghostyolo.drawing import FONT, SMALLEST_TEXT, draw, draw_boxes
from ghostyolo.model.detections import Detections
from ghostyolo.report.pictures import first_readable, jpeg

CELL, COLUMNS, ROWS = 256, 4, 4  # a grid of pictures, each in a square of CELL pixels
VALIDATION_GRIDS = 2
GAP, CAPTION = 4, 18  # pixels between pictures, and the height of the line above a picture
LARGEST_LABEL = 0.5  # in areas of its box: those of small boxes would hide their neighbours
GROUND, INK = (38, 44, 52), (232, 236, 241)


def batch_grid(images: np.ndarray, truths: np.ndarray, names: Sequence[str]) -> bytes:
    """Draw the first pictures of a training batch, with their boxes or classes.

    images: (B, C, h, w), RGB or shades of grey, bytes or numbers from 0 to 1. truths: as
    `Batches.batch_at` returns them; a classifier's mixed picture has each class with its fraction.
    """
    cells = []
    for number, planes in enumerate(images[: ROWS * COLUMNS]):
        levels = planes if planes.dtype == np.uint8 else np.rint(planes * 255).astype(np.uint8)
        image = _fitted(np.broadcast_to(levels, (3, *levels.shape[1:])).transpose(1, 2, 0))
        rows, sides = truths[truths[:, 0] == number, 1:], np.array(image.shape[1::-1] * 2)
        if rows.shape[1] == 2:  # fraction and class
            boxes = np.broadcast_to(sides * (0, 0, 1, 1), (len(rows), 4))
            remarks = [f"{fraction:.2f}" if fraction < 1 else "" for fraction in rows[:, 0]]
            cells.append(draw_boxes(image, boxes, rows[:, 1], names, remarks))
        else:
            boxes = cxcywh_to_xyxy(rows[:, :4]) * sides
            cells.append(draw_boxes(image, boxes, rows[:, 4], names, most=LARGEST_LABEL))
    return jpeg(_tiled(cells))


def validation_grids(
    samples: Sequence[Sample], found: Sequence[Detections], names: Sequence[str]
) -> list[bytes]:
    """Draw pictures from the whole of a data set, each with its truths and beside it with `found`.

    found: of each sample; for a classifier, a box around the picture with its class.
    """
    each = ROWS * COLUMNS // 2
    count = min(len(samples), VALIDATION_GRIDS * each)
    order = np.linspace(0, len(samples) - 1, count).round().astype(int).tolist()
    pairs = [
        cell
        for row, image in first_readable(samples, order, count)
        for cell in _pair(image, samples[row], found[row], names)
    ]
    starts = range(0, len(pairs), ROWS * COLUMNS)
    return [jpeg(_tiled(pairs[start : start + ROWS * COLUMNS])) for start in starts]


def batch_files(folder: Path) -> Mapping[int, Path]:
    """Return the files of training batches in the folder of a run, by their iteration, in order."""
    files = {
        path.stem.removeprefix("train_batch"): path for path in folder.glob("train_batch*.jpg")
    }
    return {number: files[str(number)] for number in sorted(map(int, filter(str.isdecimal, files)))}


def _pair(
    image: np.ndarray, sample: Sample, found: Detections, names: Sequence[str]
) -> Iterator[np.ndarray]:
    cell = _fitted(image)
    scale = np.array(cell.shape[1::-1] * 2) / (image.shape[1::-1] * 2)
    remarks = ["ignored" if ignored else "" for ignored in sample.ignore]
    boxes = sample.boxes_xyxy_px * scale
    truths = draw_boxes(cell, boxes, sample.classes, names, remarks, most=LARGEST_LABEL)
    yield _captioned(truths, f"truth: {Path(sample.path).name}")
    scaled = Detections(found.boxes * scale, found.scores, found.classes)
    yield _captioned(draw(cell, scaled, names, most=LARGEST_LABEL), "found")


def _fitted(image: np.ndarray) -> np.ndarray:
    """Return a picture, enlarged or shrunk to a longer side of CELL pixels."""
    scale = CELL / max(image.shape[:2])
    h, w = (max(1, round(side * scale)) for side in image.shape[:2])
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(image, (w, h), interpolation=method)


def _captioned(image: np.ndarray, text: str) -> np.ndarray:
    """Return a picture below a line of text, as wide as a cell."""
    h, w = image.shape[:2]
    canvas = np.full((CAPTION + h, CELL, 3), GROUND, np.uint8)
    cv2.putText(canvas, text, (2, CAPTION - 5), FONT, SMALLEST_TEXT, INK, 1, cv2.LINE_AA)
    left = (CELL - w) // 2
    canvas[CAPTION:, left : left + w] = image
    return canvas


def _tiled(cells: Sequence[np.ndarray]) -> np.ndarray:
    """Return pictures in rows of COLUMNS, each row as high as its highest picture."""
    width = min(COLUMNS, len(cells)) * (CELL + GAP) + GAP
    lines = [np.full((GAP, width, 3), GROUND, np.uint8)]
    for start in range(0, len(cells), COLUMNS):
        row = cells[start : start + COLUMNS]
        line = np.full((max(map(len, row)) + GAP, width, 3), GROUND, np.uint8)
        for number, cell in enumerate(row):
            left = GAP + number * (CELL + GAP) + (CELL - cell.shape[1]) // 2
            line[: len(cell), left : left + cell.shape[1]] = cell
        lines.append(line)
    return np.concatenate(lines)
