"""Made-up detections and data sets to score, and boxes moved into a network's input."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ghostyolo.data import Dataset, Sample
from ghostyolo.model.detections import Detections

Row = tuple[float, ...]


SQUARE = (10, 10, 50, 50)


SHIFTED = (20, 10, 60, 50)  # IoU .6 with SQUARE


ELSEWHERE = (200, 200, 240, 260)


def dataset(*pictures: Sequence[Row], names: Sequence[str] = ("a", "b")) -> Dataset:
    """Make a data set from rows of left, top, right, bottom, class and, if it is so, ignore."""
    samples = [sample(index, rows) for index, rows in enumerate(pictures)]
    return Dataset(tuple(names), tuple(samples), "test", "made/up")


def sample(index: int, rows: Sequence[Row]) -> Sample:
    table = np.array([(*row, 0)[:6] for row in rows], np.float32).reshape(-1, 6)
    return Sample(
        path=f"{index}.jpg",
        boxes_xyxy_px=table[:, :4],
        classes=table[:, 4].astype(np.int64),
        ignore=table[:, 5] > 0,
        size=(300, 300),
        image_id=index,
    )


def found(*rows: Row) -> Detections:
    """Make detections from rows of left, top, right, bottom, class, score."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 5], table[:, 4])


def random_case(seed: int, ignore: float) -> tuple[list[Detections], Dataset]:
    """Make 30 pictures whose truths are found with errors, doubles and inventions."""
    rng = np.random.default_rng(seed)
    pictures, detections = [], []
    for _ in range(30):
        n = rng.integers(0, 7)
        corner, sides = rng.uniform(0, 200, (n, 2)), rng.uniform(8, 150, (n, 2))
        classes = rng.integers(0, 3, (n, 1))
        boxes = np.concatenate((corner, corner + sides), 1)
        pictures.append(np.concatenate((boxes, classes, rng.random((n, 1)) < ignore), 1))
        again = rng.integers(0, n, 2 * n) if n else np.zeros(0, int)
        moved = boxes[again] + rng.normal(0, 0.12, (2 * n, 4)) * np.tile(sides[again], 2)
        lost = rng.uniform(0, 200, (4, 2))
        boxes = np.concatenate((moved, np.concatenate((lost, lost + 40), 1)))
        classes = np.concatenate((classes[again], rng.integers(0, 3, (4, 1))))
        scores = rng.permutation(len(boxes) * 50)[: len(boxes), None] / (len(boxes) * 50)
        detections.append(found(*np.concatenate((boxes, classes, scores), 1)))
    names = ("a", "b", "c", "nobody")
    return detections, dataset(*pictures, names=names)
