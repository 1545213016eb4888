"""Scores of detectors and their differences, with 95 % intervals of both.

Bootstrap: pictures are drawn with replacement, the same ones for all detectors, and the scores are
computed anew. An interval has the middle 95 % of the deviations from their mean, around the score
itself: with few pictures that mean is higher than the score. Several seeds of a side add a normal
deviation with their spread, which is pooled over the sides, as if it were the same on all.
Both are widened as by Student's t distribution. `tools/compare_chance.py` measures how often sides
that differ by chance alone are told apart.
Source: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapters 6 and 10.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ghostyolo.data import Dataset
from ghostyolo.evaluation.matches import SIZES, average_precisions, match
from ghostyolo.evaluation.score_table import json_values
from ghostyolo.model.detections import Detections

SCORES = ("AP", "AP50", "AP75", "small", "medium", "large")
AT_50, AT_75 = 0, 5  # of the IoU thresholds
RESAMPLES = 1000
TAIL = 2.5  # percent below and above an interval
SEED = 0  # of the draws, so that a comparison has the same intervals each time


@dataclass(frozen=True, eq=False)
class Intervals:
    """Scores, or differences of scores, with their 95 % intervals.

    value, low, high: (6, 1 + classes), for each of `SCORES` the mean over the classes, then each
    class; NaN without truths. chance: the probability that chance alone gives a value at least as
    far from 0 (the two-sided p-value).
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    chance: np.ndarray

    def of(self, score: str, cls: int | None = None) -> tuple[float, float, float]:
        """Return value, low and high of one of `SCORES`; cls: None for the mean."""
        place = SCORES.index(score), 0 if cls is None else cls + 1
        value, low, high = (float(each[place]) for each in (self.value, self.low, self.high))
        return value, low, high

    def as_dict(self, names: Sequence[str], *, chance: bool = False) -> dict[str, Any]:
        """Return the intervals for JSON, with null for NaN. chance: whether with p-values."""
        columns = {"value": self.value, "low": self.low, "high": self.high}
        columns |= {"p": self.chance} if chance else {}
        rows = [
            {
                score: json_values({k: float(column[row, cls]) for k, column in columns.items()})
                for row, score in enumerate(SCORES)
            }
            for cls in range(len(names) + 1)
        ]
        classes = [{"name": name, **row} for name, row in zip(names, rows[1:], strict=True)]
        return {"mean": rows[0], "classes": classes}


def compared(
    sides: Sequence[Sequence[Sequence[Detections]]], dataset: Dataset, resamples: int = RESAMPLES
) -> tuple[list[Intervals], list[Intervals]]:
    """Return the scores of each side, and their differences to the first for each other side.

    sides: for each side the detections of each of its models, for each sample of the data set.
    """
    draws = draw(len(dataset), resamples)
    models = [[scores(found, dataset, draws.weights) for found in side] for side in sides]
    return combined(models, draws)


def combined(
    models: Sequence[Sequence[np.ndarray]], draws: Draws
) -> tuple[list[Intervals], list[Intervals]]:
    """Return the intervals of each side, and of the differences to the first for each other side.

    models: for each side the scores of each of its models, (1 + draws, scores, 1 + classes).
    """
    means = [centred(np.mean(side, 0), draws) for side in models]
    spread, freedom = _spread([np.array([each[0] for each in side]) for side in models])
    if freedom:
        student = np.sqrt(freedom / draws.rng.chisquare(freedom, len(draws.widths)))
        for side, mean in zip(models, means, strict=True):
            deviation = (
                draws.rng.standard_normal(len(draws.widths)) * student / math.sqrt(len(side))
            )
            mean[1:] += deviation[:, None, None] * spread
    differences = [intervals(mean - means[0]) for mean in means[1:]]
    return [intervals(mean.clip(0, 1)) for mean in means], differences


def intervals_of(found: Sequence[Detections], dataset: Dataset) -> dict[str, tuple[float, float]]:
    """Return low and high of the 95 % intervals of the mean AP, AP50 and AP75, by name.

    {} without truths, and for a single picture.
    """
    if len(dataset) < 2 or dataset.columns.ignore.all():
        return {}
    draws = draw(len(dataset), RESAMPLES)
    rows = centred(scores(found, dataset, draws.weights, ("all",)), draws)[:, :, 0]
    own = intervals(rows.clip(0, 1))
    ends = zip(SCORES, own.low.tolist(), own.high.tolist(), strict=False)
    return {name: (low, high) for name, low, high in ends}


class Draws(NamedTuple):
    """Pictures drawn with replacement.

    weights: (1 + draws, pictures), how often each counts; in row 0 once. widths: (draws,), factors
    of the deviations. They make intervals of few pictures wider, as Student's t distribution is
    than the normal one; the median is 1.09 for 10 pictures, 1.01 for 100. rng: for more draws.
    """

    weights: np.ndarray
    widths: np.ndarray
    rng: np.random.Generator


def draw(pictures: int, resamples: int) -> Draws:
    """Draw as many pictures as there are, two or more, so many times."""
    rng = np.random.default_rng(SEED)
    draws = rng.multinomial(pictures, np.full(pictures, 1 / pictures), resamples)
    weights = np.concatenate((np.ones((1, pictures), np.int32), draws.astype(np.int32)))
    return Draws(weights, np.sqrt(pictures / rng.chisquare(pictures - 1, resamples)), rng)


def scores(
    found: Sequence[Detections],
    dataset: Dataset,
    weights: np.ndarray,
    sizes: Sequence[str] = tuple(SIZES),
) -> np.ndarray:
    """Return the scores with pictures counted by weights, (rows, scores, 1 + classes).

    sizes: all of `SIZES`, or only "all", which leaves out the scores by size.
    """
    matches = match(found, dataset.samples, len(dataset.names), sizes)
    precisions = average_precisions(matches, weights)
    every, small = precisions[:, :, 0], precisions[:, :, 1:].mean(3)
    columns = [every.mean(2), every[..., AT_50], every[..., AT_75], *np.moveaxis(small, 2, 0)]
    classes = np.stack(columns, 1)
    known = ~np.isnan(classes)
    total, count = np.where(known, classes, 0).sum(2), known.sum(2)
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return np.concatenate((mean[..., None], classes), 2)


def centred(rows: np.ndarray, draws: Draws) -> np.ndarray:
    """Return scores with the deviations of the draws from their mean around row 0.

    rows: (1 + draws, ...). What is NaN in row 0 is NaN in all.
    """
    known = np.where(np.isnan(rows[0]), 0, rows[1:])
    deviations = known - np.nanmean(known, 0)
    widths = draws.widths.reshape(-1, *[1] * (rows.ndim - 1))
    return np.concatenate((rows[:1], rows[0] + deviations * widths))


def intervals(rows: np.ndarray) -> Intervals:
    """Return the intervals of numbers: in row 0 themselves, in the others of the draws, centred."""
    value, some = rows[0], np.where(np.isnan(rows[0]), 0, rows[1:])
    low, high = np.nanpercentile(some, (TAIL, 100 - TAIL), axis=0)
    tails = np.minimum((some <= 0).sum(0), (some >= 0).sum(0))
    chance = np.minimum(2 * (tails + 1) / ((~np.isnan(some)).sum(0) + 1), 1)
    low, high, chance = (np.where(np.isnan(value), np.nan, each) for each in (low, high, chance))
    return Intervals(value, low, high, chance)


def _spread(sides: Sequence[np.ndarray]) -> tuple[np.ndarray, int]:
    """Return the standard deviation over seeds, pooled over the sides, and its degrees of freedom.

    sides: (seeds, ...) each. It is 0 without a side of several seeds.
    """
    freedom = sum(len(side) - 1 for side in sides)
    squares = sum(((side - side.mean(0)) ** 2).sum(0) for side in sides)
    return np.sqrt(squares / max(freedom, 1)), freedom
