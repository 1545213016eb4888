"""ghostyolo classify: print the classes of pictures."""

from __future__ import annotations

import argparse
import json

from ghostyolo.cli import model_argument, shared


def options(p: argparse.ArgumentParser) -> None:
    """Declare the options of classify."""
    model_argument.add_model(p)
    p.add_argument("source", nargs="+", metavar="PICTURE", help="pictures, folders or patterns")
    shared.add_run(p)
    model_argument.add_runtime(p)
    shared.add_names(p)
    p.add_argument("--top", type=shared.count, default=5, help="classes per picture (5)")
    p.add_argument("--json", action="store_true", help="print JSON for programs")


def run(args: argparse.Namespace) -> int:
    """Print the classes of pictures, the most probable first."""
    from ghostyolo.prediction.job import classify_files
    from ghostyolo.prediction.sources import find_pictures

    paths, rows = find_pictures(args.source), []
    with model_argument.open_model(args) as runtime:
        classifier, names = runtime.classifier(), model_argument.class_names(args, runtime)
        for row in classify_files(classifier, paths, names, top=args.top, batch=args.batch):
            rows.append(row)
            if row and not args.json:
                classes = (f"{each['name']} {each['probability']:.3f}" for each in row["classes"])
                print(f"{row['file']}: {', '.join(classes)}")
    model_argument.print_runtime(runtime.title)
    if args.json:
        print(json.dumps([row for row in rows if row]))
    return 0 if all(rows) else 1
