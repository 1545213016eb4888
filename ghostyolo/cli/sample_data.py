"""ghostyolo sample-data: a small labelled data set to try things on."""

from __future__ import annotations

import argparse

from ghostyolo.cli import shared
from ghostyolo.syntax.arguments import Parser

EXAMPLES = ("shapes", "other-shapes --seed 7")


def options(p: Parser) -> None:
    """Declare what sample-data takes."""
    group = p.group("output")
    group.add_argument("folder", metavar="FOLDER", help="folder to write to, new or empty")
    group.add_argument("--seed", type=int, default=0, help="seed of the pictures (0)")
    shared.add_quiet(p)


def run(args: argparse.Namespace) -> None:
    """Paint a small labelled data set."""
    from ghostyolo.sample_data.painter import write_dataset

    with shared.progress(args, "paint", "picture") as on_progress:
        folder = write_dataset(args.folder, seed=args.seed, on_progress=on_progress)
    shared.say(f"{folder}: JPEGImages, Annotations, ImageSets")
