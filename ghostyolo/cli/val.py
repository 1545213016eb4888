"""ghostyolo val: the average precision, or the accuracy, of a trained cfg."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ghostyolo.cli import model_argument, shared
from ghostyolo.distributed import joined, pick_device
from ghostyolo.files import make_folder

if TYPE_CHECKING:
    from ghostyolo.evaluation.validation import Validation


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
    from ghostyolo.evaluation.validation import validate

    if args.report:
        make_folder(Path(args.report).parent)
    with joined(args.device) as world:
        args.device = world.device
        with model_argument.open_model(args) as runtime:
            result = validate(
                runtime,
                args.data,
                args.split,
                names=args.names,
                weights=args.weights or args.cfg,
                thresh=args.thresh,
                nms=args.nms,
                world=world,
                on_progress=shared.progress("val", "picture"),
            )
    if not world.first:
        return
    model_argument.print_runtime(runtime)
    print(json.dumps(result.metrics.as_dict()) if args.json else result.metrics.table())
    if args.report:
        _write_report(args, result, runtime.title)
        if not args.json:
            print(f"report: {args.report}")


def _write_report(args: argparse.Namespace, result: Validation, runtime: str) -> None:
    from ghostyolo import report
    from ghostyolo.inference.environment import versions

    page = report.RunReport(
        title=Path(args.cfg).stem,
        network=result.network,
        command=("ghostyolo", *args.words),
        seconds=result.seconds,
        validation=result,
        weights=args.weights or args.cfg,
        versions={**versions(pick_device(args.device)), "runtime": runtime},
        date=time.strftime("%Y-%m-%d %H:%M"),
    )
    report.write(args.report, page)
