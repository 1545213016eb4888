"""Average precision of a cfg and its weights, run by OpenCV's Darknet importer (OpenCV 4).

python tools/val_opencv.py CFG WEIGHTS DATA [--split test]

It checks `ghostyolo val`: OpenCV computes the network up to each head; ghostyolo decodes the boxes
and computes the scores.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / folder) for folder in (".", "tests")]

from ghostyolo.data import open_dataset
from ghostyolo.errors import GhostyoloError
from ghostyolo.evaluation.validation import (
    MAX_DETECTIONS,
    THRESH,
    predict_all,
    score,
    without_unreadable,
)
from ghostyolo.model.detector import Detector
from ghostyolo.model.model import Model
from ghostyolo.network import load
from support import opencv


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("cfg", "weights", "data"):
        parser.add_argument(name)
    parser.add_argument("--split", default="val")
    args = parser.parse_args()
    try:
        model = Model(load(args.cfg), args.weights)
        run, dataset = opencv.run(model), open_dataset(args.data, args.split)
        detector = Detector(model.network, run, thresh=THRESH, max_detections=MAX_DETECTIONS)
        found = predict_all(detector, dataset)
        print(score(*without_unreadable(found, dataset)).table())
    except GhostyoloError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
