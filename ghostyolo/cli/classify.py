"""ghostyolo classify: print the classes of pictures."""

from __future__ import annotations

import argparse

from ghostyolo.cli import model_argument, shared
from ghostyolo.syntax.arguments import Parser

EXAMPLES = ("runs/train/flowers dog.jpg", "runs/train/flowers pictures/ --top 3 --json")


def options(p: Parser) -> None:
    """Declare the options of classify."""
    model_argument.add_model(p, exported=True)
    shared.add_names(p, "model", "beside WEIGHTS")
    text = "pictures, folders or patterns"
    p.group("pictures").add_argument("source", nargs="+", metavar="PICTURE", help=text)
    shared.add_limit(p, "pictures", "only the first N pictures")
    model_argument.add_runtime(p)
    text = "classes per picture (5)"
    p.group("output").add_argument("--top", type=shared.count, default=5, help=text)
    shared.add_json(p)
    shared.add_quiet(p)


def run(args: argparse.Namespace) -> int:
    """Print the classes of pictures, the most probable first."""
    from ghostyolo.cli.progress_bar import speed
    from ghostyolo.inference.timer import Timer
    from ghostyolo.prediction.job import classify_files
    from ghostyolo.prediction.sources import find_pictures

    paths, timer = find_pictures(args.source)[: args.limit], Timer({})
    rows = []
    with model_argument.open_model(args) as runtime:
        classifier, names = runtime.classifier(), model_argument.class_names(args, runtime)
        timer.lap("start")
        timer.seconds.clear()
        found = classify_files(
            classifier, paths, names, top=args.top, batch=args.batch, timer=timer
        )
        for row in shared.watched(args, found, len(paths), "picture", "classify"):
            rows.append(row)
            if row and not args.json:
                classes = (f"{each['name']} {each['probability']:.3f}" for each in row["classes"])
                shared.say(f"{row['file']}: {', '.join(classes)}")
    model_argument.print_runtime(args, runtime.title, speed(len(rows), timer.seconds))
    if args.json:
        shared.say(shared.json_text([row for row in rows if row]))
    return 0 if all(rows) else 1
