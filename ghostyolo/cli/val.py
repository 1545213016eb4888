"""ghostyolo val: the average precision, or the accuracy, of a trained cfg."""

from __future__ import annotations

import argparse
import json

from ghostyolo.cli import model_argument, shared


def options(p: argparse.ArgumentParser) -> None:
    """Declare the arguments of val."""
    from ghostyolo.evaluation.validation import THRESH
    from ghostyolo.model.detector import NMS

    model_argument.add_model(p)
    shared.add_data(p, "val")
    model_argument.add_runtime(p)
    shared.add_thresholds(p, THRESH, NMS)
    p.add_argument("--json", action="store_true", help="print JSON for programs")
    p.add_argument(
        "--report", metavar="FILE.html", help="also write a page with curves, errors and pictures"
    )


def run(args: argparse.Namespace) -> None:
    """Measure the average precision of a detector, or the accuracy of a classifier."""
    from ghostyolo.jobs.val import val

    names = ("names", "thresh", "nms", "runtime", "batch", "threads", "device", "report")
    model, size = model_argument.source(args)
    result = val(
        model,
        args.data,
        args.split,
        weights=args.weights or None,
        size=size,
        **{name: getattr(args, name) for name in names},
        command=("ghostyolo", *args.words),
        on_progress=shared.progress("val", "picture"),
    )
    if result.rank:
        return
    model_argument.print_runtime(result.runtime)
    print(json.dumps(result.metrics.as_dict()) if args.json else result.metrics.table())
    if args.report and not args.json:
        print(f"report: {args.report}")
