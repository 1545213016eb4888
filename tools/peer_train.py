"""Train a network of ultralytics from scratch on a data set, and score it as `ghostyolo val` does.

python tools/peer_train.py DATA yolov8n-ghost --peer PEER/bin/python --out FOLDER [--epochs 100]

PEER/bin/python: of an environment of its own in which ultralytics is installed. The peer trains
with its own defaults, but for batches of 4 pictures with an update after each: by default it
collects the gradients of 64, and learns less from a few hundred. The weights that it finds best on
val detect on val, and on test if DATA has it. The same command goes on with a training that was
stopped. FOLDER/results.csv has the scores on val, test.csv those on test.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from bench_train import yolo_layout

from ghostyolo.data import Dataset, layouts, open_dataset
from ghostyolo.evaluation.validation import MAX_DETECTIONS, THRESH, score
from ghostyolo.model.detections import Detections

TRAIN = """
import sys
import torch
from pathlib import Path
from ultralytics import YOLO
model, out, epochs, size, batch, seed = *sys.argv[1:3], *map(int, sys.argv[3:])
torch.set_num_threads(1)
last, trained = Path(out, "train/weights/last.pt"), Path(out, "trained")
if trained.exists():
    sys.exit()
if last.exists():
    YOLO(last).train(resume=True)
else:
    YOLO(model + ".yaml").train(
        data=out + "/data.yaml", epochs=epochs, imgsz=size, batch=batch, nbs=batch, seed=seed,
        device="cpu", workers=0, pretrained=False, plots=False, project=out, name="train",
        exist_ok=True)
trained.touch()
"""
DETECT = """
import json, sys
import torch
from pathlib import Path
from ultralytics import YOLO
out, split, size, thresh, most = sys.argv[1:]
torch.set_num_threads(1)
model, found = YOLO(out + "/train/weights/best.pt"), {}
for picture in sorted(Path(out, split, "images").iterdir()):
    boxes = model.predict(picture, imgsz=int(size), conf=float(thresh), max_det=int(most),
                          device="cpu", verbose=False)[0].boxes
    found[picture.name] = [boxes.xyxy.tolist(), boxes.conf.tolist(), boxes.cls.tolist()]
Path(out, split + ".json").write_text(json.dumps(found))
"""


def main() -> None:
    """Train, or go on training, then write and print the scores."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", help="data set, as for `ghostyolo train`")
    parser.add_argument("model", help="yolov8n-ghost, yolo11n ...")
    parser.add_argument("--peer", required=True, help="Python in which ultralytics is installed")
    parser.add_argument("--out", type=Path, required=True, help="folder of this training")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--size", type=int, default=320, help="side of the input in pixels (320)")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    out = args.out.resolve()
    splits = [name for name in ("train", "val", "test") if name in layouts.splits(args.data)]
    sets = {split: open_dataset(args.data, split) for split in splits}
    yolo_layout(sets, out)
    numbers = map(str, (args.epochs, args.size, args.batch, args.seed))
    _run(args.peer, TRAIN, args.model, str(out), *numbers)
    for split, name in (("val", "results.csv"), ("test", "test.csv")):
        if split in sets:
            settings = map(str, (args.size, THRESH, MAX_DETECTIONS))
            _run(args.peer, DETECT, str(out), split, *settings)
            metrics = score(_read_detections(out / f"{split}.json", sets[split]), sets[split])
            with open(out / name, "w", newline="") as file:
                writer = csv.DictWriter(file, ["epoch", *metrics.row()])
                writer.writeheader()
                writer.writerow({"epoch": "", **metrics.row()})
            print(f"{args.model}, {split}:\n{metrics.table()}")


def _run(python: str, program: str, *words: str) -> None:
    one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    subprocess.run([python, "-c", program, *words], check=True, env={**os.environ, **one})


def _read_detections(path: Path, dataset: Dataset) -> list[Detections]:
    found = json.loads(path.read_text())
    return [
        Detections(np.reshape(boxes, (-1, 4)), scores, classes)
        for boxes, scores, classes in (found[Path(s.path).name] for s in dataset.samples)
    ]


if __name__ == "__main__":
    main()
