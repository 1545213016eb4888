"""ghostyolo detect: objects in pictures, drawn and listed."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ghostyolo.cli import shared
from ghostyolo.errors import DataError, OptionError, Span
from ghostyolo.layers import Head
from ghostyolo.network import Network


def options(p: argparse.ArgumentParser) -> None:
    """Declare what detect takes."""
    shared.add_cfg(p)
    p.add_argument("weights", metavar="WEIGHTS")
    p.add_argument("source", nargs="+", metavar="SOURCE", help="pictures, folders or patterns")
    shared.add_run(p)
    p.add_argument("--names", metavar="FILE", help="class names, one a line (beside WEIGHTS)")
    p.add_argument("--thresh", type=shared.share, help="least score (0.25)", default=0.25)
    p.add_argument("--nms", type=shared.share, help="overlap that suppresses (0.45)", default=0.45)
    p.add_argument(
        "--out",
        default="runs/detect",
        metavar="FOLDER",
        help="for annotated pictures and detections.json (runs/detect)",
    )
    p.add_argument("--json", action="store_true", help="print JSON and write nothing")


def run(args: argparse.Namespace) -> int:
    """Find objects in pictures, draw and list them."""
    from ghostyolo import predict

    paths = predict.pictures(args.source)
    network = shared.read_network(args)
    names = _names(args, network)
    detector = shared.read_model(network, args).detector(thresh=args.thresh, nms=args.nms)
    out = None if args.json else shared.make_folder(args.out)
    targets = predict.target_paths(paths, out) if out else {}
    rows, failed = [], 0
    for found in predict.predict(detector, paths):
        if isinstance(found, DataError):
            print(f"ghostyolo: {found}", file=sys.stderr)
            failed += 1
            continue
        rows.append(predict.as_dict(found, names))
        if out is not None:
            predict.write_picture(targets[found.path], found, names)
            print(f"{found.path}: {predict.summary(found, names)} -> {targets[found.path]}")
    if out is None:
        print(json.dumps(rows))
    elif rows:
        predict.write_json(out / "detections.json", rows)
    return 1 if failed else 0


def _names(args: argparse.Namespace, network: Network) -> tuple[str, ...]:
    """Return the names in --names, else in the one .names file beside WEIGHTS that fits, else none.

    Raises `OptionError` if --names has not as many as the heads have classes.
    """
    classes = {node.layer.classes for node in network if isinstance(node.layer, Head)}
    if args.names:
        names = shared.names_file(args.names) or ()
        if classes and classes != {len(names)}:
            message = f"{len(names)} names, {args.cfg} has classes={max(classes)}"
            hint = "give one name for each class"
            raise OptionError(message, span=Span(args.names), hint=hint)
        return names
    beside = [shared.names_file(str(path)) for path in Path(args.weights).parent.glob("*.names")]
    fitting = [names for names in beside if names and {len(names)} == classes]
    if len(fitting) == 1:
        return fitting[0]
    print("ghostyolo: no class names; give them with --names FILE", file=sys.stderr)
    return ()
