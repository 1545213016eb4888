"""Accuracy of a classifier: top-1, top-5, and the confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ghostyolo.data import Dataset
from ghostyolo.errors import DataError
from ghostyolo.evaluation.score_table import aligned, json_values

TOP = 5  # top-5 accuracy: the true class is among this number of most probable classes
COLUMNS = ("class", "pictures", "top-1", "top-5", "precision")


@dataclass(frozen=True, eq=False)
class Accuracy:
    """The scores of a classifier on a data set.

    confusion: (K, K), the number of pictures by true class (row) and predicted class (column).
    top5_hits: (K,), the number of pictures of each class with that class among the five most
    probable.
    """

    names: tuple[str, ...]
    confusion: np.ndarray
    top5_hits: np.ndarray

    @property
    def pictures(self) -> np.ndarray:
        """Return the number of pictures of each class, (K,)."""
        return self.confusion.sum(1)

    @property
    def top1(self) -> float:
        """Return the fraction of pictures whose most probable class is right, or NaN."""
        return _ratio(np.trace(self.confusion), self.confusion.sum())

    @property
    def top5(self) -> float:
        """Return the fraction of pictures with the true class among the five most probable."""
        return _ratio(self.top5_hits.sum(), self.confusion.sum())

    def row(self) -> dict[str, float]:
        """Return the scores for results.csv."""
        return {"top-1": self.top1, "top-5": self.top5}

    def rows(self) -> list[tuple[str, int, float, float, float]]:
        """Return name, pictures, top-1, top-5 and precision of each class; NaN without pictures.

        Precision is the fraction of the pictures predicted as the class that belong to it.
        """
        hits, predicted = np.diag(self.confusion), self.confusion.sum(0)
        columns = (self.names, self.pictures.tolist(), hits, self.top5_hits, predicted)
        return [
            (name, count, _ratio(hit, count), _ratio(five, count), _ratio(hit, all_))
            for name, count, hit, five, all_ in zip(*columns, strict=True)
        ]

    def table(self) -> str:
        """Return the scores as aligned text, a line for each class and one for all; '-' is NaN."""
        whole = ("all", int(self.confusion.sum()), self.top1, self.top5, float("nan"))
        return aligned(COLUMNS, [*self.rows(), whole])

    def as_dict(self) -> dict[str, Any]:
        """Return the scores for JSON, with null for NaN."""
        keys = ("name", "pictures", "top1", "top5", "precision")
        classes = [json_values(dict(zip(keys, row, strict=True))) for row in self.rows()]
        whole = {"pictures": int(self.confusion.sum()), "top1": self.top1, "top5": self.top5}
        return {"all": json_values(whole), "classes": classes}


def score(probabilities: Sequence[np.ndarray], dataset: Dataset) -> Accuracy:
    """Compare the class probabilities of each sample of a data set, (K,), with its class.

    Raises ValueError if their number differs from the number of samples, DataError if K differs
    from the number of classes of the data set.
    """
    if len(probabilities) != len(dataset):
        raise ValueError(f"{len(probabilities)} predictions for {len(dataset)} samples")
    count = len(dataset.names)
    if len(probabilities) and len(probabilities[0]) != count:
        message = f"the predictions have {len(probabilities[0])} classes, the data set has {count}"
        hint = "validate with the cfg and the data set that belong together"
        raise DataError(f"{message} ({dataset.path})", hint=hint)
    truths = true_classes(dataset)
    stacked = np.array(probabilities, np.float64).reshape(-1, count)
    confusion = np.zeros((count, count), np.int64)
    np.add.at(confusion, (truths, by_probability(stacked)[:, 0]), 1)
    hits = np.bincount(truths[ranks_of(truths, stacked) < TOP], minlength=count)
    return Accuracy(dataset.names, confusion, hits)


def true_classes(dataset: Dataset) -> np.ndarray:
    """Return the class of each sample, (n,)."""
    return np.array([sample.classes[0] for sample in dataset.samples], np.int64)


def by_probability(probabilities: np.ndarray) -> np.ndarray:
    """Return the classes of each row by falling probability, equal ones by their index."""
    return np.argsort(-probabilities, axis=1, kind="stable")


def ranks_of(truths: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the rank of the true class in each row of (n, K), (n,); the most probable has 0."""
    return np.argmax(by_probability(probabilities) == truths[:, None], axis=1)


def _ratio(part: int, whole: int) -> float:
    return float(part / whole) if whole else float("nan")
