"""The HTML page of a comparison: intervals, classes, and the pictures on which the sides differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ghostyolo.evaluation.comparison import Comparison
from ghostyolo.evaluation.diagnosis import Diagnosis, diagnose
from ghostyolo.evaluation.error_types import CORRECT, ERROR_TYPES, IGNORED, MISSED
from ghostyolo.evaluation.intervals import SCORES, Intervals
from ghostyolo.files import replace
from ghostyolo.report import plots
from ghostyolo.report.html import LONG_TABLE, environment
from ghostyolo.report.pictures import (
    MAX_PICTURES,
    detections_of,
    errors_in_words,
    first_readable,
    marked,
    truths_of,
)

TITLES = {
    "scores": "Average precision",
    "classes": "By class",
    "time": "Time",
    "pictures": "Where the sides differ most",
    "origin": "Command",
}
OF_CLASSES = ("AP", "AP50", "AP75")


def write(path: str | Path, comparison: Comparison, command: Sequence[str] = ()) -> None:
    """Write the page of a comparison. Raises `OptionError` if the file cannot be written."""
    replace(path, [render(comparison, command).encode()])


def render(comparison: Comparison, command: Sequence[str] = ()) -> str:
    """Return the page of a comparison as HTML. command: the words of the command line."""
    parts = {
        "scores": {"plots": _plots(comparison), "tables": _tables(comparison)},
        "classes": _classes(comparison),
        "time": comparison.sides,
        "pictures": _pictures(comparison),
        "origin": command,
    }
    return environment().get_template("comparison.html").render(
        title=", ".join(side.letter for side in comparison.sides) + " compared",
        comparison=comparison,
        parts=parts,
        titles={name: title for name, title in TITLES.items() if parts[name]},
        kinds=(CORRECT, *ERROR_TYPES, IGNORED),
        long_table=LONG_TABLE,
    )  # fmt: skip


def _plots(comparison: Comparison) -> list[plots.Plot]:
    """Draw the mean scores of each side, and their differences to the first."""
    sides, first = comparison.sides, comparison.sides[0].letter
    own = {side.letter: _triples(side.scores) for side in sides}
    others = {f"{d.of.letter} \N{MINUS SIGN} {first}": d.scores for d in comparison.differences}
    differences = {title: _triples(scores) for title, scores in others.items()}
    return [
        plots.intervals("Scores with 95 % intervals", SCORES, own),
        plots.intervals(f"Differences to {first}", SCORES, differences, zero=True),
    ]


def _triples(scores: Intervals) -> list[tuple[float, float, float]]:
    return [scores.of(name) for name in SCORES]


def _tables(comparison: Comparison) -> list[tuple[str, str, list[tuple[Any, ...]]]]:
    """Return for each difference the letters, and the rows of its table: name, triples of both
    sides and of the difference, and p.
    """
    tables = []
    for each in comparison.differences:
        scores, rows = (each.to.scores, each.of.scores, each.scores), []
        for row, name in enumerate(SCORES):
            rows.append((name, *(own.of(name) for own in scores), float(scores[2].chance[row, 0])))
        tables.append((each.to.letter, each.of.letter, rows))
    return tables


def _classes(comparison: Comparison) -> list[tuple[str, str, list[tuple[Any, ...]]]]:
    """Return for each difference the letters, and the rows of its table: class, truths, AP of both,
    and the triples of the differences in `OF_CLASSES`.
    """
    columns, names = comparison.dataset.columns, comparison.dataset.names
    truths = np.bincount(columns.classes[~columns.ignore], minlength=len(names)).tolist()
    tables = []
    for each in comparison.differences:
        rows = []
        for cls, name in enumerate(names):
            ap = [side.scores.of("AP", cls)[0] for side in (each.to, each.of)]
            triples = [each.scores.of(score, cls) for score in OF_CLASSES]
            rows.append((name, truths[cls], *ap, triples))
        tables.append((each.to.letter, each.of.letter, rows))
    return tables


def _pictures(comparison: Comparison) -> dict[str, Any]:
    """Return the pictures with the largest differences in the number of errors, and thresholds.

    Of a side with several models, the first is shown. {} if all sides err alike.
    """
    dataset, letters = comparison.dataset, [side.letter for side in comparison.sides]
    found = [
        diagnose(side.predictions[0], dataset.samples, len(dataset.names))
        for side in comparison.sides
    ]
    errors = [[sum(each.errors().values()) for each in side.outcomes] for side in found]
    apart = np.ptp(errors, 0)
    order = [row for row in np.argsort(-apart, kind="stable").tolist() if apart[row]]
    shown = [
        _shown(image, row, comparison, dict(zip(letters, found, strict=True)))
        for row, image in first_readable(dataset.samples, order, MAX_PICTURES)
    ]
    thresholds = [(*each, side.threshold) for *each, side in zip(letters, found, strict=True)]
    return {"shown": shown, "thresholds": thresholds} if shown else {}


def _shown(
    image: np.ndarray, row: int, comparison: Comparison, sides: dict[str, Diagnosis]
) -> dict[str, Any]:
    """Return a picture with its truths and the detections of each side.

    A truth is drawn as missed if a side has not found it with its class at its place.
    """
    sample = comparison.dataset.samples[row]
    outcomes = {letter: side.outcomes[row] for letter, side in sides.items()}
    right = np.array([each.truths == CORRECT for each in outcomes.values()]).all(0)
    truths = np.where(sample.ignore, IGNORED, np.where(right, CORRECT, MISSED)).tolist()
    boxes = {"truths": truths_of(sample, truths)}
    boxes |= {x: detections_of(side.kept[row], outcomes[x]) for x, side in sides.items()}
    words = "; ".join(f"{letter}: {errors_in_words(each)}" for letter, each in outcomes.items())
    return marked(image, sample, comparison.dataset.names, boxes, words)
