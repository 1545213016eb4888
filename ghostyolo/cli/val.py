"""ghostyolo val: the average precision, or the accuracy, of a trained cfg."""

from __future__ import annotations

import argparse

from ghostyolo.cli import model_argument, shared
from ghostyolo.syntax.arguments import Parser

EXAMPLES = ("runs/train/first DATA --split test", "my.cfg best.weights DATA --report page.html")


def options(p: Parser) -> None:
    """Declare the arguments of val."""
    from ghostyolo.data.help_texts import LIMIT_HELP
    from ghostyolo.evaluation.validation import THRESH
    from ghostyolo.model.detector import NMS

    model_argument.add_model(p, exported=True)
    shared.add_data(p, "val", shared.OR_CLASS_FOLDERS)
    shared.add_reading(p)
    shared.add_limit(p, "data", LIMIT_HELP)
    shared.add_thresholds(p, THRESH, NMS)
    shared.add_tiles(p)
    model_argument.add_runtime(p)
    shared.add_json(p)
    text = "also write a page with curves, errors and pictures"
    p.group("output").add_argument("--report", metavar="FILE.html", help=text)
    shared.add_quiet(p)


def run(args: argparse.Namespace) -> None:
    """Measure the average precision of a detector, or the accuracy of a classifier."""
    from ghostyolo.cli.progress_bar import speed
    from ghostyolo.jobs.val import val

    names = (
        "names", "thresh", "nms", "allow_outside", "no_cache", "limit", "runtime", "batch",
        "threads", "device", "report",
    )  # fmt: skip
    model_argument.show_preparation(args)
    model, size = model_argument.source(args)
    with shared.progress(args, "val", "picture") as on_progress:
        result = val(
            model,
            args.data,
            args.split,
            weights=args.weights or None,
            size=size,
            tiles=shared.tiles(args),
            **{name: getattr(args, name) for name in names},
            command=("ghostyolo", *args.words),
            on_progress=on_progress,
        )
    if result.rank:
        return
    done = speed(len(result.dataset), result.seconds)
    model_argument.print_runtime(args, result.runtime, done)
    if args.json:
        shared.say(shared.json_text(result.as_dict()))
    else:
        shared.say(result.metrics.table(), keep="\n")
        if result.limited:
            shared.say(f"these scores are {result.limited}")
    if args.report and not args.json:
        shared.say(f"report: {args.report}")
