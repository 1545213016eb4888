"""ghostyolo classify: what pictures show, by a classifier."""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from ghostyolo.cli import shared
from ghostyolo.errors import CfgError, DataError, OptionError
from ghostyolo.network import Network
from ghostyolo.network.outputs import detection_heads

if TYPE_CHECKING:
    import numpy as np


def options(p: argparse.ArgumentParser) -> None:
    """Declare what classify takes."""
    shared.add_cfg(p)
    p.add_argument("weights", metavar="WEIGHTS")
    p.add_argument("source", nargs="+", metavar="PICTURE", help="pictures, folders or patterns")
    shared.add_run(p)
    p.add_argument("--names", metavar="FILE", help="class names, one a line (beside WEIGHTS)")
    p.add_argument("--top", type=shared.count, default=5, help="answers to each picture (5)")
    p.add_argument("--json", action="store_true", help="print JSON for programs")


def run(args: argparse.Namespace) -> int:
    """Name what pictures show, the most probable first."""
    from ghostyolo.data import read_image
    from ghostyolo.data.class_names import class_names
    from ghostyolo.prediction import predict

    paths = predict.pictures(args.source)
    network = shared.read_network(args)
    _check(network)
    names = class_names(network, args.names, beside=args.weights, warn=True)
    classifier = shared.read_model(network, args).classifier()
    rows, failed = [], 0
    for path in paths:
        try:
            answer = classifier([read_image(path)])[0]
        except DataError as error:
            print(f"ghostyolo: {error}", file=sys.stderr)
            failed += 1
            continue
        classes = best(answer, names, args.top)
        rows.append({"file": str(path), "classes": classes})
        if not args.json:
            told = ", ".join(f"{each['name']} {each['probability']:.3f}" for each in classes)
            print(f"{path}: {told}")
    if args.json:
        print(json.dumps(rows))
    return 1 if failed else 0


def best(answer: np.ndarray, names: tuple[str, ...], most: int) -> list[dict[str, Any]]:
    """Return the most probable classes of one picture, the first one first."""
    from ghostyolo.evaluation import classification
    from ghostyolo.prediction import predict

    return [
        {
            "class": int(cls),
            "name": predict.label(int(cls), names),
            "probability": round(float(answer[cls]), 5),
        }
        for cls in classification.order(answer[None])[0, :most]
    ]


def subject(args: argparse.Namespace, network: Network) -> shared.Subject:
    """Open the data and the classifier of its pictures, for `ghostyolo val`."""
    from ghostyolo.data.class_names import check_classes
    from ghostyolo.evaluation.detection import LIMITS
    from ghostyolo.training.task import CLASSIFICATION

    if (args.thresh, args.nms) != (LIMITS["thresh"], LIMITS["nms"]):
        raise OptionError("--thresh and --nms are of boxes", hint="leave them out for a classifier")
    if args.runtime not in ("auto", "torch"):
        message = f"--runtime {args.runtime} is for detectors; torch computes classifiers"
        raise OptionError(message, hint="leave it out")
    data = CLASSIFICATION.read(args.data, args.split, args.names)
    check_classes(network, data)
    return shared.Subject(
        data=data,
        network=network,
        find=partial(CLASSIFICATION.find, shared.read_model(network, args)),
        judge=CLASSIFICATION.judge,
        phases=("reading", "classifying"),
    )


def _check(network: Network) -> None:
    """Raise `CfgError` for a detector."""
    for node, head in detection_heads(network):
        message, hint = "makes boxes, no class of the picture", "run ghostyolo detect"
        raise CfgError(message, span=node.span, section=head.kind, hint=hint)
