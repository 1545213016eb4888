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

    p.epilog = "ghostyolo anchors DATA CFG prints how well the anchors of a cfg fit the boxes."
    p.add_argument("data", metavar="DATA", help=DATA_HELP)
    p.add_argument("--split", action="append", help="split of DATA; may be repeated (all splits)")
    p.add_argument("--names", metavar="FILE", help="class names, one a line (those of DATA)")
    p.add_argument("--sheet", metavar="FILE", help="draw labelled pictures on a .jpg or .png")
    p.add_argument("--seed", type=int, default=0, help="seed of the choice of pictures (0)")
    p.add_argument("--json", action="store_true", help="print JSON for programs")


def run(args: argparse.Namespace) -> int:
    """Print the numbers of a data set, and draw a contact sheet of it."""
    from ghostyolo.data.summary import summarise

    found = summarise(args.data, args.split, args.names, _progress)
    if args.sheet:
        from ghostyolo.data.sheet import write_sheet

        write_sheet(args.sheet, found.datasets, args.seed)
    if args.json:
        print(json.dumps(found.as_dict(args.sheet)))
    else:
        print(found.table())
        if args.sheet:
            print(f"{args.sheet}: written")
    return int(not found.complete)


def _progress(data: Dataset, pictures: Iterator[Any]) -> Iterator[Any]:
    return shared.watched(pictures, len(data), "picture", data.split)
