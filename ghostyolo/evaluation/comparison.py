"""The result of a comparison of detectors on the same pictures: the sides and their differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ghostyolo.data import Dataset
from ghostyolo.errors import counted, printable
from ghostyolo.evaluation.intervals import SCORES, Intervals
from ghostyolo.evaluation.score_table import aligned
from ghostyolo.model.detections import Detections


@dataclass(frozen=True, eq=False)
class Side:
    """One side of a comparison: the trainings of a network, one for each seed.

    letter: A, B ... models: their names. runtimes: what computed each. predictions: of each, the
    detections in each picture. seconds: for a picture, mean over the models.
    """

    letter: str
    models: tuple[str, ...]
    runtimes: tuple[str, ...]
    predictions: tuple[Sequence[Detections], ...]
    seconds: float
    scores: Intervals

    def as_dict(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the side for JSON. names: of the classes."""
        own = {"side": self.letter, "models": self.models, "runtimes": self.runtimes}
        return {**own, "seconds": self.seconds, **self.scores.as_dict(names)}

    def __str__(self) -> str:
        several = f"mean of {len(self.models)}: " if len(self.models) > 1 else ""
        return printable(f"{self.letter} is {several}{', '.join(self.models)}")


@dataclass(frozen=True, eq=False)
class Difference:
    """The scores of a side minus those of the first side.

    seconds_ratio: the median over the batches of pictures of its time over that of the first.
    """

    of: Side
    to: Side
    scores: Intervals
    seconds_ratio: float
    pictures: int

    def as_dict(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the difference for JSON. names: of the classes."""
        sides = {"of": self.of.letter, "to": self.to.letter, "better": self.better or None}
        told = {**sides, "verdict": self.verdict, "seconds_ratio": self.seconds_ratio}
        return {**told, **self.scores.as_dict(names, chance=True)}

    @property
    def better(self) -> str:
        """Return the letter of the better side by AP, "" if chance alone may be the cause."""
        _, low, high = self.scores.of("AP")
        return self.of.letter if low > 0 else self.to.letter if high < 0 else ""

    @property
    def verdict(self) -> str:
        """Return in one line which side is better, or that nothing can be told."""
        value, low, high = self.scores.of("AP")
        on = f"on {counted(self.pictures, 'picture')}"
        if not self.better:
            sides = f"between {self.to.letter} and {self.of.letter}"
            told = f"no difference {sides} can be told from chance {on}"
        else:
            worse = self.to if self.better == self.of.letter else self.of
            told = f"{self.better} is better than {worse.letter} {on}"
            if self.better == self.to.letter:
                value, low, high = -value, -high, -low
        return f"{told}: AP {value:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}"


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """The result of a comparison; as text, its tables and verdicts.

    dataset: without the pictures that cannot be read. differences: of each side but the first.
    resamples: the number of draws. limited: see `Validation`. page: the file of the page, if one
    was written.
    """

    dataset: Dataset
    sides: tuple[Side, ...]
    differences: tuple[Difference, ...]
    resamples: int
    limited: str = ""
    page: Path | None = None

    @property
    def covers(self) -> str:
        """Return in words what the intervals cover."""
        several = any(len(side.models) > 1 for side in self.sides)
        seeds = "and other seeds" if several else "but not another seed in training"
        return f"the intervals cover other pictures of the same kind, {seeds}"

    def table(self) -> str:
        """Return the scores and the verdict of each difference as aligned text."""
        parts = [_table(each, self.dataset.names) for each in self.differences]
        few = [f"these scores are {self.limited}"] if self.limited else []
        verdicts = [each.verdict for each in self.differences]
        last = "\n".join([*map(str, self.sides), *few, self.covers, *verdicts])
        return "\n\n".join([*parts, last])

    def as_dict(self) -> dict[str, Any]:
        """Return the comparison for JSON, with null for NaN."""
        names = self.dataset.names
        return {
            "data": self.dataset.path,
            "split": self.dataset.split,
            "pictures": len(self.dataset),
            **({"limited": self.limited} if self.limited else {}),
            "resamples": self.resamples,
            "covers": self.covers,
            "sides": [side.as_dict(names) for side in self.sides],
            "differences": [each.as_dict(names) for each in self.differences],
        }

    def __repr__(self) -> str:
        where = f"{counted(len(self.dataset), 'picture')} of {self.dataset.path}"
        where += f", split {self.dataset.split}"
        return f"{self.table()}\n{printable(where)}"


def _table(difference: Difference, names: Sequence[str]) -> str:
    """Return the scores of two sides and their difference as aligned text."""
    a, b = difference.to, difference.of
    columns = (a.scores, ""), (b.scores, ""), (difference.scores, "+")
    places = [*((score, score, None) for score in SCORES), *(
        (f"AP of {name}", "AP", cls) for cls, name in enumerate(names)
    )]  # fmt: skip
    rows = [
        (title, *(_cell(*scores.of(score, cls), sign) for scores, sign in columns))
        for title, score, cls in places
    ]
    times = [f"{1000 * each.seconds:.1f}" for each in (a, b)]
    rows.append(("ms a picture", *times, f"x {difference.seconds_ratio:.2f}"))
    head = ["score (95 %)", a.letter, b.letter, f"{b.letter} - {a.letter}"]
    return aligned(head, rows)


def _cell(value: float, low: float, high: float, sign: str) -> str:
    """Return a number and its interval as text, '-' for NaN. sign: "+" to write plus signs."""
    if math.isnan(value):
        return "-"
    return f"{value:{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"
