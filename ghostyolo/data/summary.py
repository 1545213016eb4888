"""Count the pictures, boxes, sizes and defects of a data set."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ghostyolo.data.anchors import suggest_anchors
from ghostyolo.data.dataset import UNREADABLE, Dataset
from ghostyolo.data.duplicates import Copy, copies, copy_warnings
from ghostyolo.data.layouts import open_dataset, splits
from ghostyolo.data.limit import limited
from ghostyolo.data.prefetch import mapped
from ghostyolo.data.tile_advice import TileAdvice, tile_advice
from ghostyolo.errors import DataError, counted, printable

# Sides of the squares between small, medium and large. Source: cocodataset.org/#detection-eval.
SMALL, MEDIUM = 32, 96
READERS = min(8, os.cpu_count() or 1)  # threads that decode pictures
QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
MOST_LISTED = 8  # classes in a warning
SIZES_SHOWN = 3  # sizes of pictures in the table

Progress = Callable[[Dataset, Iterator[Any]], Iterator[Any]]  # yields the items, shows progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SplitSummary:
    """The numbers of one split.

    boxes, shown: for each class, the number of its boxes and of the pictures that show it. empty:
    pictures without boxes. ignored: boxes that are neither trained on nor counted; the other
    numbers leave them out. areas: boxes below 32², below 96² pixels of the picture, and larger.
    sides: the `QUANTILES` of the square root of a box's area over its picture's. crowd: smallest,
    median and largest number of boxes in a picture. sizes: number of pictures by (h, w).
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
    """The numbers of a data set.

    datasets: the splits, without pictures that cannot be read. splits: their numbers. unions: the
    splits that are the union of others, such as VOC's trainval, with the names of the others; the
    other fields leave them out. copies: see `duplicates.copies`. anchors: see `suggest_anchors`.
    tiles: see `tile_advice`. complete: whether every split could be read.
    """

    path: str
    datasets: list[Dataset]
    splits: list[SplitSummary]
    unions: dict[str, list[str]]
    copies: list[list[Copy]]
    anchors: dict[str, Any] | None
    tiles: TileAdvice | None
    complete: bool

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the classes."""
        return self.splits[0].names

    @property
    def warnings(self) -> list[str]:
        """Return warnings of leaks between splits, of copies and of missing classes."""
        return copy_warnings(self.copies) + missing_class_warnings(self.splits)

    def as_dict(self, sheet: str | None = None) -> dict[str, Any]:
        """Return the numbers for JSON. sheet: the path of the contact sheet."""
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
            "tiles": asdict(self.tiles) if self.tiles else None,
        }

    def _defects(self) -> Iterator[str]:
        """Yield a line with the first places of each kind of defect in a split."""
        for data in self.datasets:
            for defect in sorted(data.defects):
                yield f"{data.split}: {defect}: {data.where(defect)}"

    def table(self) -> str:
        """Return the numbers as lines of text, with a column for each split."""
        lines = [printable(f"{self.path}: {counted(len(self.names), 'class', 'es')}")]
        for split, parts in self.unions.items():
            text = f"split {split} = {' + '.join(parts)}"
            lines.append(printable(text))
        lines += ["", *_table(self.splits), ""]
        lines += map(printable, self._defects())
        lines += [printable(f"warning: {line}") for line in self.warnings]
        if self.anchors:
            sides = ",".join(f"{side:g}" for pair in self.anchors["anchors"] for side in pair)
            size, mean = self.anchors["size"], self.anchors["mean_iou"]
            lines += [
                f"anchors for a new cfg (gencfg) of {size}x{size}, with a mean best IoU of "
                f"{mean:.3f} in {printable(self.anchors['split'])}:",
                f"  --anchors {sides}",
            ]
        if self.tiles:
            lines.append(str(self.tiles))
        return "\n".join(lines)


def summarise(
    path: str | Path,
    which: Sequence[str] | None = None,
    names: str | Path | Sequence[str] | None = None,
    progress: Progress = lambda dataset, pictures: pictures,
    *,
    allow_outside: bool = False,
    no_cache: bool = False,
    limit: int | None = None,
) -> Summary:
    """Read all labels and pictures of a data set, and count what it holds.

    which: names of splits, by default all. names, allow_outside, no_cache: see `open_dataset`.
    progress: yields the items that it gets, one for each picture of a split, as they are read.
    limit: the most pictures of a split, see `limited`.

    A split that cannot be read is logged and left out. Raises DataError if `which` names it or if
    no split can be read.
    """
    datasets, complete = _open_splits(
        path, which, names, allow_outside=allow_outside, no_cache=no_cache
    )
    joint = {} if which else unions(datasets)
    datasets = [data for data in datasets if data.split not in joint]
    datasets = [without_unreadable(limited(data, limit), progress) for data in datasets]
    found = copies(datasets)
    rows = [summarise_split(data) for data in datasets]
    first = datasets[0]
    return Summary(
        str(path),
        datasets,
        rows,
        joint,
        found,
        suggest_anchors(first),
        tile_advice(first),
        complete,
    )


def _open_splits(
    path: str | Path,
    which: Sequence[str] | None,
    names: str | Path | Sequence[str] | None,
    **options: bool,
) -> tuple[list[Dataset], bool]:
    """Return the splits, and whether all could be read."""
    datasets: list[Dataset] = []
    failures: list[DataError] = []
    for split in dict.fromkeys(which or splits(path)):
        try:
            datasets.append(open_dataset(path, split, names, **options))
        except DataError as error:
            failures.append(error)
            continue
        names = names or datasets[0].names  # the same for all splits
    if failures and (which or not datasets):
        raise failures[0]
    for failure in failures:
        logger.warning("%s", failure)
    return datasets, not failures


def without_unreadable(
    data: Dataset, progress: Progress = lambda dataset, pictures: pictures
) -> Dataset:
    """Read all pictures, count their defects, and leave out those that cannot be read.

    progress: see `summarise`. Raises DataError if no picture can be read.
    """
    kept: list[int] = []
    read = mapped(lambda each: each.read()[1], data.samples, workers=READERS, ahead=2 * READERS)
    for index, found in progress(data, enumerate(read)):
        path = data.samples[index].path if found else ""
        for defect, message in found.items():
            data.add_defect(path, defect, message)
        if UNREADABLE not in found:
            kept.append(index)
    if not kept:
        raise data.unreadable()
    return data.only(kept)


def unions(datasets: Sequence[Dataset]) -> dict[str, list[str]]:
    """Return the splits that are exactly the union of others, with the names of the others."""
    pictures = {data.split: set(data.columns.all_paths()) for data in datasets}
    found = {}
    for split, own in pictures.items():
        parts = [other for other, theirs in pictures.items() if theirs < own]
        if len(parts) > 1 and set().union(*(pictures[part] for part in parts)) == own:
            found[split] = parts
    return found


def summarise_split(data: Dataset) -> SplitSummary:
    """Count the pictures, boxes, sizes and defects of a split."""
    count, columns = len(data.names), data.columns
    counted = ~columns.ignore
    owners, classes = columns.owners[counted], columns.classes[counted]
    box = columns.boxes_xyxy_px[counted].astype(float)
    shown = np.unique(owners * count + classes) % max(1, count)
    side = np.sqrt((box[:, 2:] - box[:, :2]).prod(1))
    share = side / np.sqrt(columns.sizes.prod(1))[owners]
    crowd = columns.trained
    small, medium = int((side < SMALL).sum()), int((side < MEDIUM).sum())
    return SplitSummary(
        split=data.split,
        names=data.names,
        pictures=len(data),
        empty=int((crowd == 0).sum()),
        boxes=tuple(np.bincount(classes, minlength=count).tolist()),
        shown=tuple(np.bincount(shown, minlength=count).tolist()),
        ignored=int(columns.ignore.sum()),
        areas=(small, medium - small, len(side) - medium),
        sides=tuple(np.quantile(share, QUANTILES).tolist()) if len(share) else (),
        crowd=(int(crowd.min()), float(np.median(crowd)), int(crowd.max()))
        if len(crowd)
        else (0, 0.0, 0),
        sizes=dict(Counter(map(tuple, columns.sizes.tolist())).most_common()),
        defects=dict(data.defects),
    )


def missing_class_warnings(rows: Sequence[SplitSummary]) -> list[str]:
    """Return a warning for each split that has no box of some classes."""
    lines = []
    for row in rows:
        missing = [name for name, count in zip(row.names, row.boxes, strict=True) if not count]
        if missing:
            more = ", ..." if len(missing) > MOST_LISTED else ""
            lines.append(f"{row.split} has no box of {', '.join(missing[:MOST_LISTED])}{more}")
    return lines


def _table(rows: Sequence[SplitSummary]) -> list[str]:
    """Return the numbers of splits as lines."""
    sizes: Counter[tuple[int, int]] = Counter()
    for row in rows:
        sizes.update(row.sizes)
    common = [size for size, _ in sizes.most_common(SIZES_SHOWN)]
    defects = sorted({defect for row in rows for defect in row.defects})
    columns = [_column(row, common, defects) for row in rows]
    names = [printable(name) for name, _ in columns[0]]
    cells = [names, *([text for _, text in column] for column in columns)]
    widths = [max(map(len, column)) for column in cells]
    aligned = [
        "  ".join((name.ljust(widths[0]), *map(str.rjust, texts, widths[1:])))
        for name, *texts in zip(*cells, strict=True)
    ]
    if any(row.ignored for row in rows):
        return aligned
    return [line for line in aligned if not line.startswith("  not counted")]


def _column(
    row: SplitSummary, sizes: Sequence[tuple[int, int]], defects: Sequence[str]
) -> list[tuple[str, str]]:
    """Return the names and numbers of a split, from top to bottom."""
    boxes = sum(row.boxes)
    areas = [f"{area / boxes:.1%}" if boxes else "-" for area in row.areas]
    low, _, median, _, high = (f"{side:.3f}" for side in row.sides) if row.sides else "-----"
    classes = zip(row.names, row.boxes, row.shown, strict=True)
    return [
        ("", printable(row.split)),
        ("pictures", f"{row.pictures:,}"),
        ("  without boxes", f"{row.empty:,}"),
        ("boxes (pictures with them)", f"{boxes:,}"),
        *((f"  {name}", f"{count:,} ({shown:,})") for name, count, shown in classes),
        ("  not counted (difficult)", f"{row.ignored:,}"),
        ("boxes a picture, median", f"{row.crowd[1]:g}"),
        ("  least to most", f"{row.crowd[0]} to {row.crowd[2]}"),
        (f"small, under {SMALL}x{SMALL} pixels", areas[0]),
        (f"medium, under {MEDIUM}x{MEDIUM}", areas[1]),
        ("large", areas[2]),
        ("box side over picture's, median", median),
        ("  1 % are under", low),
        ("  1 % are over", high),
        ("sizes of pictures", f"{len(row.sizes):,}"),
        *((f"  {w}x{h}", f"{row.sizes.get((h, w), 0):,}") for h, w in sizes),
        *((f"mended or left out: {d}", f"{row.defects.get(d, 0):,}") for d in defects),
    ]
