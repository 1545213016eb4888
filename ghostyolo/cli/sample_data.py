"""ghostyolo sample-data: a small labelled data set to try things on."""

from __future__ import annotations

import argparse


def options(p: argparse.ArgumentParser) -> None:
    """Declare what sample-data takes."""
    p.add_argument("folder", metavar="FOLDER", help="folder to write to, new or empty")
    p.add_argument("--seed", type=int, default=0, help="seed of the pictures (0)")


def run(args: argparse.Namespace) -> None:
    """Paint a small labelled data set."""
    from ghostyolo.sample_data.painter import write_dataset

    print(f"{write_dataset(args.folder, seed=args.seed)}: JPEGImages, Annotations, ImageSets")
