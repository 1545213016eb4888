"""What a data set holds: how many pictures and boxes, how large, and what is wrong with them."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ghostyolo.data.anchors import suggest_anchors
from ghostyolo.data.dataset import UNREADABLE, Dataset, Sample
from ghostyolo.data.duplicates import Copy, copies, copy_warnings
from ghostyolo.data.layouts import open_dataset, splits
from ghostyolo.data.prefetch import mapped
from ghostyolo.errors import DataError

# Sides of the squares between small, medium and large. Source: cocodataset.org/#detection-eval.
SMALL, MEDIUM = 32, 96
READERS = min(8, os.cpu_count() or 1)  # threads that decode
QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
MOST_LISTED = 8  # classes in a warning

Progress = Callable[[Dataset, Iterator[Any]], Iterator[Any]]  # yields the same, and shows how far

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SplitSummary:
    """One split in numbers.

    boxes, shown: for each class its boxes, and the pictures that show it. ignored: boxes that are
    neither trained on nor counted, which are in no other number. areas: boxes under 32², under 96²
    pixels of the picture, and larger. sides: the `QUANTILES` of the square root of a box's share of
    its picture. crowd: least, median and most boxes of a picture. sizes: pictures by (h, w).
    """

    split: str
    names: tuple[str, ...]
    pictures: int
    empty: int
    boxes: tuple[int, ...]
    shown: tuple[int, ...]
    ignored: int
    areas: tuple[int, int, int]
    sides: tuple[float, ...]
    crowd: tuple[float, float, float]
    sizes: dict[tuple[int, int], int]
    defects: dict[str, int]


@dataclass(frozen=True)
class Summary:
    """A data set in numbers.

    datasets: the splits, without pictures that cannot be read. splits: their numbers. unions: those
    splits that only put others together, as VOC's trainval does, with those; they are in no
    other number. complete: whether every split could be read. anchors: see `suggest_anchors`.
    """

    path: str
    datasets: list[Dataset]
    splits: list[SplitSummary]
    unions: dict[str, list[str]]
    copies: list[list[Copy]]
    anchors: dict[str, Any] | None
    complete: bool

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the classes."""
        return self.splits[0].names

    @property
    def warnings(self) -> list[str]:
        """Return what a person should look into: leaks between splits, copies, missing classes."""
        return copy_warnings(self.copies) + missing_class_warnings(self.splits)

    def as_dict(self, sheet: str | None = None) -> dict[str, Any]:
        """Return the numbers as JSON has them. sheet: the file that shows labelled pictures."""
        rows = [
            {**asdict(row), "sizes": [[*size, count] for size, count in row.sizes.items()]}
            for row in self.splits
        ]
        return {
            "data": self.path,
            "quantiles": QUANTILES,
            "splits": rows,
            "copies": [[copy._asdict() for copy in group] for group in self.copies],
            "warnings": self.warnings,
            "sheet": sheet,
            "anchors": self.anchors,
        }


def summarise(
    path: str | Path,
    which: Sequence[str] | None = None,
    names: str | Path | Sequence[str] | None = None,
    progress: Progress = lambda dataset, pictures: pictures,
) -> Summary:
    """Read all labels and pictures of a data set, and count what it holds.

    which: names of splits, by default all. names: see `open_dataset`. progress: yields the
    pictures of a split as they are read.

    A split that cannot be read is logged and left out. Raises DataError if it was asked for, and if
    none can be read.
    """
    datasets, complete = _open_splits(path, which, names)
    joint = {} if which else unions(datasets)
    datasets = [data for data in datasets if data.split not in joint]
    datasets = [without_unreadable(data, progress) for data in datasets]
    found = copies(datasets)
    rows = [summarise_split(data) for data in datasets]
    return Summary(str(path), datasets, rows, joint, found, suggest_anchors(datasets[0]), complete)


def _open_splits(
    path: str | Path,
    which: Sequence[str] | None,
    names: str | Path | Sequence[str] | None,
) -> tuple[list[Dataset], bool]:
    """Return the splits, and whether all could be read."""
    datasets: list[Dataset] = []
    failures: list[DataError] = []
    for split in dict.fromkeys(which or splits(path)):
        try:
            datasets.append(open_dataset(path, split, names))
        except DataError as error:
            failures.append(error)
            continue
        names = names or datasets[0].names  # so that all splits have the same
    if failures and (which or not datasets):
        raise failures[0]
    for failure in failures:
        logger.warning("%s", failure)
    return datasets, not failures


def without_unreadable(
    data: Dataset, progress: Progress = lambda dataset, pictures: pictures
) -> Dataset:
    """Read all pictures, count their defects, and leave out those that cannot be read.

    progress: yields the pictures as they are read. Raises DataError if not one can be read.
    """
    kept = []
    defects = mapped(_defects_of, data.samples, workers=READERS, ahead=2 * READERS)
    for sample, found in progress(data, zip(data.samples, defects, strict=True)):
        for defect, message in found.items():
            data.add_defect(sample.path, defect, message)
        if UNREADABLE not in found:
            kept.append(sample)
    if not kept:
        raise data.unreadable()
    return replace(data, samples=tuple(kept))


def _defects_of(sample: Sample) -> dict[str, str]:
    """Return the defects of a picture, and free it."""
    return sample.read()[1]


def unions(datasets: Sequence[Dataset]) -> dict[str, list[str]]:
    """Return the splits that are exactly the union of others, as VOC's trainval, with those."""
    pictures = {data.split: {sample.path for sample in data.samples} for data in datasets}
    found = {}
    for split, own in pictures.items():
        parts = [other for other, theirs in pictures.items() if theirs < own]
        if len(parts) > 1 and set().union(*(pictures[part] for part in parts)) == own:
            found[split] = parts
    return found


def summarise_split(data: Dataset) -> SplitSummary:
    """Count what a split holds."""
    count = len(data.names)
    boxes, shown = np.zeros(count, int), np.zeros(count, int)
    sides, shares, crowd = [np.zeros(0)], [np.zeros(0)], []
    for sample in data.samples:
        counted = ~sample.ignore
        box, classes = sample.boxes_xyxy_px[counted].astype(float), sample.classes[counted]
        boxes += np.bincount(classes, minlength=count)
        shown[np.unique(classes)] += 1
        sides.append(np.sqrt((box[:, 2:] - box[:, :2]).prod(1)))
        shares.append(sides[-1] / np.sqrt(sample.size[0] * sample.size[1]))
        crowd.append(len(classes))
    side, share = np.concatenate(sides), np.concatenate(shares)
    small, medium = int((side < SMALL).sum()), int((side < MEDIUM).sum())
    return SplitSummary(
        split=data.split,
        names=data.names,
        pictures=len(data),
        empty=crowd.count(0),
        boxes=tuple(boxes.tolist()),
        shown=tuple(shown.tolist()),
        ignored=sum(int(sample.ignore.sum()) for sample in data.samples),
        areas=(small, medium - small, len(side) - medium),
        sides=tuple(np.quantile(share, QUANTILES).tolist()) if len(share) else (),
        crowd=(min(crowd, default=0), float(np.median(crowd or [0])), max(crowd, default=0)),
        sizes=dict(Counter(sample.size for sample in data.samples).most_common()),
        defects=dict(data.defects),
    )


def missing_class_warnings(rows: Sequence[SplitSummary]) -> list[str]:
    """Return a line for each split that has no box of some classes."""
    lines = []
    for row in rows:
        missing = [name for name, count in zip(row.names, row.boxes, strict=True) if not count]
        if missing:
            more = ", ..." if len(missing) > MOST_LISTED else ""
            lines.append(f"{row.split} has no box of {', '.join(missing[:MOST_LISTED])}{more}")
    return lines
