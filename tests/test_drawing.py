"""Drawn detections: where boxes and labels lie, and that nothing makes it fall over."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ghostyolo.boxes import iou
from ghostyolo.drawing import COLOURS, class_colour, draw, place_labels, text_colour
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


def label_of(name: str, cls: int) -> np.ndarray:
    """Return the label of the first of `found`'s boxes, cut out of a picture of it alone."""
    result = draw(picture(200, 200), found((60, 100, 150, 140), classes=cls), [name] * 80)[:100]
    rows, columns = (np.flatnonzero(painted(result).any(axis)) for axis in (1, 0))
    return result[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def times_shown(label: np.ndarray, image: np.ndarray) -> int:
    places = np.lib.stride_tricks.sliding_window_view(image, label.shape)
    return int((places == label).all((-3, -2, -1)).sum())


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
    label = label_of("ring", 0)
    assert times_shown(label, draw(picture(200, 200), found(box), ["ring"])) == 1


def test_labels_of_equal_boxes_are_all_whole() -> None:
    boxes = [[70, 90, 130, 150]] * 3
    both = Detections(boxes, [0.9, 0.9, 0.9], [0, 1, 2])
    result = draw(picture(200, 200), both, ["ring"] * 3)
    assert [times_shown(label_of("ring", cls), result) for cls in range(3)] == [1, 1, 1]


@pytest.mark.parametrize("count", [1, 10, 40, 300])
@pytest.mark.parametrize("size", [(480, 640), (64, 64), (2000, 90)])
def test_labels_lie_inside_beside_each_other_and_at_their_boxes(
    count: int, size: tuple[int, int]
) -> None:
    rng = np.random.default_rng(count)
    h, w = size
    ends = np.sort(rng.uniform(-0.1, 1.1, (count, 2, 2)), 1) * (w, h)
    boxes = np.clip(ends.reshape(-1, 4), 0, (w, h, w, h))
    extents = np.minimum(rng.integers(8, 60, (count, 2)), (w, h))
    corners, free = place_labels(boxes, extents, size)
    labels = np.concatenate((corners, corners + extents), 1)
    assert free[0]
    assert (labels >= 0).all()
    assert (labels[:, 2:] <= (w, h)).all()
    assert (iou(labels[free], labels[free]) > 0).sum() == free.sum()
    touching = np.minimum(labels[:, 2:], boxes[:, 2:]) - np.maximum(labels[:, :2], boxes[:, :2])
    assert (touching[free] >= -1e-9).all()
    again = place_labels(boxes, extents, size)
    assert np.array_equal(again[0], corners)


def test_every_label_has_a_place_where_there_is_room() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        cells = rng.permutation(12)[:10]
        low = np.column_stack((cells % 4 * 160, cells // 4 * 160)) + rng.uniform(10, 60, (10, 2))
        boxes = np.concatenate((low, low + rng.uniform(10, 90, (10, 2))), 1)
        assert place_labels(boxes, np.full((10, 2), (80, 20)), (480, 640))[1].all()


def test_label_keeps_off_a_small_box_above() -> None:
    boxes = np.array([[50, 60, 150, 160], [60, 48, 80, 58]], float)
    (x, y), _ = place_labels(boxes, np.full((2, 2), (40, 14)), (200, 200))[0]
    label = np.array([[x, y, x + 40, y + 14]])
    assert iou(label, boxes[1:]) == 0


def test_labels_leave_most_of_a_crowded_and_of_a_tiny_picture_free() -> None:
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 1, (300, 2)) * (600, 440)
    crowd = Detections(np.hstack((low, low + 30)), np.linspace(1, 0.2, 300), np.zeros(300))
    marks = painted(draw(picture(480, 640), crowd, ["a rather long name"]))
    assert 0.3 < marks.mean() < 0.5  # of which the lines are a tenth
    assert not painted(draw(picture(20, 20), found((2, 2, 18, 18)), ["a"]))[4:16, 4:16].any()


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


def lab(colours: np.ndarray) -> np.ndarray:
    """Return CIE L*a*b* of sRGB levels, for the D65 white."""
    levels = colours / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    xyz = linear @ to_xyz.T / to_xyz.sum(1)
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116, 500, 200]) * (f[..., [1, 0, 1]] - f[..., [1, 1, 2]] * (0, 1, 1)) - (
        16,
        0,
        0,
    )


def difference(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Return the CIEDE2000 colour difference of L*a*b* values. Source: Sharma et al. 2005."""
    (l1, a1, b1), (l2, a2, b2) = np.moveaxis(one, -1, 0), np.moveaxis(two, -1, 0)
    seventh = lambda c: np.sqrt(c**7 / (c**7 + 25.0**7))  # noqa: E731
    stretch = 1.5 - 0.5 * seventh((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2)
    c1, c2 = np.hypot(a1 * stretch, b1), np.hypot(a2 * stretch, b2)
    h1, h2 = np.arctan2(b1, a1 * stretch), np.arctan2(b2, a2 * stretch)
    turn = (h2 - h1 + np.pi) % (2 * np.pi) - np.pi
    light, c, h = (l1 + l2) / 2, (c1 + c2) / 2, h1 + turn / 2
    deg = np.radians
    t = 1 - 0.17 * np.cos(h - deg(30)) + 0.24 * np.cos(2 * h)
    t += 0.32 * np.cos(3 * h + deg(6)) - 0.2 * np.cos(4 * h - deg(63))
    dark = (light - 50) ** 2
    light = (l2 - l1) / (1 + 0.015 * dark / np.sqrt(20 + dark))
    chroma = (c2 - c1) / (1 + 0.045 * c)
    hue = 2 * np.sqrt(c1 * c2) * np.sin(turn / 2) / (1 + 0.015 * c * t)
    blue = np.exp(-(((np.degrees(h) % 360 - 275) / 25) ** 2))
    rotation = -2 * seventh(c) * np.sin(deg(60) * blue)
    return np.sqrt(light**2 + chroma**2 + hue**2 + rotation * chroma * hue)


def test_colour_difference_is_that_of_the_published_pairs() -> None:
    pairs = [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((22.7233, 20.0904, -46.694), (23.0331, 14.973, -42.5619), 2.0373),
        ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
    ]
    for one, two, expected in pairs:
        assert difference(np.array(one), np.array(two)) == pytest.approx(expected, abs=1e-4)


def test_colours_are_as_far_apart_as_stated() -> None:
    values = lab(np.array([class_colour(cls) for cls in range(80)], float))
    gaps = difference(values[:, None], values) + 999 * np.eye(80)
    assert gaps[:20, :20].min() == pytest.approx(19, abs=0.5)
    assert gaps.min() == pytest.approx(9, abs=0.5)
    assert min(gaps[cls, (cls + 1) % 80] for cls in range(80)) >= 46
    assert class_colour(0) == class_colour(len(COLOURS)) == (255, 68, 51)


def test_text_is_legible_on_every_ground() -> None:
    def luminance(colour: tuple[int, int, int]) -> float:
        levels = [
            v / 255 / 12.92 if v <= 10 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in colour
        ]
        return float(np.dot(levels, (0.2126, 0.7152, 0.0722)))

    for ground in itertools.product(range(0, 256, 51), repeat=3):
        low, high = sorted((luminance(ground), luminance(text_colour(ground))))
        assert (high + 0.05) / (low + 0.05) > 4.5
