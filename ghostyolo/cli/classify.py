"""ghostyolo classify: what pictures show, by a classifier."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from ghostyolo.cli import shared
from ghostyolo.errors import DataError

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
    from ghostyolo.evaluation.accuracy import by_probability
    from ghostyolo.prediction import predict

    return [
        {
            "class": int(cls),
            "name": predict.label(int(cls), names),
            "probability": round(float(answer[cls]), 5),
        }
        for cls in by_probability(answer[None])[0, :most]
    ]
