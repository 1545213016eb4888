"""Cut the boxes of a detection data set out, one folder for each class: DATA -> OUT/SPLIT/CLASS/.

python tools/crops.py DATA OUT, such as a VOC folder; then ghostyolo train CLASSIFIER.cfg OUT
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ghostyolo.data import Dataset, Sample, open_dataset, read_image
from ghostyolo.data.layouts import splits
from ghostyolo.errors import GhostyoloError

SPLITS = ("train", "val", "test")  # and none that overlaps these


def main() -> int:
    """Cut out every split and say how many there are of each class."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", metavar="DATA", help="detection data set, as ghostyolo train reads")
    parser.add_argument("out", metavar="OUT", type=Path, help="folder to be made")
    parser.add_argument("--margin", type=float, default=0.1, help="of a side, around a box (0.1)")
    parser.add_argument("--least", type=int, default=8, help="shortest side in pixels (8)")
    args = parser.parse_args()
    if args.out.exists():
        parser.error(f"{args.out} exists")
    try:
        for split in filter(SPLITS.__contains__, splits(args.data)):
            data = open_dataset(args.data, split)
            counts = write(data, args.out / split, args.margin, args.least)
            print(f"{args.out / split}: {counts_by_class(data.names, counts)}")
    except GhostyoloError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def write(data: Dataset, folder: Path, margin: float, least: int) -> np.ndarray:
    """Write the boxes of a split, without those to be ignored; return how many of each class."""
    counts = np.zeros(len(data.names), int)
    for name in data.names:
        (folder / folder_name(name)).mkdir(parents=True, exist_ok=True)
    for number, sample in enumerate(data.samples):
        image = read_image(sample.path)
        for box in np.flatnonzero(~sample.ignore):
            part = cut(image, sample, int(box), margin)
            if min(part.shape[:2]) < least:
                continue
            cls = int(sample.classes[box])
            path = folder / folder_name(data.names[cls]) / f"{number:05}-{box:03}.png"
            cv2.imwrite(str(path), part[..., ::-1])
            counts[cls] += 1
    return counts


def cut(image: np.ndarray, sample: Sample, box: int, margin: float) -> np.ndarray:
    """Return a box of a picture with a margin, as far as the picture reaches."""
    x1, y1, x2, y2 = sample.boxes_xyxy_px[box]
    across, down = margin * (x2 - x1), margin * (y2 - y1)
    left, top = max(0, round(x1 - across)), max(0, round(y1 - down))
    return image[top : round(y2 + down), left : round(x2 + across)]


def folder_name(name: str) -> str:
    """Return the name of a class without what a folder may not be called."""
    return re.sub(r'[\\/:*?"<>|]', "-", name)


def counts_by_class(names: tuple[str, ...], counts: np.ndarray) -> str:
    """Return the number of boxes of each class, as text."""
    pairs = zip(names, counts.tolist(), strict=True)
    return ", ".join(f"{count} {name}" for name, count in pairs)


if __name__ == "__main__":
    raise SystemExit(main())
