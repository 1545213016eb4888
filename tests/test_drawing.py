"""Drawn detections: where boxes and labels lie, and that nothing makes it fall over."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from ghostyolo.drawing import class_colour, draw
from ghostyolo.model.detections import Detections

GREY = 90


def picture(h: int, w: int) -> np.ndarray:
    return np.full((h, w, 3), GREY, np.uint8)


def found(*boxes: tuple[float, ...], classes: int = 0) -> Detections:
    scores = np.linspace(0.9, 0.2, len(boxes))
    return Detections(np.array(boxes).reshape(-1, 4), scores, np.full(len(boxes), classes))


def painted(image: np.ndarray) -> np.ndarray:
    return (image != GREY).any(-1)


def test_the_picture_itself_stays_as_it_was() -> None:
    image = picture(60, 80)
    result = draw(image, found((10, 20, 30, 40)), ["a"])
    assert result.shape == image.shape
    assert result.dtype == np.uint8
    assert (image == GREY).all()


def test_no_detections_leave_the_picture_equal() -> None:
    assert np.array_equal(draw(picture(60, 80), Detections.empty(), ["a"]), picture(60, 80))


def test_box_covers_its_outermost_pixels() -> None:
    result = draw(picture(200, 200), found((50, 80, 120, 160)), ["a"])
    for y, x in ((159, 50), (159, 119), (100, 50), (100, 119)):
        assert tuple(result[y, x]) == class_colour(0)
    assert not painted(result)[161:].any()
    assert not painted(result)[90:150, 60:110].any()


@pytest.mark.parametrize(
    "box",
    [
        (0, 0, 40, 30),
        (170, 0, 200, 20),
        (-50, -50, 300, 300),
        (190, 190, 200, 200),
        (0, 190, 9, 199),
    ],
)
def test_label_lies_whole_within_the_picture(box: tuple[float, ...]) -> None:
    result = draw(picture(200, 200), found((60, 100, 100, 140)), ["ring"])[:100]
    rows, columns = (np.flatnonzero(painted(result).any(axis)) for axis in (1, 0))
    label = result[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    result = draw(picture(200, 200), found(box), ["ring"])
    places = np.lib.stride_tricks.sliding_window_view(result, label.shape)
    assert (places == label).all((-3, -2, -1)).sum() == 1


@pytest.mark.parametrize("size", [(100, 100), (480, 640), (3000, 4000)])
def test_lines_and_letters_scale_with_the_picture(size: tuple[int, int]) -> None:
    h, w = size
    box = (0.3 * w, 0.4 * h, 0.7 * w, 0.8 * h)
    marks = painted(draw(picture(h, w), found(box), ["a"]))
    line = marks[int(0.6 * h), : w // 2].sum()
    label = marks[: int(0.39 * h), int(0.32 * w)].sum()
    side = np.sqrt(h * w)
    assert max(1, 0.002 * side) <= line <= max(1, 0.006 * side)
    assert max(8, 0.02 * side) <= label <= max(16, 0.05 * side)


def test_better_score_covers_the_worse() -> None:
    both = Detections([[20, 20, 60, 60]] * 2, [0.9, 0.3], [0, 1])
    for rows in ([0, 1], [1, 0]):
        result = draw(picture(80, 80), both[np.array(rows)], ["a", "b"])
        assert tuple(result[59, 40]) == class_colour(0)


def test_long_name_is_shortened_to_the_picture_and_keeps_its_score() -> None:
    long, short = (
        draw(picture(100, 120), found((10, 40, 60, 80)), [name])
        for name in ("a very long name of a class" * 3, "a")
    )
    assert painted(long)[:, -1].sum() <= 16  # reaches the border at most with the label's ground
    assert painted(long)[:38].sum() > painted(short)[:38].sum()


@pytest.mark.parametrize(
    "box",
    [
        (10, 10, 10, 10),
        (30, 30, 20, 20),
        (-900, -900, -800, -800),
        (1e9, 1e9, 2e9, 2e9),
        (-1e30, -1e30, 1e30, 1e30),
        (np.nan, 0, 5, 5),
        (0, 0, np.inf, 5),
    ],
)
@pytest.mark.parametrize("size", [(1, 1), (5, 400), (90, 90)])
def test_no_box_is_too_strange(box: tuple[float, ...], size: tuple[int, int]) -> None:
    assert draw(picture(*size), found(box), ["a"]).shape == (*size, 3)


def test_class_without_a_name_shows_its_number() -> None:
    by_number = draw(picture(200, 200), found((60, 90, 150, 150), classes=7))
    by_name = draw(picture(200, 200), found((60, 90, 150, 150), classes=7), [*"abcdefg", "class 7"])
    assert np.array_equal(by_number, by_name)


def test_colours_are_stable_and_apart() -> None:
    colours = np.array([class_colour(cls) for cls in range(12)], float)
    gaps = np.abs(colours[:, None] - colours).max(-1) + 999 * np.eye(12)
    assert gaps.min() > 40
    assert class_colour(3) == class_colour(3)
    assert len({class_colour(cls) for cls in range(1000)}) > 900
    assert all(colorsys.rgb_to_hsv(*class_colour(cls))[1] > 0.5 for cls in range(80))
