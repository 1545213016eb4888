"""Data sets of tiles: each sample is a part of a picture, with the boxes that it shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ghostyolo.data.columns import Columns, id_of_text, joined, split, text_of_id
from ghostyolo.data.dataset import Dataset, Samples
from ghostyolo.data.header import Size
from ghostyolo.data.tiles import Tiles

# A box belongs to a tile that shows at least this fraction of its area, cut to the tile.
VISIBLE = 0.25
EMPTY = 0.25  # tiles without boxes to train on, over those with boxes


def tiled(dataset: Dataset, tiles: Tiles, size: Size) -> Dataset:
    """Return a data set of the tiles of all pictures.

    size: (h, w) of the network's input. The tiles of a picture follow each other, as `Tiles.of`
    returns them, and have the picture's id and their place as theirs.
    """
    columns = dataset.columns
    parts = [tiles.of((h, w), size) for h, w in columns.sizes.tolist()]
    windows = np.concatenate(parts)
    owners = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    shown = list(_shown(columns, windows, owners))
    result = columns.take(owners)._replace(
        sizes=windows[:, [3, 2]] - windows[:, [1, 0]],
        ends=np.cumsum([0, *(len(boxes) for boxes, _ in shown)]),
        boxes_xyxy_px=np.concatenate([boxes for boxes, _ in shown]).astype(np.float32),
        classes=columns.classes[(rows := np.concatenate([rows for _, rows in shown]))],
        ignore=columns.ignore[rows],
    )
    result = _named(result, windows)
    return replace(dataset, samples=Samples(result, windows=windows))


def _shown(
    columns: Columns, windows: np.ndarray, owners: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield for each tile its boxes, in its pixels, and their rows in the columns."""
    for window, owner in zip(windows, owners.tolist(), strict=True):
        rows = np.arange(columns.ends[owner], columns.ends[owner + 1])
        boxes = columns.boxes_xyxy_px[rows]
        low, high = window[:2].astype(np.float32), window[2:].astype(np.float32)
        cut = np.column_stack((boxes[:, :2].clip(low, high), boxes[:, 2:].clip(low, high)))
        areas = [(each[:, 2:] - each[:, :2]).prod(1) for each in (cut, boxes)]
        kept = (areas[0] > 0) & (areas[0] >= VISIBLE * areas[1])
        yield cut[kept] - np.tile(low, 2), rows[kept]


def _named(columns: Columns, windows: np.ndarray) -> Columns:
    """Return the columns with ids that tell the place of a tile: "12, 0 640 416 1056"."""
    old = (id_of_text(each.decode()) for each in split(columns.ids, columns.id_ends))
    pairs = zip(old, windows.tolist(), strict=True)
    new = (f"{each}, {' '.join(map(str, window))}" for each, window in pairs)
    ids, id_ends = joined([text_of_id(each).encode() for each in new])
    return columns._replace(ids=ids, id_ends=id_ends)


def to_train(dataset: Dataset, seed: int = 0) -> Dataset:
    """Return a data set of tiles with only a part of those that show no box, see `EMPTY`."""
    shows = dataset.columns.trained > 0
    empty = np.flatnonzero(~shows)
    count = min(len(empty), round(EMPTY * shows.sum()))
    some = np.random.default_rng(seed).choice(empty, count, replace=False)
    return dataset.only(np.sort(np.concatenate((np.flatnonzero(shows), some))))
