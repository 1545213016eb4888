"""ghostyolo detect: find objects in pictures and videos, draw and list them."""

from __future__ import annotations

import argparse
import json
import sys

from ghostyolo.cli import model_argument, shared
from ghostyolo.distributed import joined


def options(p: argparse.ArgumentParser) -> None:
    """Declare the options of detect."""
    from ghostyolo.model.detector import NMS, THRESH

    model_argument.add_model(p)
    p.add_argument(
        "source",
        nargs="+",
        metavar="SOURCE",
        help="pictures, videos, folders, patterns, a camera's number, an rtsp:// or http:// "
        "address, or - for a picture on standard input",
    )
    shared.add_run(p)
    model_argument.add_runtime(p)
    shared.add_names(p)
    shared.add_thresholds(p, THRESH, NMS)
    p.add_argument("--recursive", action="store_true", help="look into subfolders too")
    p.add_argument("--list", action="store_true", help="- is a list of sources, one a line")
    p.add_argument(
        "--out",
        default="runs/detect",
        metavar="FOLDER",
        help="folder for annotated pictures and detections.json (runs/detect)",
    )
    p.add_argument("--json", action="store_true", help="print JSON and draw nothing")
    p.add_argument(
        "--jsonl", metavar="FILE", help="write a line of JSON per picture; - prints them"
    )
    p.add_argument("--coco", metavar="FILE", help="write a file in COCO's format of results")
    p.add_argument("--voc", metavar="FOLDER", help="write VOC's comp4_det_test_CLASS.txt there")
    p.add_argument("--txt", metavar="FOLDER", help="write YOLO labels with scores there")
    p.add_argument(
        "--show", action="store_true", help="show in a window; any key shows the next, q ends"
    )


def run(args: argparse.Namespace) -> int:
    """Find objects in pictures and videos, draw and list them."""
    from ghostyolo.prediction import sources, video
    from ghostyolo.prediction.job import DetectionJob, Outputs

    words = sources.with_list(args.source, sys.stdin) if args.list else args.source
    found = sources.find_sources(words, recursive=args.recursive)
    outputs = Outputs(
        folder=None if args.json or args.jsonl == "-" else args.out,
        jsonl=sys.stdout.buffer if args.jsonl == "-" else args.jsonl,
        coco=args.coco,
        voc=args.voc,
        yolo=args.txt,
    )
    with joined(args.device) as world:
        args.device = world.device
        with model_argument.open_model(args) as runtime:
            job = DetectionJob(
                runtime.detector(thresh=args.thresh, nms=args.nms),
                found,
                outputs,
                names=model_argument.class_names(args, runtime),
                batch=args.batch,
                world=world,
                stdin=sys.stdin.buffer,
                show=video.window("ghostyolo") if args.show else None,
                on_source=print,
                watch=shared.watched,
            )
            rows, failed = job.run()
    if not world.first:
        return 0
    model_argument.print_runtime(runtime)
    if args.json:
        print(json.dumps(rows))
    return 1 if failed else 0
