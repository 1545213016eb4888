"""ghostyolo val: the average precision, or the accuracy, of a trained cfg."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghostyolo.cli import classify, shared
from ghostyolo.endings import ending

if TYPE_CHECKING:
    from ghostyolo.report import RunReport

HINT = "give the cfg that was trained on these, such as the run's model.cfg"


def options(p: argparse.ArgumentParser) -> None:
    """Declare what val takes."""
    shared.add_model(p)
    shared.add_data(p, "val")
    shared.add_runtime(p)
    p.add_argument("--thresh", type=shared.share, help="least score (0.001)", default=0.001)
    p.add_argument("--nms", type=shared.share, help="overlap that suppresses (0.45)", default=0.45)
    p.add_argument("--json", action="store_true", help="print JSON for programs")
    p.add_argument(
        "--report", metavar="FILE.html", help="also write a page with curves, errors and pictures"
    )


def run(args: argparse.Namespace) -> None:
    """Measure the average precision, or the accuracy, of a trained cfg."""
    if args.report:
        shared.make_folder(str(Path(args.report).parent))
    with shared.processes(args) as world:
        found = _measured(args, world)
    if not world.first:
        return
    assert found.metrics is not None
    print(json.dumps(found.metrics.as_dict()) if args.json else found.metrics.table())
    if args.report:
        from ghostyolo import report

        report.write(args.report, found)
        if not args.json:
            print(f"report: {args.report}")


def _measured(args: argparse.Namespace, world: Any) -> RunReport:
    """Detect in this process's share of the pictures and score what all found."""
    from ghostyolo import evaluate, report
    from ghostyolo.console import Progress
    from ghostyolo.data import open_dataset

    network = None if shared.is_exported(args) else shared.read_network(args)
    if network is not None and ending(network):
        return classify.measured(args, network, world)
    clock = [time.monotonic()]
    data = open_dataset(args.data, args.split, shared.names_file(args.names))
    if network is not None:
        shared.fitting(network, data, HINT)
    runtime = shared.open_runtime(args, network)
    network = shared.fitting(runtime.network, data, HINT)
    own = replace(data, samples=data.samples[world.rank :: world.size])
    shared.report_defects(data)
    clock.append(time.monotonic())
    progress = Progress(len(own), "val", "picture")
    limits = {**evaluate.LIMITS, "thresh": args.thresh, "nms": args.nms}
    found = evaluate.detect(runtime.detector(**limits), own, progress.advance_to)
    progress.close()
    runtime.close()
    detections = evaluate.woven(world.gather(found))
    clock.append(time.monotonic())
    metrics = evaluate.score(detections, data)
    clock.append(time.monotonic())
    phases = zip(("reading", "detecting", "scoring"), clock, clock[1:], strict=False)
    return report.RunReport(
        title=Path(args.cfg).stem,
        network=network,
        command=("ghostyolo", *args.words),
        seconds={phase: end - start for phase, start, end in phases},
        val=data,
        detections=detections,
        metrics=metrics,
        weights=args.weights or args.cfg,
        versions={
            **report.versions(shared.pick_device(args.device)),
            "runtime": runtime.name,
        },
        date=time.strftime("%Y-%m-%d %H:%M"),
    )
