"""ghostyolo data: what a data set holds, in numbers and as a sheet of labelled pictures."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ghostyolo.data import Dataset
    from ghostyolo.data.summary import Copy, Summary

SIZES_SHOWN = 3
SIZE, ANCHORS = 416, 9  # gencfg's defaults


def options(p: argparse.ArgumentParser) -> None:
    """Declare what data takes."""
    from ghostyolo.data.layouts import DATA_HELP

    p.epilog = "ghostyolo anchors DATA CFG tells whether the anchors of a cfg fit the boxes."
    p.add_argument("data", metavar="DATA", help=DATA_HELP)
    p.add_argument("--split", action="append", help="part of DATA; may be repeated (all of them)")
    p.add_argument("--names", metavar="FILE", help="class names, one a line (those of DATA)")
    p.add_argument("--sheet", metavar="FILE", help="draw labelled pictures on a .jpg or .png")
    p.add_argument("--seed", type=int, default=0, help="another seed, other pictures (0)")
    p.add_argument("--json", action="store_true", help="print JSON for programs")


def run(args: argparse.Namespace) -> int:
    """Tell what a data set holds, and draw a sheet of it."""
    from ghostyolo.data import summary

    datasets, failed = _read(args)
    unions = {} if args.split else summary.unions(datasets)
    datasets = [_looked_at(data) for data in datasets if data.split not in unions]
    groups = summary.copies(datasets)
    rows = [summary.summarise(data) for data in datasets]
    if args.sheet:
        _draw(args, datasets)
    hint = _anchors(datasets[0])
    if args.json:
        print(json.dumps({**_as_dict(args, rows, groups), "anchors": hint}))
        return int(failed)
    count = len(datasets[0].names)
    print(f"{args.data}: {count} class{'es' * (count != 1)}")
    for split, parts in unions.items():
        print(f"{split} is {' and '.join(parts)} together, and not counted again")
    print("", *_table(rows), sep="\n")
    notes = [f"warning: {line}" for line in summary.warnings(rows, groups)]
    notes += [_hint(hint)] if hint else []
    notes += [f"{args.sheet}: written"] if args.sheet else []
    print("", *notes, sep="\n")
    return int(failed)


def _read(args: argparse.Namespace) -> tuple[list[Dataset], bool]:
    """Return the splits, and whether one could not be read, which is said.

    Raises DataError for a split that was asked for, and if none can be read.
    """
    from ghostyolo.data import open_dataset
    from ghostyolo.data.layouts import splits
    from ghostyolo.errors import DataError

    names, datasets = args.names, []
    failures: list[DataError] = []
    for split in dict.fromkeys(args.split or splits(args.data)):
        try:
            datasets.append(open_dataset(args.data, split, names))
        except DataError as error:
            failures.append(error)
            continue
        names = names or datasets[0].names  # so that all splits have the same
    if failures and (args.split or not datasets):
        raise failures[0]
    for failure in failures:
        print(f"ghostyolo: {failure}", file=sys.stderr)
    return datasets, bool(failures)


def _looked_at(data: Dataset) -> Dataset:
    """Return a split without the pictures that cannot be read; a person sees how far it is."""
    from ghostyolo.cli.progress import Progress
    from ghostyolo.data import summary

    if not sys.stderr.isatty():
        return summary.looked_at(data)
    progress = Progress(len(data), data.split, "picture")
    try:
        return summary.looked_at(data, progress.advance_to)
    finally:
        progress.close()


def _anchors(data: Dataset) -> dict[str, Any] | None:
    """Return anchors for a new cfg of `SIZE`, None where boxes are too few."""
    import numpy as np

    from ghostyolo.data import anchors
    from ghostyolo.errors import DataError
    from ghostyolo.network.net_options import NetOptions

    sizes = anchors.box_sizes(data, NetOptions(width=SIZE, height=SIZE, channels=3))
    try:
        found = anchors.cluster(sizes, ANCHORS, np.random.default_rng(0))
    except DataError:
        return None
    mean = anchors.fit(sizes, found).mean_iou
    return {"split": data.split, "size": SIZE, "mean_iou": mean, "anchors": found.tolist()}


def _hint(hint: dict[str, Any]) -> str:
    sides = ",".join(f"{side:g}" for pair in hint["anchors"] for side in pair)
    return (
        f"anchors for a new cfg (gencfg) of {SIZE}x{SIZE}, with a mean best IoU of "
        f"{hint['mean_iou']:.3f} in {hint['split']}:\n  --anchors {sides}\n"
        "those of a cfg at hand: ghostyolo anchors DATA CFG"
    )


def _draw(args: argparse.Namespace, datasets: Sequence[Dataset]) -> None:
    import numpy as np

    from ghostyolo.data.sheet import write_sheet
    from ghostyolo.errors import OptionError

    if args.seed < 0:
        raise OptionError(f"--seed {args.seed}", hint="use 0 or more")
    write_sheet(args.sheet, datasets, np.random.default_rng(args.seed))


def _table(rows: Sequence[Summary]) -> list[str]:
    """Return the numbers as aligned text, a column for each split."""
    from ghostyolo.data.summary import MEDIUM, SMALL

    classes = range(len(rows[0].names))
    cells: list[list[str]] = [
        ["", *(row.split for row in rows)],
        _line("pictures", rows, lambda row: f"{row.pictures:,}"),
        _line("  without boxes", rows, lambda row: f"{row.empty:,}"),
        _line("boxes (pictures with them)", rows, lambda row: f"{sum(row.boxes):,}"),
        *(_line(f"  {rows[0].names[cls]}", rows, _of_class(cls)) for cls in classes),
        _line("  not counted (difficult)", rows, lambda row: f"{row.ignored:,}"),
        _line("boxes a picture, median", rows, lambda row: f"{row.crowd[1]:g}"),
        _line("  least to most", rows, lambda row: f"{row.crowd[0]} to {row.crowd[2]}"),
        _line(f"small, under {SMALL}x{SMALL} pixels", rows, _share(0)),
        _line(f"medium, under {MEDIUM}x{MEDIUM}", rows, _share(1)),
        _line("large", rows, _share(2)),
        _line("box side over picture's, median", rows, lambda row: _side(row, 2)),
        _line("  1 % are under", rows, lambda row: _side(row, 0)),
        _line("  1 % are over", rows, lambda row: _side(row, -1)),
        _line("sizes of pictures", rows, lambda row: f"{len(row.sizes):,}"),
        *(_line(f"  {w}x{h}", rows, _of_size((h, w))) for h, w in _common(rows)),
        *(_line(f"mended or left out: {d}", rows, _of_defect(d)) for d in _defects(rows)),
    ]
    if not any(row.ignored for row in rows):
        cells = [line for line in cells if not line[0].startswith("  not counted")]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join((name.ljust(widths[0]), *map(str.rjust, numbers, widths[1:])))
        for name, *numbers in cells
    ]


def _line(name: str, rows: Sequence[Summary], text: Callable[[Summary], str]) -> list[str]:
    return [name, *map(text, rows)]


def _of_class(cls: int) -> Callable[[Summary], str]:
    return lambda row: f"{row.boxes[cls]:,} ({row.shown[cls]:,})"


def _of_size(size: tuple[int, int]) -> Callable[[Summary], str]:
    return lambda row: f"{row.sizes.get(size, 0):,}"


def _of_defect(defect: str) -> Callable[[Summary], str]:
    return lambda row: f"{row.defects.get(defect, 0):,}"


def _share(place: int) -> Callable[[Summary], str]:
    return lambda row: f"{row.areas[place] / sum(row.boxes):.1%}" if sum(row.boxes) else "-"


def _side(row: Summary, place: int) -> str:
    return f"{row.sides[place]:.3f}" if row.sides else "-"


def _common(rows: Sequence[Summary]) -> list[tuple[int, int]]:
    """Return the sizes (h, w) that most pictures have, in all splits."""
    total: Counter[tuple[int, int]] = Counter()
    for row in rows:
        total.update(row.sizes)
    return [size for size, _ in total.most_common(SIZES_SHOWN)]


def _defects(rows: Sequence[Summary]) -> list[str]:
    return sorted({defect for row in rows for defect in row.defects})


def _as_dict(
    args: argparse.Namespace, rows: Sequence[Summary], groups: Sequence[Sequence[Copy]]
) -> dict[str, Any]:
    from ghostyolo.data import summary

    splits = [
        {**asdict(row), "sizes": [[*size, count] for size, count in row.sizes.items()]}
        for row in rows
    ]
    return {
        "data": args.data,
        "quantiles": summary.QUANTILES,
        "splits": splits,
        "copies": [[copy._asdict() for copy in group] for group in groups],
        "warnings": summary.warnings(rows, groups),
        "sheet": args.sheet,
    }
