"""What the page shows of a classifier: accuracy, what is taken for what, the worst pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ghostyolo.data import Dataset, read_image
from ghostyolo.errors import DataError
from ghostyolo.evaluation.classification import Accuracy, order
from ghostyolo.report import tables
from ghostyolo.report.pictures import jpeg_uri

TITLES = {
    "accuracy": "Accuracy",
    "taken": "What is taken for what",
    "wrong": "Pictures, worst first",
}
MOST_PICTURES = 18
LONG_SIDE = 240  # pixels


@dataclass(frozen=True)
class Answered:
    """A picture as a JPEG, its class, what it was taken for, and how likely both are, 0 to 1."""

    path: str
    name: str
    uri: str
    truth: str
    likely: float
    taken: str
    sure: float


def sections(accuracy: Accuracy, answers: Sequence[Any], val: Dataset | None) -> dict[str, Any]:
    """Return what the sections of a classifier's page show, by their names."""
    matrix = np.pad(accuracy.matrix, (0, 1))  # the last is what is no class, which no picture is
    taken = tables.confusion(matrix, accuracy.names)
    taken["head"] = taken["head"][:-1]
    taken["rows"] = [(name, cells[:-1]) for name, cells in taken["rows"][:-1]]
    return {
        "accuracy": {
            "rows": accuracy.rows(),
            "pictures": int(accuracy.matrix.sum()),
            "top1": accuracy.top1,
            "top5": accuracy.top5,
        },
        "taken": taken,
        "wrong": worst(answers, val) if val is not None else [],
    }


def worst(answers: Sequence[np.ndarray], val: Dataset) -> list[Answered]:
    """Return the pictures whose class was least likely, worst first; unreadable ones left out."""
    stacked = np.array(answers, np.float64).reshape(len(val), -1)
    truths = np.array([sample.classes[0] for sample in val.samples], np.int64)
    likely = stacked[np.arange(len(val)), truths]
    first = order(stacked)[:, 0]
    wrong_first = np.lexsort((likely, first == truths))
    pictures: list[Answered] = []
    for row in wrong_first[: 2 * MOST_PICTURES].tolist():
        if len(pictures) == MOST_PICTURES:
            break
        path = val.samples[row].path
        try:
            image = read_image(path)
        except DataError:  # it was read for the answers, and is gone since
            continue
        truth, seen = val.names[truths[row]], val.names[first[row]]
        chances = float(likely[row]), float(stacked[row, first[row]])
        uri = jpeg_uri(_small(image))
        pictures.append(Answered(path, Path(path).name, uri, truth, chances[0], seen, chances[1]))
    return pictures


def _small(image: np.ndarray) -> np.ndarray:
    scale = LONG_SIDE / max(image.shape[:2])
    h, w = (max(1, round(side * scale)) for side in image.shape[:2])
    return cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA) if scale < 1 else image
