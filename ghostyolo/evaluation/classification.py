"""How often a classifier is right: among its first answer, and among its first five."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ghostyolo.data import Dataset
from ghostyolo.errors import DataError

FIRST = 5  # answers of which one may be right


@dataclass(frozen=True, eq=False)
class Accuracy:
    """What a classifier made of a data set.

    matrix: (K, K) how many pictures of the class of a row were taken for that of a column. firsts:
    (K,) how many of each class had it among the first five answers.
    """

    names: tuple[str, ...]
    matrix: np.ndarray
    firsts: np.ndarray

    @property
    def pictures(self) -> np.ndarray:
        """Return how many pictures show each class, (K,)."""
        return self.matrix.sum(1)

    @property
    def top1(self) -> float:
        """Return the share of pictures whose first answer is right; NaN without pictures."""
        return _share(np.trace(self.matrix), self.matrix.sum())

    @property
    def top5(self) -> float:
        """Return the share of pictures with a right one among five answers."""
        return _share(self.firsts.sum(), self.matrix.sum())

    def row(self) -> dict[str, float]:
        """Return what a row of results holds."""
        return {"top-1": self.top1, "top-5": self.top5}

    def rows(self) -> list[tuple[str, int, float, float, float]]:
        """Return for each class its name, pictures, top-1, top-5, and its precision.

        The last is the share of the pictures taken for it that show it; NaN is no score.
        """
        right, taken = np.diag(self.matrix), self.matrix.sum(0)
        columns = zip(self.names, self.pictures.tolist(), right, self.firsts, taken, strict=True)
        return [
            (name, count, _share(hits, count), _share(five, count), _share(hits, all_))
            for name, count, hits, five, all_ in columns
        ]

    def table(self) -> str:
        """Return the scores as aligned text, one line a class, the whole last; '-' is no score."""
        whole = ("all", int(self.matrix.sum()), self.top1, self.top5, float("nan"))
        cells = [["class", "pictures", "top-1", "top-5", "precision"]]
        for name, count, *scores in (*self.rows(), whole):
            cells.append([name, str(count), *("-" if s != s else f"{s:.3f}" for s in scores)])
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return "\n".join(
            "  ".join((name.ljust(widths[0]), *map(str.rjust, numbers, widths[1:])))
            for name, *numbers in cells
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the scores for JSON: null is no score."""
        keys = ("name", "pictures", "top1", "top5", "precision")
        classes = [dict(zip(keys, map(_plain, row), strict=True)) for row in self.rows()]
        whole = {"pictures": int(self.matrix.sum()), "top1": self.top1, "top5": self.top5}
        return {"all": {k: _plain(v) for k, v in whole.items()}, "classes": classes}


def score(answers: Sequence[np.ndarray], dataset: Dataset) -> Accuracy:
    """Compare the probabilities of each sample of a data set with its class.

    Raises ValueError if their number differs from that of the samples, DataError if a class has no
    name in the data set.
    """
    if len(answers) != len(dataset):
        raise ValueError(f"{len(answers)} answers for {len(dataset)} samples")
    count = len(dataset.names)
    if len(answers) and len(answers[0]) != count:
        message = f"answers are of {len(answers[0])} classes, the data set has {count}"
        hint = "validate with the cfg and the data set that belong together"
        raise DataError(f"{message} ({dataset.path})", hint=hint)
    truths = np.array([sample.classes[0] for sample in dataset.samples], np.int64)
    stacked = np.array(answers, np.float64).reshape(-1, count)
    matrix = np.zeros((count, count), np.int64)
    np.add.at(matrix, (truths, order(stacked)[:, 0]), 1)
    firsts = np.bincount(truths[places(stacked, truths) < FIRST], minlength=count)
    return Accuracy(dataset.names, matrix, firsts)


def order(answers: np.ndarray) -> np.ndarray:
    """Return the classes of each row, the most probable first, of equals the lower number."""
    return np.argsort(-answers, axis=1, kind="stable")


def places(answers: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """Return for each row of (n, K) probabilities how many answers come before the true class."""
    return np.argmax(order(answers) == truths[:, None], axis=1)


def _share(part: int, whole: int) -> float:
    return float(part / whole) if whole else float("nan")


def _plain(value: Any) -> Any:
    return None if value != value else value
