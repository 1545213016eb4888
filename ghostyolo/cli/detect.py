"""ghostyolo detect: find objects in pictures and videos, draw and list them."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ghostyolo.cli import model_argument, shared
from ghostyolo.distributed import joined
from ghostyolo.errors import OptionError
from ghostyolo.network.model_files import model_name

if TYPE_CHECKING:
    from ghostyolo.prediction.job import Outputs

PROJECT = "runs/detect"


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
    text = f"where a folder NAME is made for pictures with boxes and detections.json ({PROJECT})"
    p.add_argument("--project", metavar="FOLDER", help=text)
    text = "of that folder; if it exists, NAME-2, NAME-3 ... (that of the run or of the cfg)"
    p.add_argument("--name", help=text)
    p.add_argument("--out", metavar="FOLDER", help="a new or empty folder to use instead")
    text = "print JSON; draw only if --project, --name or --out is given"
    p.add_argument("--json", action="store_true", help=text)
    text = "write a line of JSON per picture; - prints them and draws as --json does"
    p.add_argument("--jsonl", metavar="FILE", help=text)
    p.add_argument("--csv", metavar="FILE", help="write a line per detection for spreadsheets")
    p.add_argument("--coco", metavar="FILE", help="write a file in COCO's format of results")
    p.add_argument("--voc", metavar="FOLDER", help="write VOC's comp4_det_test_CLASS.txt there")
    p.add_argument("--txt", metavar="FOLDER", help="write YOLO labels with scores there")
    p.add_argument(
        "--show", action="store_true", help="show in a window; any key shows the next, q ends"
    )


def run(args: argparse.Namespace) -> int:
    """Find objects in pictures and videos, draw and list them."""
    from ghostyolo.prediction import sources, video
    from ghostyolo.prediction.job import DetectionJob

    words = sources.with_list(args.source, sys.stdin) if args.list else args.source
    found = sources.find_sources(words, recursive=args.recursive)
    printed = args.json or args.jsonl == "-"
    with joined(args.device) as world:
        args.device = world.device
        with model_argument.open_model(args) as runtime:
            job = DetectionJob(
                runtime.detector(thresh=args.thresh, nms=args.nms),
                found,
                _outputs(args, drawn=not printed),
                names=model_argument.class_names(args, runtime),
                batch=args.batch,
                world=world,
                stdin=sys.stdin.buffer,
                show=video.window("ghostyolo") if args.show else None,
                on_source=(lambda line: None) if printed else shared.print_above_bar,
                watch=shared.watched,
            )
            rows, failed = job.run()
    if not world.first:
        return 0
    model_argument.print_runtime(runtime.title)
    if args.json:
        print(json.dumps(rows))
    if rows and job.folder:
        told = f"wrote {job.folder}: detections.json and the annotated pictures"
        print(told, file=sys.stderr if printed else sys.stdout)
    if failed:
        count = len(found.pictures) + len(found.streams)
        print(f"ghostyolo: {failed} of {count} sources cannot be read", file=sys.stderr)
    return 1 if failed else 0


def _outputs(args: argparse.Namespace, *, drawn: bool) -> Outputs:
    """Return the files to write. drawn: whether to draw if no option names a folder for it."""
    from ghostyolo.prediction.job import Outputs

    named = args.project or args.name
    if args.out and named:
        raise OptionError("--out is a whole path", hint="leave it or --project and --name out")
    folder = args.out or Path(args.project or PROJECT, args.name or model_name(args.cfg))
    return Outputs(
        folder=folder if drawn or args.out or named else None,
        numbered=not args.out,
        jsonl=sys.stdout.buffer if args.jsonl == "-" else args.jsonl,
        csv=args.csv,
        coco=args.coco,
        voc=args.voc,
        yolo=args.txt,
    )
