"""ghostyolo val: the average precision, or the accuracy, of a trained cfg."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghostyolo.cli import classify, shared
from ghostyolo.distributed import joined, pick_device
from ghostyolo.errors import OptionError, Span
from ghostyolo.files import make_folder
from ghostyolo.network.outputs import classifier_output

if TYPE_CHECKING:
    from ghostyolo.boxes import Detections
    from ghostyolo.data import Dataset
    from ghostyolo.network import Network
    from ghostyolo.report import RunReport
    from ghostyolo.runtime.interface import Runtime


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
        make_folder(Path(args.report).parent)
    with joined(args.device) as world:
        args.device = world.device
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
    """Find what is in this process's share of the pictures and score what all found."""
    from ghostyolo import report
    from ghostyolo.cli.progress import Progress
    from ghostyolo.data.class_names import check_class_order
    from ghostyolo.evaluation import detection

    network = None if shared.is_exported(args) else shared.read_network(args)
    clock = [time.monotonic()]
    if network is not None and classifier_output(network):
        subject = classify.subject(args, network)
    else:
        subject = _detector(args, network)
    data = subject.data
    if not args.names:
        check_class_order(subject.network, data, args.weights or args.cfg)
    own = replace(data, samples=data.samples[world.rank :: world.size])
    data.log_defects()
    clock.append(time.monotonic())
    progress = Progress(len(own), "val", "picture")
    found = detection.interleaved(world.gather(subject.find(own, progress.advance_to)))
    progress.close()
    data.gather_defects(world.gather)
    found, data = detection.readable(found, data)
    clock.append(time.monotonic())
    metrics = subject.judge(found, data)
    clock.append(time.monotonic())
    phases = zip(subject.phases, clock, clock[1:], strict=False)
    return report.RunReport(
        title=Path(args.cfg).stem,
        network=subject.network,
        command=("ghostyolo", *args.words),
        seconds={phase: end - start for phase, start, end in phases},
        val=data,
        detections=found,
        metrics=metrics,
        weights=args.weights or args.cfg,
        versions={**report.versions(pick_device(args.device)), **subject.versions},
        date=time.strftime("%Y-%m-%d %H:%M"),
    )


def _exported(args: argparse.Namespace) -> Runtime:
    """Open an exported detector. Raises `OptionError` for a classifier."""
    runtime = shared.open_runtime(args, None)
    if classifier_output(runtime.network):
        hint = "give the cfg and the weights that it was exported from"
        raise OptionError(
            "it classifies, which no exported file is measured for", span=Span(args.cfg), hint=hint
        )
    return runtime


def _detector(args: argparse.Namespace, network: Network | None) -> shared.Subject:
    """Open the data and what is to find its boxes, in the program of --runtime."""
    from ghostyolo.data import open_dataset
    from ghostyolo.data.class_names import check_classes
    from ghostyolo.evaluation import detection

    runtime = _exported(args) if network is None else None
    data = open_dataset(args.data, args.split, args.names)
    if network is not None:
        check_classes(network, data)
    runtime = runtime or shared.open_runtime(args, network)
    check_classes(runtime.network, data)
    limits = {**detection.LIMITS, "thresh": args.thresh, "nms": args.nms}

    def find(own: Dataset, step: Any) -> list[Detections | None]:
        with runtime:
            return detection.over(runtime.detector(**limits), own, step)

    return shared.Subject(
        data=data,
        network=runtime.network,
        find=find,
        judge=detection.score,
        phases=("reading", "detecting", "scoring"),
        versions={"runtime": runtime.name},
    )
