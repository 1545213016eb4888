"""Which tiles a data set of small objects needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ghostyolo.data import Dataset, Sample
from ghostyolo.data.summary import summarise
from ghostyolo.data.tile_advice import SHOWN, tile_advice
from support import tiny

PICTURE = (1500, 2000)


def dataset(sides: list[float], picture: tuple[int, int] = PICTURE) -> Dataset:
    """Return a data set of one picture with square boxes of these sides in pixels."""
    boxes = np.array([(10, 10, 10 + side, 10 + side) for side in sides], np.float32).reshape(-1, 4)
    classes, ignore = np.zeros(len(sides), np.int64), np.zeros(len(sides), bool)
    return Dataset(("thing",), [Sample("a.jpg", boxes, classes, ignore, picture, 1)], "train", "x")


def test_tiles_show_small_boxes_larger() -> None:
    """Boxes of 30 pixels have 7 in the input; at --tile 608 they have 20."""
    advice = tile_advice(dataset([30, 30, 30, 400]))
    assert advice is not None and advice.share == 0.75
    assert advice.side == 608 and advice.shown == 30 * 416 / 608 >= SHOWN
    assert str(advice) == (
        "75% of the boxes have sides under 8 pixels at 416x416; --tile 608x608 shows half of these "
        "with 21 or more"
    )


def test_no_tiles_where_boxes_are_large_or_few_are_small() -> None:
    assert tile_advice(dataset([40, 60])) is None
    assert tile_advice(dataset([30, 400, 400, 400, 400])) is None
    assert tile_advice(dataset([])) is None


def test_no_tiles_of_almost_the_whole_picture() -> None:
    assert tile_advice(dataset([4], (300, 300))) is None


def test_the_summary_has_the_advice(tmp_path: Path) -> None:
    found = summarise(tiny.pictures(tmp_path, (96, 128)))
    assert found.tiles is None and found.as_dict()["tiles"] is None
