"""Whether the objects of a data set are too small for the input, and which tiles show them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ghostyolo.data.anchors import SIZE
from ghostyolo.data.dataset import Dataset

# A box of 8 pixels is a cell of the finest head. Twice that is what the smallest third of the boxes
# of a set that trains well has: BCCD's platelets have 20 at 320x320.
SMALL, SHOWN = 8, 20
SHARE = 0.25  # of small boxes, from which on tiles are advised
STEP, LEAST = 32, SIZE // 2  # of a tile's side in pixels; below it, pixels are only enlarged
FEWEST = 1.5  # the side of a picture over that of a tile


@dataclass(frozen=True)
class TileAdvice:
    """Tiles for a data set. share: of boxes below `SMALL` pixels in an input of `SIZE`. side: of
    the tiles, in pixels of the picture. shown: the median side of these boxes in the input then.
    """

    share: float
    side: int
    shown: float

    def __str__(self) -> str:
        return (
            f"{self.share:.0%} of the boxes have sides under {SMALL} pixels at {SIZE}x{SIZE}; "
            f"--tile {self.side}x{self.side} shows half of these with {self.shown:.0f} or more"
        )


def tile_advice(dataset: Dataset) -> TileAdvice | None:
    """Return the tiles to train and detect with; None if whole pictures show enough.

    A side is the square root of a box's area, at the scale at which its picture is stretched to
    the input.
    """
    columns = dataset.columns
    boxes = columns.boxes_xyxy_px[~columns.ignore].astype(float)
    sizes = columns.sizes[columns.owners[~columns.ignore]]
    sides = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(1))
    small = sides * SIZE / np.sqrt(sizes.prod(1)) < SMALL
    if not len(small) or small.mean() < SHARE:
        return None
    median = float(np.median(sides[small]))
    side = max(LEAST, math.floor(median * SIZE / SHOWN / STEP) * STEP)
    if side * FEWEST > np.median(sizes[small].min(1)):
        return None
    return TileAdvice(float(small.mean()), side, median * SIZE / side)
