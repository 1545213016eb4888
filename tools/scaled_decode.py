"""Compare training pictures of large photographs decoded at a part of their size and whole.

python tools/scaled_decode.py FOLDER

The JPEGs of FOLDER, at most 8, are enlarged to 4000x3000 with noise of 4 levels, as of a sensor,
and saved with quality 90. Their training pictures at --size are made in both ways, plain and as
mosaics with jitter 0.2, resize 1.5, flip and colours. Printed are the mean absolute difference in
levels, of 255, and the CPU time of a picture, in this process of one thread, in turns. A mosaic
takes its other pictures from recent batches, which are cached.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bars import row, show

from ghostyolo.augment.batches import Batches
from ghostyolo.augment.detection import NONE, Augmentation
from ghostyolo.augment.reduction import factors
from ghostyolo.data import Dataset, Sample
from ghostyolo.training import allocator

SIDES, NOISE, QUALITY, MOST = (4000, 3000), 4, 90, 8
BATCH, RECENT, STEPS = 4, 4, 6
MOSAIC = Augmentation(
    jitter=0.2,
    resize=1.5,
    flip=True,
    hue=0.1,
    saturation=1.5,
    exposure=1.5,
    mosaic=1.0,
    min_visible=0.25,
)


def main() -> int:
    """Print the table."""
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("pictures", metavar="FOLDER", type=Path)
    p.add_argument("--size", type=int, default=416, help="of the input, in pixels (416)")
    p.add_argument("--json", action="store_true", help="print JSON for programs")
    args = p.parse_args()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    allocator.keep_freed()
    with tempfile.TemporaryDirectory() as folder:
        dataset = enlarged(args.pictures, Path(folder))
        rows = [
            *compared(dataset, args.size, "plain", NONE),
            *compared(dataset, args.size, "mosaic", MOSAIC),
        ]
    return show(rows, as_json=args.json)


def enlarged(pictures: Path, folder: Path) -> Dataset:
    """Write the photographs."""
    rng, samples = np.random.default_rng(0), []
    for path in sorted(pictures.rglob("*.jp*g"))[:MOST]:
        large = cv2.resize(cv2.imread(str(path)), SIDES, interpolation=cv2.INTER_CUBIC)
        noisy = (large + rng.normal(0, NOISE, large.shape)).clip(0, 255).astype(np.uint8)
        target = str(folder / f"{len(samples)}.jpg")
        cv2.imwrite(target, noisy, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        none = np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool)
        samples.append(Sample(target, *none, SIDES[::-1], len(samples)))
    return Dataset(("none",), tuple(samples), "train", str(pictures))


def compared(
    dataset: Dataset, size: int, kind: str, settings: Augmentation
) -> Iterator[dict[str, Any]]:
    """Yield the rows of one kind of training pictures."""
    found = factors(dataset.columns.sizes, [settings], (size, size))
    both = [
        Batches(dataset, settings, BATCH, (size, size), cache_bytes=0, recent=RECENT, levels=True,
                factors=each)
        for each in (found, None)
    ]  # fmt: skip
    times: list[list[float]] = [[], []]
    differences = []
    for number in range(RECENT + STEPS):
        images = []
        for made, spent in zip(both, times, strict=True):
            begin = time.process_time()
            images.append(made.batch_at(number)[0].float())
            spent.append(time.process_time() - begin)
        differences.append((images[0] - images[1]).abs().mean().item())
    yield row(f"{kind}: sides divided by", float(found[0]), "")
    yield row(f"{kind}: mean difference", statistics.mean(differences), "levels")
    for name, spent in zip(("divided", "whole"), times, strict=True):
        yield row(f"{kind}: {name}", statistics.median(spent[RECENT:]) / BATCH * 1e3, "ms")


if __name__ == "__main__":
    raise SystemExit(main())
