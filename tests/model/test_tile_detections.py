"""Tiles of large pictures, and how their detections are joined."""

from __future__ import annotations

import numpy as np
import pytest

from ghostyolo.boxes import iou
from ghostyolo.data.tiles import Tiles
from ghostyolo.errors import OptionError
from ghostyolo.model.detections import Detections
from ghostyolo.model.tile_detections import join

INPUT = (100, 120)
PICTURE = (430, 610)


def seen(
    tiles: np.ndarray, boxes: np.ndarray, classes: np.ndarray, noise: float, seed: int
) -> list:
    """Return what a detector finds in each tile: the visible parts of boxes, if they are enough.

    A part is found from a quarter of the object on, with edges that are off by up to `noise` of its
    sides. In the whole picture objects are found from 20 pixels on.
    """
    rng = np.random.default_rng(seed)
    found = []
    for tile in tiles:
        corner = np.tile(tile[:2], 2)
        size = tile[2:] - tile[:2]
        parts = np.clip(boxes - corner, 0, np.tile(size, 2))
        sides, whole = parts[:, 2:] - parts[:, :2], boxes[:, 2:] - boxes[:, :2]
        enough = sides.prod(1) >= 0.25 * whole.prod(1)
        if (size == PICTURE[::-1]).all():
            enough &= whole.min(1) >= 20
        off = rng.uniform(-noise, noise, parts.shape) * np.tile(sides, 2)
        parts = np.clip(parts + off, 0, np.tile(size, 2))[enough]
        found.append(Detections(parts, rng.uniform(0.3, 1, len(parts)), classes[enough]))
    return found


def test_tiles_cover_the_picture_evenly() -> None:
    tiles = Tiles(overlap=0.25).of(PICTURE, INPUT)
    *parts, whole = tiles.tolist()
    assert whole == [0, 0, 610, 430]
    covered = np.zeros(PICTURE, int)
    for left, top, right, bottom in parts:
        assert (bottom - top, right - left) == INPUT
        covered[top:bottom, left:right] += 1
    assert covered.min() == 1
    for axis, side in ((0, 120), (1, 100)):
        starts = np.unique([part[axis] for part in parts])
        steps = np.diff(starts)
        assert steps.max() <= 0.75 * side and steps.max() - steps.min() <= 1


@pytest.mark.parametrize("size, count", [((430, 610), 1), ((500, 700), 1), ((430, 305), 4)])
def test_number_of_tiles(size: tuple[int, int], count: int) -> None:
    tiles = Tiles(size).of(PICTURE, INPUT)
    assert len(tiles) == count
    assert (tiles[-1] == [0, 0, 610, 430]).all()
    assert len(Tiles(size, whole=False).of(PICTURE, INPUT)) == max(1, count - 1)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("noise", [0, 0.05])
def test_an_object_anywhere_is_found_once(whole: bool, noise: float) -> None:
    """Objects from 4 pixels up to the overlap, anywhere; those of another class stay."""
    tiles = Tiles(overlap=0.3, whole=whole)
    windows, rng = tiles.of(PICTURE, INPUT), np.random.default_rng(0)
    for seed in range(250):
        sides = rng.uniform(4, 30, 2)
        left, top = rng.uniform(0, 1, 2) * (np.array(PICTURE[::-1]) - sides)
        box = np.array([[left, top, left + sides[0], top + sides[1]]])
        boxes, classes = np.repeat(box, 2, 0), np.array([0, 1])
        found = join(seen(windows, boxes, classes, noise, seed), windows, 0.45)
        assert sorted(found.classes.tolist()) == [0, 1]
        assert iou(found.boxes, box).min() > (0.75 if noise else 0.999)
        assert (np.diff(found.scores) <= 0).all()


@pytest.mark.parametrize("whole", [True, False])
def test_an_object_larger_than_a_tile_is_one(whole: bool) -> None:
    """Its parts are joined; with the whole picture its own box stands."""
    tiles = Tiles(overlap=0.3, whole=whole)
    windows = tiles.of(PICTURE, INPUT)
    box, rng = np.array([[130.0, 90, 380, 130]]), np.random.default_rng(0)
    for seed in range(100):
        moved = box + np.tile(rng.uniform(-90, 200, 2), 2)
        found = seen(windows, moved, np.array([2]), 0.0, seed)
        parts = [each for each in found if len(each)]
        if not whole and len(parts) < 2:
            continue
        joined = join(found, windows, 0.45)
        assert len(joined) == 1
        if whole:
            assert iou(joined.boxes, moved) > 0.999


def test_neighbours_of_a_class_stay_apart() -> None:
    """Two objects side by side, one of them across a seam, are two."""
    tiles = Tiles((100, 100), overlap=0.2, whole=False)
    windows = tiles.of((100, 180), INPUT)
    boxes = np.array([[60.0, 40, 84, 60], [85, 40, 120, 60]])
    found = join(seen(windows, boxes, np.zeros(2, int), 0, 0), windows, 0.45)
    assert sorted(found.boxes.tolist()) == boxes.tolist()


def test_nothing_is_found_in_nothing() -> None:
    tiles = Tiles()
    windows = tiles.of(PICTURE, INPUT)
    assert not len(join([Detections.empty()] * len(windows), windows, 0.45))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"size": (0, 8)}, "tiles of 0x8; give pixels, HxW"),
        ({"overlap": 0.95}, "overlap=0.95; give a fraction of a tile's sides, from 0 to 0.9"),
    ],
)
def test_numbers_out_of_range(options: dict, message: str) -> None:
    with pytest.raises(OptionError) as error:
        Tiles(**options)
    assert str(error.value) == message


def test_too_many_tiles_are_refused_before_they_are_made() -> None:
    with pytest.raises(OptionError, match="tiles of 1x1 in a picture; give larger tiles"):
        Tiles((1, 1)).of((4000, 3000), INPUT)
