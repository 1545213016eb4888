"""Grids of pictures: every picture in its place, with the marks that belong to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from ghostyolo.data import Sample
from ghostyolo.drawing import class_colour
from ghostyolo.model.detections import Detections
from ghostyolo.report.grids import CAPTION, CELL, COLUMNS, GAP, batch_grid, validation_grids

STEP = CELL + GAP
NAMES = ("first class", "second class", "third class", "fourth class")
BOX = np.array(
    [0.5, 0.5, 0.5, 0.5]
)  # cxcywh, and so far from the edges that its label is beside it


def decoded(grid: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(grid, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def shows(picture: np.ndarray, cls: int) -> bool:
    """Return whether a picture has many pixels of the colour of a class."""
    return bool((np.abs(picture.astype(int) - class_colour(cls)).max(-1) < 50).sum() > 300)


def classes_in(picture: np.ndarray, classes: Sequence[int] = range(4)) -> set[int]:
    return {cls for cls in classes if shows(picture, cls)}


def cell(grid: np.ndarray, row: int, column: int, height: int = STEP) -> np.ndarray:
    top, left = GAP + row * height, GAP + column * STEP
    return grid[top : top + height, left : left + CELL]


def test_batch_shows_the_boxes_of_each_of_its_first_pictures() -> None:
    images = np.full((20, 3, 64, 64), 90, np.uint8)
    truths = np.array([[index, *BOX, index % 4] for index in range(20) if index != 5])
    grid = decoded(batch_grid(images, truths, NAMES))
    assert grid.shape == (4 * STEP + GAP, COLUMNS * STEP + GAP, 3)
    for index in range(16):
        shown = classes_in(cell(grid, *divmod(index, COLUMNS)))
        assert shown == ({index % 4} if index != 5 else set())
    half = cell(grid, 0, 0)[CELL // 2]
    edges = np.flatnonzero(np.abs(half.astype(int) - class_colour(0)).max(-1) < 90)
    assert (edges.min(), edges.max()) == pytest.approx((CELL / 4, 3 * CELL / 4), abs=2)


def test_small_boxes_are_without_labels_that_would_hide_their_neighbours() -> None:
    image = np.zeros((1, 3, CELL, CELL), np.uint8)
    small, large = ([0, 0.5, 0.5, side, side, 0] for side in (0.1, 0.5))
    for box, labelled in ((small, False), (large, True)):
        found = cell(decoded(batch_grid(image, np.array([box]), NAMES)), 0, 0)
        inner, side = found[:CELL].max(2) > 80, round(box[3] * CELL / 2) + 4
        inner[CELL // 2 - side : CELL // 2 + side, CELL // 2 - side : CELL // 2 + side] = False
        assert (inner.sum() > 300) == labelled


def test_batch_of_numbers_is_drawn_as_that_of_bytes() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 40, 80), np.uint8)
    truths = np.array([[1, *BOX, 2.0]])
    grid = batch_grid(images, truths, NAMES)
    assert batch_grid(images.astype(np.float32) / np.float32(255), truths, NAMES) == grid
    assert decoded(grid).shape == (CELL // 2 + 2 * GAP, 3 * STEP + GAP, 3)
    grey = images[:, :1]
    assert batch_grid(grey, truths, NAMES) == batch_grid(grey.repeat(3, 1), truths, NAMES)


def test_batch_of_a_classifier_shows_the_classes_of_mixed_pictures() -> None:
    images = np.full((2, 3, 32, 32), 90, np.uint8)
    truths = np.array([[0, 1.0, 3], [1, 0.6, 0], [1, 0.4, 2]])
    grid = decoded(batch_grid(images, truths, NAMES))
    assert [classes_in(cell(grid, 0, column)) for column in (0, 1)] == [{3}, {0, 2}]


def sample(path: Path, size: tuple[int, int], cls: int) -> Sample:
    h, w = size
    cv2.imwrite(str(path), np.full((h, w, 3), 90, np.uint8))
    box = np.array([[w / 4, h / 4, 3 * w / 4, 3 * h / 4]], np.float32)
    return Sample(str(path), box, np.array([cls]), np.array([False]), size, path.name)


def test_validation_shows_truth_on_the_left_and_found_on_the_right(tmp_path: Path) -> None:
    samples = [sample(tmp_path / f"{number}.png", (30, 40), number % 2) for number in range(40)]
    found = [Detections(each.boxes_xyxy_px, [0.5], each.classes + 2) for each in samples]
    Path(samples[0].path).unlink()
    grids = [decoded(grid) for grid in validation_grids(samples, found, NAMES)]
    height = CELL * 3 // 4 + CAPTION + GAP
    assert [grid.shape[:2] for grid in grids] == [(4 * height + GAP, COLUMNS * STEP + GAP)] * 2
    for grid in grids:
        for row in range(4):
            columns = [classes_in(cell(grid, row, column, height)) for column in range(COLUMNS)]
            assert [{cls + 2 for cls in shown} for shown in columns[::2]] == columns[1::2]
    shown = [
        classes_in(cell(grids[0], row, column, height)) for row in range(4) for column in (0, 2)
    ]
    assert {frozenset(classes) for classes in shown} == {frozenset({0}), frozenset({1})}


@pytest.mark.parametrize("size", [(1, 1), (4000, 30), (7, 900)])
def test_pictures_of_any_size_lie_within_their_cells(tmp_path: Path, size: tuple[int, int]) -> None:
    one = sample(tmp_path / f"{'long name ' * 9}.png", size, 0)
    (grid,) = validation_grids([one], [Detections.empty()], ["x"])
    assert decoded(grid).shape[1] == 2 * STEP + GAP
    assert decoded(grid).shape[0] <= CAPTION + CELL + 2 * GAP
    assert validation_grids([], [], []) == []
