"""Build data sets of the size of COCO 2017 and PASCAL VOC 07+12, to measure what size costs.

python tools/coco_size.py OUT [--pictures FOLDER] [--scale 0.01]

Makes OUT/coco, OUT/txt with as many text files as YOLO programs read, and OUT/voc, about 1.3 GB on
disk: the pictures are hard links to a few files, the labels random numbers in the form and in the
numbers of the real ones. Counts: cocodataset.org (instances
of 2017), host.robots.ox.ac.uk/pascal/VOC (trainval and test of 2007, trainval of 2012).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

SPLITS = {"train2017": (118_287, 860_001), "val2017": (5_000, 36_781)}  # pictures, boxes
MISSING_IDS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}  # of COCO's categories 1 to 90
YEARS = {"VOC2007": {"trainval": 5_011, "test": 4_952}, "VOC2012": {"trainval": 11_540}}
VOC_NAMES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip
PAINTED = 24  # pictures of our own; a file may have 65,000 links on ext4
SIZES = ((480, 640), (427, 640), (640, 480), (640, 427), (500, 375), (333, 500))  # (h, w)
POLYGONS, POINTS = 4096, 31  # texts that are drawn from, and the mean points of one: 508 MB in all
CROWDS = 0.012  # of the boxes


class Picture(NamedTuple):
    """A picture to link to."""

    path: Path
    h: int
    w: int


def main() -> int:
    """Build the data sets."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="new or empty folder")
    parser.add_argument("--pictures", type=Path, help="folder of JPEGs to link to (painted ones)")
    parser.add_argument("--scale", type=float, default=1.0, help="part of the numbers (1)")
    args = parser.parse_args()
    if args.out.exists() and any(args.out.iterdir()):
        parser.error(f"{args.out} has files; give a new folder")
    if not 0 < args.scale <= 1:
        parser.error(f"--scale {args.scale} is not above 0 and up to 1")
    paths = sorted(args.pictures.rglob("*.jp*g")) if args.pictures else _paint(args.out / "painted")
    pictures = [Picture(path, *image.shape[:2]) for path in paths
                if (image := cv2.imread(str(path))) is not None]  # fmt: skip
    if not pictures:
        parser.error(f"{args.pictures} has no JPEG")
    rng = np.random.default_rng(0)
    for split, counts in SPLITS.items():
        num, boxes = (max(1, round(count * args.scale)) for count in counts)
        write_coco(args.out / "coco", split, num, boxes, pictures, rng)
        write_txt(args.out / "txt", split, num, boxes, pictures, rng)
    for year, splits in YEARS.items():
        numbers = {split: max(1, round(num * args.scale)) for split, num in splits.items()}
        write_voc(args.out / "voc" / "VOCdevkit" / year, numbers, pictures, rng)
    return 0


def _paint(folder: Path) -> list[Path]:
    """Write pictures of shapes under noise, of the length of COCO's files."""
    folder.mkdir(parents=True)
    rng, paths = np.random.default_rng(1), []
    for number in range(PAINTED):
        h, w = SIZES[number % len(SIZES)]
        coarse = rng.integers(0, 256, (9, 12, 3), np.uint8)
        image = cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC).astype(np.float32)
        image += rng.normal(0, rng.uniform(8, 16), image.shape)
        paths.append(folder / f"{number:02}.jpg")
        image = image.clip(0, 255).astype(np.uint8)
        cv2.imwrite(str(paths[-1]), image, [cv2.IMWRITE_JPEG_QUALITY, 93])
    return paths


def link(source: Path, target: Path) -> None:
    """Link to a picture, or copy it where that is impossible."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def watched(what: str, num: int) -> Iterator[int]:
    """Yield 0 ... num - 1, and print how far it is."""
    for number in range(num):
        if number % 10_000 == 0:
            print(f"\r{what}: {number}/{num}", end="", file=sys.stderr, flush=True)
        yield number
    print(f"\r{what}: {num}/{num}", file=sys.stderr, flush=True)


def write_coco(
    root: Path, split: str, num: int, boxes: int, pictures: list[Picture], rng: np.random.Generator
) -> None:
    """Write the pictures and the annotations of a split."""
    (root / split).mkdir(parents=True)
    (root / "annotations").mkdir(exist_ok=True)
    ids = np.sort(rng.choice(np.arange(1, 581_930), num, replace=False)).tolist()
    images = []
    for number in watched(f"{split} pictures", num):
        source = pictures[number % len(pictures)]
        name = f"{ids[number]:012}.jpg"
        link(source.path, root / split / name)
        images.append(
            f'{{"license":{number % 8 + 1},"file_name":"{name}",'
            f'"coco_url":"http://images.cocodataset.org/{split}/{name}",'
            f'"height":{source.h},"width":{source.w},"date_captured":"2013-11-14 17:02:52",'
            f'"flickr_url":"http://farm{number % 9 + 1}.staticflickr.com/{5000 + number % 4000}/'
            f'{9_000_000_000 + 7919 * number}_{number:010x}_z.jpg","id":{ids[number]}}}'
        )
    categories = [
        {"supercategory": f"kind {i // 10}", "id": i, "name": f"thing {i}"}
        for i in range(1, 91)
        if i not in MISSING_IDS
    ]
    info = {"description": f"random labels in the numbers of COCO's {split}", "version": "1.0"}
    with open(root / "annotations" / f"instances_{split}.json", "w") as file:
        file.write(f'{{"info":{json.dumps(info)},"licenses":[],"images":[{",".join(images)}]')
        file.write(',"annotations":[')
        owners = _owners(num, boxes, rng)
        for number, text in zip(
            watched(f"{split} boxes", boxes),
            _annotations(owners, ids, pictures, [each["id"] for each in categories], rng),
            strict=True,
        ):
            file.write(f",{text}" if number else text)
        file.write(f'],"categories":{json.dumps(categories, separators=(",", ":"))}}}')


def _owners(num: int, boxes: int, rng: np.random.Generator) -> list[int]:
    """Return the picture of each box, in no order; few pictures have many, some have none."""
    weights = rng.gamma(1.1, size=num)
    return rng.choice(num, boxes, p=weights / weights.sum()).tolist()


def _annotations(
    owners: list[int], ids: list[int], pictures: list[Picture], classes: list[int],
    rng: np.random.Generator,
) -> Iterator[str]:  # fmt: skip
    """Yield the records of boxes as the real file has them."""
    lengths = np.maximum(3, rng.gamma(2.0, POINTS / 2.0, POLYGONS).astype(int))
    polygons = [
        ",".join(f"{value:.2f}" for value in rng.uniform(0, 640, 2 * length)) for length in lengths
    ]
    numbers = rng.random((len(owners), 4)).tolist()
    drawn = rng.integers(0, POLYGONS, len(owners)).tolist()
    kinds = rng.choice(classes, len(owners)).tolist()
    crowds = (rng.random(len(owners)) < CROWDS).tolist()
    for number, owner in enumerate(owners):
        source, (a, b, c, d) = pictures[owner % len(pictures)], numbers[number]
        w, h = max(2.0, source.w * c * c), max(2.0, source.h * d * d)
        x, y, crowd = a * (source.w - w - 0.02), b * (source.h - h - 0.02), crowds[number]
        shape = f"[[{polygons[drawn[number]]}]]"
        if crowd:
            shape = f'{{"counts":[272,2,4,4,4,4,2,9,1,2],"size":[{source.h},{source.w}]}}'
        yield (
            f'{{"segmentation":{shape},"area":{w * h / 2:.4f},"iscrowd":{int(crowd)},'
            f'"image_id":{ids[owner]},"bbox":[{max(x, 0):.2f},{max(y, 0):.2f},{w:.2f},{h:.2f}],'
            f'"category_id":{kinds[number]},"id":{900_100_000_000 + number}}}'
        )


def write_txt(
    root: Path, split: str, num: int, boxes: int, pictures: list[Picture], rng: np.random.Generator
) -> None:
    """Write the pictures of a split, a text file for each that has boxes, and the description."""
    for name in ("images", "labels"):
        (root / name / split).mkdir(parents=True)
    rows = [list[str]() for _ in range(num)]
    for owner, cls in zip(_owners(num, boxes, rng), rng.integers(0, 80, boxes), strict=True):
        w, h = rng.random(2) ** 2 * 0.98 + 0.01
        x, y = rng.uniform(w / 2, 1 - w / 2), rng.uniform(h / 2, 1 - h / 2)
        rows[owner].append(f"{cls} {x:.6f} {y:.6f} {w:.6f} {h:.6f}\n")
    for number in watched(f"{split} text files", num):
        link(pictures[number % len(pictures)].path, root / "images" / split / f"{number:012}.jpg")
        if rows[number]:
            (root / "labels" / split / f"{number:012}.txt").write_text("".join(rows[number]))
    names = ", ".join(f"thing {number}" for number in range(80))
    places = "".join(f"{place.removesuffix('2017')}: images/{place}\n" for place in SPLITS)
    (root / "data.yaml").write_text(f"{places}names: [{names}]\n")


def write_voc(
    root: Path, splits: dict[str, int], pictures: list[Picture], rng: np.random.Generator
) -> None:
    """Write one year of VOC."""
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / name).mkdir(parents=True)
    first = 0
    for split, num in splits.items():
        names = []
        for number in watched(f"{root.name} {split}", num):
            source = pictures[number % len(pictures)]
            year, place = root.name.removeprefix("VOC"), first + number + 1
            names.append(f"{place:06}" if year == "2007" else f"{year}_{place:06}")
            link(source.path, root / "JPEGImages" / f"{names[-1]}.jpg")
            text = _xml(f"{names[-1]}.jpg", f"VOC{year}", source, 1 + int(rng.geometric(0.6)), rng)
            (root / "Annotations" / f"{names[-1]}.xml").write_text(text)
        first += num
        (root / "ImageSets/Main" / f"{split}.txt").write_text("".join(f"{n}\n" for n in names))


def _xml(name: str, database: str, source: Picture, num: int, rng: np.random.Generator) -> str:
    lines = [
        f"<annotation>\n\t<folder>{database}</folder>\n\t<filename>{name}</filename>",
        f"\t<source>\n\t\t<database>The {database} Database</database>\n"
        f"\t\t<annotation>PASCAL {database}</annotation>\n\t\t<image>flickr</image>\n\t</source>",
        f"\t<size>\n\t\t<width>{source.w}</width>\n\t\t<height>{source.h}</height>\n"
        "\t\t<depth>3</depth>\n\t</size>\n\t<segmented>0</segmented>",
    ]
    for _ in range(num):
        x1, y1 = int(rng.integers(1, source.w - 20)), int(rng.integers(1, source.h - 20))
        x2, y2 = int(rng.integers(x1 + 10, source.w)), int(rng.integers(y1 + 10, source.h))
        lines.append(
            f"\t<object>\n\t\t<name>{VOC_NAMES[int(rng.integers(20))]}</name>\n"
            f"\t\t<pose>Unspecified</pose>\n\t\t<truncated>0</truncated>\n"
            f"\t\t<difficult>{int(rng.random() < 0.1)}</difficult>\n\t\t<bndbox>\n"
            f"\t\t\t<xmin>{x1}</xmin>\n\t\t\t<ymin>{y1}</ymin>\n"
            f"\t\t\t<xmax>{x2}</xmax>\n\t\t\t<ymax>{y2}</ymax>\n\t\t</bndbox>\n\t</object>"
        )
    return "\n".join([*lines, "</annotation>\n"])


if __name__ == "__main__":
    raise SystemExit(main())
