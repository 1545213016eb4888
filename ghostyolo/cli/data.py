"""ghostyolo data: what a data set holds, in numbers and as a sheet of labelled pictures."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ghostyolo.cli import shared

if TYPE_CHECKING:
    from ghostyolo.data import Dataset


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
    """Print what a data set holds, and draw a sheet of it."""
    from ghostyolo.data import summary_table
    from ghostyolo.data.summary import summarise

    found = summarise(args.data, args.split, args.names, _progress)
    if args.sheet:
        from ghostyolo.data.sheet import write_sheet

        write_sheet(args.sheet, found.datasets, args.seed)
    if args.json:
        print(json.dumps(found.as_dict(args.sheet)))
    else:
        written = [f"{args.sheet}: written"] if args.sheet else []
        print(*summary_table.lines(found), *written, sep="\n")
    return int(not found.complete)


def _progress(data: Dataset, pictures: Iterator[Any]) -> Iterator[Any]:
    return shared.watched(pictures, len(data), "picture", data.split)
