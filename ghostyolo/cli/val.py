"""ghostyolo val: the average precision of a trained cfg."""

from __future__ import annotations

import argparse
import json

from ghostyolo.cli import shared

HINT = "give the cfg that was trained on these, such as the run's model.cfg"


def options(p: argparse.ArgumentParser) -> None:
    """Declare what val takes."""
    shared.add_cfg(p)
    p.add_argument("weights", metavar="WEIGHTS")
    shared.add_data(p, "val")
    p.add_argument("--thresh", type=shared.share, help="least score (0.001)", default=0.001)
    p.add_argument("--nms", type=shared.share, help="overlap that suppresses (0.6)", default=0.6)
    p.add_argument("--json", action="store_true", help="print JSON for programs")


def run(args: argparse.Namespace) -> None:
    """Measure the average precision of a trained cfg."""
    from ghostyolo.console import Progress
    from ghostyolo.data import open_dataset
    from ghostyolo.evaluate import LIMITS, evaluate

    data = open_dataset(args.data, args.split, shared.names_file(args.names))
    model = shared.read_model(shared.fitting(shared.read_network(args), data, HINT), args)
    shared.report_defects(data)
    progress = Progress(len(data), "val", "picture")
    limits = {**LIMITS, "thresh": args.thresh, "nms": args.nms}
    metrics = evaluate(model.detector(**limits), data, progress.advance_to)
    progress.close()
    print(json.dumps(metrics.as_dict()) if args.json else metrics.table())
