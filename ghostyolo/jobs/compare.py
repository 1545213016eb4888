"""A whole comparison: open the models, find objects in turns, compute intervals, write the page."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from string import ascii_uppercase
from typing import Any, NamedTuple

import numpy as np

from ghostyolo.data import Dataset
from ghostyolo.data.class_names import MOST_LISTED
from ghostyolo.data.hold_out import HOLD_OUT
from ghostyolo.data.limit import limited, words
from ghostyolo.distributed import AUTO, joined
from ghostyolo.errors import DataError, OptionError, Span, counted
from ghostyolo.evaluation.comparison import Comparison, Difference, Side
from ghostyolo.evaluation.intervals import RESAMPLES, compared
from ghostyolo.evaluation.validation import (
    MAX_DETECTIONS,
    THRESH,
    OnProgress,
    Trained,
    open_data,
    predict_all,
    without_unreadable,
)
from ghostyolo.files import make_folder_of, make_new_folder
from ghostyolo.jobs.model_argument import ModelArgument
from ghostyolo.jobs.val import opened, title_of
from ghostyolo.model.detections import Detections
from ghostyolo.model.detector import Detector
from ghostyolo.model.model import Model
from ghostyolo.model.out_of_memory import told
from ghostyolo.network import Network, run_record
from ghostyolo.network.outputs import classifier_output
from ghostyolo.report.comparison import write
from ghostyolo.runtime.interface import Runtime

PROJECT = "runs/compare"
LEAST_RESAMPLES = 100
Pair = tuple[ModelArgument, str | Path | None]  # a model and its weights
One = ModelArgument | tuple[str | Path | Network, str | Path]


def compare(
    first: One | list[One],
    *others: One | list[One],
    data: str | Path | Dataset | None = None,
    split: str | None = None,
    names: str | Path | Sequence[str] | None = None,
    thresh: float | None = None,
    nms: float | None = None,
    allow_outside: bool = False,
    no_cache: bool = False,
    limit: int | None = None,
    runtime: str = AUTO,
    batch: int | None = None,
    threads: int | None = None,
    device: str = AUTO,
    resamples: int = RESAMPLES,
    out: str | Path | None = None,
    command: Sequence[str] = (),
    on_progress: OnProgress = lambda done, total: None,
) -> Comparison:
    """Compare detectors on the same pictures: their average precision with 95 % intervals.

    It does what `ghostyolo compare` does. first, others: the sides, two or more, each a model as
    `val` takes it, a tuple of a cfg and its weights, or a list of these: trainings that differ in
    their seed, whose mean is compared. data, split: by default those that the runs were validated
    on. resamples: the number of draws of pictures, 100 or more. out: a page to write; "auto" for
    one in a new folder of runs/compare. The other arguments are those of `val`.

    Raises `GhostyoloError`: `DataError`, `OptionError`, `CfgError` or `WeightsError`.

    >>> result = ghostyolo.compare("runs/train/first", ("my.cfg", "my.weights"), data="DATA")
    >>> value, low, high = result.differences[0].scores.of("AP")
    >>> low <= value <= high, result.differences[0].better
    (True, '')
    """
    sides = [_pairs(side) for side in (first, *others)]
    _check(sides, resamples)
    if out and out != AUTO:
        make_folder_of(out)
    pairs = [pair for side in sides for pair in side]
    place = _place(pairs, data, split, limit)
    reading = {"names": names, "allow_outside": allow_outside, "no_cache": no_cache}
    options = {"batch": batch, "threads": threads}
    with ExitStack() as stack, told(batch=batch, size=None):
        world = stack.enter_context(joined(device))
        models = [_Opened(*stack.enter_context(opened(*pair, runtime, world, dict(options))))
                  for pair in pairs]  # fmt: skip
        dataset, few = _data(models, place, reading)
        thresholds = {"thresh": THRESH if thresh is None else thresh, "nms": nms}
        found, seconds, dataset = _found(models, dataset, on_progress, **thresholds)
    own = iter(zip(map(_name, pairs), models, zip(*found, strict=True), seconds.T, strict=True))
    result = _result([list(islice(own, len(side))) for side in sides], dataset, resamples, few)
    if not out:
        return result
    page = _page(sides) if out == AUTO else Path(out)
    write(page, result, command)
    return replace(result, page=page)


class _Opened(NamedTuple):
    """What computes, its name and version, and the class names that it was trained with."""

    computing: Model | Runtime
    runtime: str
    trained: Trained


class _Place(NamedTuple):
    """The pictures of a comparison."""

    data: str | Path | Dataset
    split: str
    limit: int | None


def _pairs(side: One | list[One]) -> list[Pair]:
    """Return the models of a side, each with its weights or None."""
    models = side if isinstance(side, list) else [side]
    return [each if isinstance(each, tuple) else (each, None) for each in models]


def _check(sides: Sequence[Sequence[Pair]], resamples: int) -> None:
    """Raise `OptionError` unless there are two sides or more, and enough draws."""
    count, most = sum(map(bool, sides)), len(ascii_uppercase)
    if not 2 <= count == len(sides) <= most:
        hint = f"give 2 to {most}, such as runs/train/a runs/train/b, or runs/train/a vs my.onnx"
        raise OptionError(f"{counted(count, 'side')} to compare", hint=hint)
    if resamples < LEAST_RESAMPLES:
        raise OptionError(f"resamples={resamples}", hint=f"give {LEAST_RESAMPLES} or more")


def _place(
    pairs: Sequence[Pair], data: str | Path | Dataset | None, split: str | None, limit: int | None
) -> _Place:
    """Return the pictures that are asked for, else those that all runs were validated on."""
    if data is not None:
        return _Place(data, split or "val", limit)
    places = _recorded(pairs, split, limit)
    if not places:
        hint = "give --data (data= in Python); only the folder of a run knows its own"
        raise OptionError("no data to compare on", hint=hint)
    (first, place), *others = places.items()
    for other, its in others:
        if its != place:
            message = f"validated on {_words(its)}, {first} on {_words(place)}"
            hint = "give --data and --split, which then hold for all"
            raise OptionError(message, span=Span(other), hint=hint)
    if not os.path.exists(str(place.data)):
        hint = "give --data, or run this in the folder where the run was started"
        raise DataError(f"its data {place.data} do not exist", span=Span(first), hint=hint)
    if place.split == "none":
        hint = "give --data and --split"
        raise OptionError("the run had no validation set", span=Span(first), hint=hint)
    return place


def _recorded(pairs: Sequence[Pair], split: str | None, limit: int | None) -> dict[str, _Place]:
    """Return the pictures that each run was validated on, by its folder; or others of its data."""
    paths = [str(model) for model, _ in pairs if isinstance(model, str | Path)]
    records = {path: run_record.readable(path) for path in paths if os.path.isdir(path)}
    return {
        folder: _Place(
            os.path.abspath(record["data"]),
            split or str(record.get("val_split")).replace(HOLD_OUT, "val"),
            limit or record.get("limit"),
        )
        for folder, record in records.items()
        if "data" in record
    }


def _words(place: _Place) -> str:
    few = f", {place.limit} pictures" if place.limit else ""
    return f"{place.data}, split {place.split}{few}"


def _data(models: Sequence[_Opened], place: _Place, reading: dict[str, Any]) -> tuple[Dataset, str]:
    """Return the pictures to compare on, and how many of how many if they are limited.

    Raises `OptionError` for a classifier, and if the models have different classes.
    """
    dataset = place.data
    named = next((each.trained for each in models if each.trained[0]), models[0].trained)
    for each in models:
        network, trained = each.computing.network, each.trained
        if classifier_output(network):
            span, hint = Span(str(trained[1])), "val measures the accuracy of a classifier"
            raise OptionError("only detectors are compared", span=span, hint=hint)
        if not reading["names"]:
            _check_names(trained, named)
        dataset = open_data(network, dataset, place.split, trained=trained, **reading)
    assert isinstance(dataset, Dataset)
    if dataset.columns.ignore.all():
        message, hint = f"split '{dataset.split}' has no boxes to find", "give another --split"
        raise DataError(message, span=Span(dataset.path), hint=hint)
    return limited(dataset, place.limit), words(place.limit, len(dataset))


def _check_names(own: Trained, first: Trained) -> None:
    """Raise `OptionError` if two models were trained with different classes, as far as is known."""
    if own[0] and sorted(own[0]) != sorted(first[0]):
        own_names, first_names = (", ".join(names[:MOST_LISTED]) for names, _ in (own, first))
        message = f"its classes are {own_names}, those of {first[1]} are {first_names}"
        hint = "compare detectors of the same classes"
        raise OptionError(message, span=Span(str(own[1])), hint=hint)


class _InTurns:
    """Finds objects by several detectors, which take turns, one batch of pictures each.

    So other load on the machine slows all of them alike. seconds: of a picture, for each batch a
    row with a number for each detector.
    """

    def __init__(self, detectors: Sequence[Detector]) -> None:
        self.detectors = detectors
        self.seconds: list[np.ndarray] = []

    def __call__(self, images: list[np.ndarray]) -> Iterable[tuple[Detections, ...]]:
        """Return for each picture what each detector finds."""
        found, clock = [], [time.perf_counter()]
        for detector in self.detectors:
            found.append(list(detector(images)))
            clock.append(time.perf_counter())
        self.seconds.append(np.diff(clock) / len(images))
        return zip(*found, strict=True)


def _found(
    models: Sequence[_Opened], dataset: Dataset, on_progress: OnProgress, **thresholds: float | None
) -> tuple[list[tuple[Detections, ...]], np.ndarray, Dataset]:
    """Return what each model finds in each picture, and the seconds of a picture.

    The seconds, (batches, models), are without the first batch if there are more. The data set is
    returned without unreadable pictures.
    """
    options = {**thresholds, "max_detections": MAX_DETECTIONS}
    in_turns = _InTurns([each.computing.detector(**options) for each in models])
    found, dataset = without_unreadable(predict_all(in_turns, dataset, on_progress), dataset)
    if len(found) < 2:
        message, hint = "one picture tells no difference from chance", "give 2 or more"
        raise DataError(message, span=Span(dataset.path), hint=hint)
    return found, np.array(in_turns.seconds)[len(in_turns.seconds) > 1 :], dataset


def _result(
    sides: Sequence[Sequence[Any]], dataset: Dataset, resamples: int, few: str
) -> Comparison:
    """Return the comparison of models: name, model, detections and seconds of each, by side."""
    columns = [list(zip(*side, strict=True)) for side in sides]
    own, differences = compared([found for _, _, found, _ in columns], dataset, resamples)
    clocks = [np.mean(seconds, 0) for *_, seconds in columns]
    made = [
        Side(letter, names, tuple(each.runtime for each in models), found, clock.mean(), scores)
        for letter, (names, models, found, _), clock, scores in zip(
            ascii_uppercase, columns, clocks, own, strict=False
        )
    ]
    others = tuple(
        Difference(side, made[0], scores, float(np.median(clock / clocks[0])), len(dataset))
        for side, scores, clock in zip(made[1:], differences, clocks[1:], strict=True)
    )
    return Comparison(dataset, tuple(made), others, resamples, few)


def _name(pair: Pair) -> str:
    """Return the name of a model: as given, with the weights if they were."""
    model, weights = pair
    if isinstance(model, Model | Network):
        return title_of(model)
    return f"{model} {weights}" if weights else str(model)


def _page(sides: Sequence[Sequence[Pair]]) -> Path:
    """Return the path of a page in a new folder, named after the first model of each side."""
    names = (Path(title_of(side[0][0])).name for side in sides)
    return make_new_folder(Path(PROJECT, "-".join(names))) / "comparison.html"
