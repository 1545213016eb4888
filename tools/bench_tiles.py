"""Score and time a detector on large pictures of small objects, with tiles and without.

python tools/bench_tiles.py RUN DATA [--side 3] [--tile 640x640]

RUN: the folder of a training run, or a cfg and its weights. The pictures of DATA's split val are
put together, `side` x `side` of them to one at full size, each in its own corner of a cell of the
size of the largest. Scores are those of `ghostyolo val`, with the same weights. Objects that are
found more than once are counted where the large picture is moved by random distances under
the tiles: a detection counts as one too many if it has an IoU of .3 with an object that another
detection of its class fits better. The time of a picture in tiles is divided by the time of the
same number of tiles, one by one and already prepared.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import cv2
import numpy as np
from bars import row, show

from ghostyolo.boxes import iou
from ghostyolo.data import Dataset, Sample, open_dataset, read_image
from ghostyolo.data.tiles import Tiles
from ghostyolo.evaluation.validation import validate
from ghostyolo.inference.choice import open_runtime
from ghostyolo.model.detections import Detections
from ghostyolo.network.model_files import model_files
from ghostyolo.network.net_options import parse_size
from ghostyolo.runtime.interface import Runtime

GREY = 128
SAME = 0.3  # IoU of a detection with its object
SCORE_BAR, COST_BAR = 0.1, 1.15


def main() -> int:
    """Print the table; return 1 if a figure is on the wrong side of its bar."""
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("model", nargs="+", metavar="RUN | CFG WEIGHTS")
    p.add_argument("data", metavar="DATA")
    p.add_argument("--side", type=int, default=3, help="pictures along a side (3)")
    p.add_argument("--tile", help="HxW in pixels (the size of a picture of DATA)")
    p.add_argument("--moves", type=int, default=100, help="of a picture under the tiles (100)")
    p.add_argument("--json", action="store_true", help="print JSON for programs")
    args = p.parse_args()
    model = model_files(*args.model)
    with tempfile.TemporaryDirectory() as folder, open_runtime(*model, threads=1) as runtime:
        small = open_dataset(args.data, "val")
        large = replace(small, samples=put_together(small, args.side, Path(folder)))
        cell = np.array(large.samples[0].size) // args.side
        tiles = Tiles(parse_size(args.tile) if args.tile else (int(cell[0]), int(cell[1])))
        rows = [*scores(runtime, small, large, tiles), *costs(runtime, large, tiles)]
        rows += doubles(runtime, small, large, tiles, args.moves)
    return show(rows, as_json=args.json)


def scores(
    runtime: Runtime, small: Dataset, large: Dataset, tiles: Tiles
) -> Iterator[dict[str, Any]]:
    """Yield AP50 of single pictures, and of large ones whole, in tiles, and in tiles alone."""
    yield row("AP50, single pictures", validate(runtime, small).scores["AP50"], "")
    whole = validate(runtime, large).scores["AP50"]
    yield row("AP50, large pictures, whole", whole, "")
    found = validate(runtime, large, tiles=tiles).scores["AP50"]
    yield row("AP50, large pictures, in tiles", found, "", whole + SCORE_BAR, at_least=True)
    alone = validate(runtime, large, tiles=replace(tiles, whole=False)).scores["AP50"]
    yield row("AP50, large pictures, in tiles alone", alone, "")


def costs(runtime: Runtime, large: Dataset, tiles: Tiles) -> Iterator[dict[str, Any]]:
    """Yield the number of tiles, and the time of a picture over that of as many inputs."""
    image, size = read_image(large.samples[0].path), runtime.network.options.size
    count = len(tiles.of(image.shape[:2], size))
    inputs = np.random.default_rng(0).random((1, *runtime.network.options.shape), np.float32)
    detector, ratios = runtime.detector(tiles=tiles), []
    for _ in range(9):
        start = time.process_time()
        for _ in range(count):
            runtime.run(inputs)
        middle = time.process_time()
        detector([image])
        ratios.append((time.process_time() - middle) / (middle - start))
    yield row("tiles of a picture, with the whole one", count, "")
    yield row("time over that of the network", statistics.median(ratios), "x", COST_BAR)


def doubles(
    runtime: Runtime, small: Dataset, large: Dataset, tiles: Tiles, count: int
) -> Iterator[dict[str, Any]]:
    """Yield the detections too many for an object, in single pictures and in tiles anywhere."""
    plain, tiled, rng = runtime.detector(), runtime.detector(tiles=tiles), np.random.default_rng(0)
    some = list(small.samples)
    found = [surplus(plain([read_image(each.path)])[0], each.boxes_xyxy_px, each) for each in some]
    yield row("detections too many for an object, single pictures", ratio(found), "")
    found = []
    for number in range(count):
        sample = large.samples[number % len(large.samples)]
        image = read_image(sample.path)
        top, left = rng.integers(0, np.array(image.shape[:2]) // 3)
        (each,) = tiled([image[top:, left:]])
        boxes = sample.boxes_xyxy_px - np.tile((left, top), 2).astype(np.float32)
        found.append(surplus(each, boxes, sample))
    yield row("objects looked at", sum(objects for _, objects in found), "")
    yield row("detections too many for an object, moved tiles", ratio(found), "")


def surplus(found: Detections, boxes: np.ndarray, sample: Sample) -> tuple[int, int]:
    """Return the detections too many, and the number of objects that are whole in the picture."""
    inside = (boxes[:, :2] >= 0).all(1)
    overlaps = iou(found.boxes, boxes) * (found.classes[:, None] == sample.classes[None])
    if not overlaps.size:
        return 0, int(inside.sum())
    best = overlaps.argmax(1)[overlaps.max(1) > SAME]
    counts = np.bincount(best[inside[best]], minlength=len(boxes))
    return int((counts - 1).clip(min=0).sum()), int(inside.sum())


def ratio(found: Sequence[tuple[int, int]]) -> float:
    """Return the detections too many over the objects."""
    many, objects = np.sum(found, 0)
    return float(many / max(objects, 1))


def put_together(dataset: Dataset, side: int, folder: Path) -> list[Sample]:
    """Write pictures of side x side pictures; return them with their objects."""
    cell = dataset.columns.sizes.max(0)
    samples, large = dataset.samples, []
    for number in range(len(samples) // side**2):
        canvas = np.full((*(cell * side), 3), GREY, np.uint8)
        own = [samples[number * side**2 + place] for place in range(side**2)]
        corners = [cell * divmod(place, side) for place in range(side**2)]
        boxes = []
        for sample, (top, left) in zip(own, corners, strict=True):
            h, w = sample.size
            canvas[top : top + h, left : left + w] = read_image(sample.path)
            boxes.append(sample.boxes_xyxy_px + np.tile((left, top), 2).astype(np.float32))
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), cv2.cvtColor(canvas, cv2.COLOR_RGB2BGR))
        joined = {
            key: np.concatenate([getattr(sample, key) for sample in own])
            for key in ("classes", "ignore")
        }
        large.append(
            replace(
                own[0],
                path=str(path),
                size=canvas.shape[:2],
                boxes_xyxy_px=np.concatenate(boxes),
                **joined,
            )
        )
    return large


if __name__ == "__main__":
    raise SystemExit(main())
