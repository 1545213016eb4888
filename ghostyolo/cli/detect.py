"""ghostyolo detect: find objects in pictures and videos, draw and list them."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ghostyolo.cli import model_argument, shared
from ghostyolo.distributed import joined
from ghostyolo.errors import OptionError
from ghostyolo.network.model_files import model_name
from ghostyolo.syntax.arguments import Parser

if TYPE_CHECKING:
    from ghostyolo.prediction.job import Outputs

PROJECT = "runs/detect"
EXAMPLES = ("runs/train/first dog.jpg", "my.onnx pictures/ --thresh 0.4 --json")


def options(p: Parser) -> None:
    """Declare the options of detect."""
    from ghostyolo.model.detector import NMS, THRESH

    model_argument.add_model(p, exported=True)
    shared.add_names(p, "model", "beside WEIGHTS")
    group = p.group("pictures")
    group.add_argument(
        "source",
        nargs="+",
        metavar="SOURCE",
        help="pictures, videos, folders, patterns, a camera's number, an rtsp:// or http:// "
        "address, or - for a picture on standard input",
    )
    group.add_argument("--recursive", action="store_true", help="look into subfolders too")
    group.add_argument("--list", action="store_true", help="- is a list of sources, one a line")
    text = "only the first N pictures, and the first N frames of each video"
    shared.add_limit(p, "pictures", text)
    shared.add_thresholds(p, THRESH, NMS)
    shared.add_tiles(p)
    model_argument.add_runtime(p)
    group = p.group("output")
    text = f"pictures with boxes and detections.json go to FOLDER/NAME ({PROJECT})"
    group.add_argument("--project", metavar="FOLDER", help=text)
    text = "NAME-2, NAME-3 ... if FOLDER/NAME exists (the name of the run or of the cfg)"
    group.add_argument("--name", help=text)
    text = "a new or empty folder, in place of FOLDER/NAME"
    group.add_argument("--out", metavar="FOLDER", help=text)
    shared.add_json(p, "print JSON; draw only if --project, --name or --out is given")
    text = "write a line of JSON per picture; - prints them and draws as --json does"
    group.add_argument("--jsonl", metavar="FILE", help=text)
    group.add_argument("--csv", metavar="FILE", help="write a line per detection for spreadsheets")
    group.add_argument("--coco", metavar="FILE", help="write a file in COCO's format of results")
    group.add_argument("--voc", metavar="FOLDER", help="write VOC's comp4_det_test_CLASS.txt there")
    group.add_argument("--txt", metavar="FOLDER", help="write YOLO labels with scores there")
    text = "show in a window; any key shows the next, q ends"
    group.add_argument("--show", action="store_true", help=text)
    shared.add_quiet(p)


def run(args: argparse.Namespace) -> int:
    """Find objects in pictures and videos, draw and list them."""
    from ghostyolo.cli.progress_bar import speed
    from ghostyolo.prediction import sources, video
    from ghostyolo.prediction.job import DetectionJob

    words = sources.with_list(args.source, sys.stdin) if args.list else args.source
    found = sources.find_sources(words, recursive=args.recursive)
    tiles = shared.tiles(args)
    printed = args.json or args.jsonl == "-"
    with joined(args.device) as world:
        args.device, args.quiet = world.device, args.quiet or not world.first
        with model_argument.open_model(args) as runtime:
            names = world.once(partial(model_argument.class_names, args, runtime))
            job = DetectionJob(
                runtime.detector(thresh=args.thresh, nms=args.nms, tiles=tiles),
                found,
                _outputs(args, drawn=not printed),
                names=names,
                batch=args.batch,
                limit=args.limit,
                world=world,
                stdin=sys.stdin.buffer,
                show=video.window("ghostyolo") if args.show else None,
                on_source=(lambda line: None) if printed else shared.say,
                watch=partial(shared.watched, args, what="detect"),
            )
            done = job.run()
    if not world.first:
        return 0
    model_argument.print_runtime(args, runtime.title, speed(done.pictures, done.seconds))
    if done.pictures and not done.detections:
        told = f"nothing found above --thresh {job.detector.thresh}; a lower one shows more"
        shared.say(f"ghostyolo: {told}", err=True)
    if done.pictures and job.folder:
        told = f"wrote {job.folder}: detections.json and the annotated pictures"
        shared.say(told, err=printed)
    if done.failed:
        count = len(found.pictures) + len(found.streams)
        shared.say(f"ghostyolo: {done.failed} of {count} sources cannot be read", err=True)
    return 1 if done.failed else 0


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
        json=sys.stdout.buffer if args.json else None,
        jsonl=sys.stdout.buffer if args.jsonl == "-" else args.jsonl,
        csv=args.csv,
        coco=args.coco,
        voc=args.voc,
        yolo=args.txt,
    )
