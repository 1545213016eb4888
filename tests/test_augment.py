"""Augmentation: neutral settings change nothing, and boxes go where their pixels go."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ghostyolo.boxes import cxcywh_to_xyxy
from ghostyolo.data.augment import (
    NONE,
    Augmentation,
    augment,
    cut,
    draw_colours,
    draw_crop,
    move_boxes,
    recolour,
)
from ghostyolo.data.images import fit, to_planes
from ghostyolo.errors import OptionError

STRONG = Augmentation(
    jitter=0.3, resize=1.5, flip=True, hue=0.1, saturation=1.5, exposure=1.5, letter_box=False
)


def generator(seed=0):
    return np.random.default_rng(seed)


def scene(size=(120, 200), box=(60, 30, 130, 90)):
    """A dark picture with one bright rectangle, and its box."""
    image = np.full((*size, 3), 20, np.uint8)
    x1, y1, x2, y2 = box
    image[y1:y2, x1:x2] = 250
    return image, np.array([box], np.float32)


def test_neutral_settings_only_stretch():
    image, boxes = scene()
    changed, cxcywh, kept = augment(image, boxes, (96, 64), NONE, generator())
    assert (changed.shape, changed.dtype) == ((96, 64, 3), np.uint8)
    assert (cxcywh.dtype, kept.tolist()) == (np.float32, [0])
    planes, placement = fit(image, (96, 64), letterbox=False)
    np.testing.assert_array_equal(to_planes(changed), planes)
    moved = cxcywh_to_xyxy(cxcywh) * (64, 96, 64, 96)
    np.testing.assert_allclose(moved, placement.to_input(boxes), atol=1e-4)


@pytest.mark.parametrize("letter_box", [False, True])
@pytest.mark.parametrize("resize", [0.5, 1.5])
@pytest.mark.parametrize("seed", range(8))
def test_boxes_go_where_their_pixels_go(seed, resize, letter_box):
    image, boxes = scene()
    settings = Augmentation(jitter=0.3, resize=resize, flip=True, letter_box=letter_box)
    h, w = size = (160, 240)
    changed, cxcywh, kept = augment(image, boxes, size, settings, generator(seed))
    bright = changed[..., 0] > 135
    assert kept.tolist() == [0] and bright.any()
    ys, xs = np.flatnonzero(bright.any(1)), np.flatnonzero(bright.any(0))
    seen = [xs[0], ys[0], xs[-1] + 1, ys[-1] + 1]
    np.testing.assert_allclose(cxcywh_to_xyxy(cxcywh)[0] * (w, h, w, h), seen, atol=1.5)


def test_the_same_chance_makes_the_same_picture_and_leaves_the_original_alone():
    image, boxes = scene()
    before = image.copy()
    first, second, other = (
        augment(image, boxes, (64, 64), STRONG, generator(s)) for s in (3, 3, 4)
    )
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (first[0] != other[0]).any()
    np.testing.assert_array_equal(image, before)


def test_crops_stay_in_darknets_bounds():
    h, w = 100, 200
    crops = np.array([draw_crop((h, w), (64, 64), STRONG, generator(s)) for s in range(2000)])
    edges = crops / (w, h, w, h) - (0, 0, 1, 1)
    edges[:, 2:] *= -1  # now every edge is positive inwards
    low, high = -0.3 + (1 - 1.5) / 2, 0.3 + (1 - 1 / 1.5) / 2
    assert edges.min() >= low - 1e-9 and edges.max() <= high + 1e-9
    assert edges.min() < low + 0.1 and edges.max() > high - 0.1
    shrunk = Augmentation(resize=0.5)
    for seed in range(50):
        left, top, right, bottom = draw_crop((h, w), (64, 64), shrunk, generator(seed))
        assert left <= 0 and top <= 0 and right >= w and bottom >= h
        assert abs(left / w - top / h) <= 0.011 and abs((right - w) / w - (bottom - h) / h) <= 0.011
    assert draw_crop((h, w), (64, 64), NONE, generator()).tolist() == [0, 0, w, h]


@pytest.mark.parametrize(
    "source, expected", [((100, 200), (0, -50, 200, 150)), ((90, 30), (-30, 0, 60, 90))]
)
def test_letter_box_adds_to_the_shorter_side(source, expected):
    crop = draw_crop(source, (64, 64), Augmentation(letter_box=True), generator())
    assert tuple(crop) == expected


def test_outside_the_picture_is_its_mean_colour():
    image = np.zeros((10, 10, 3), np.uint8)
    image[:5] = (200, 100, 50)
    padded = cut(image, np.array([-10, 0, 10, 10]), (10, 20))
    assert (padded[:, :9] == (100, 50, 25)).all()
    np.testing.assert_array_equal(padded[:, 11:], image[:, 1:])


def test_flipping_twice_is_nothing():
    boxes = np.array([[10, 20, 40, 60], [0, 0, 100, 80]], np.float32)
    crop = np.array([0, 0, 100, 80])
    once, _ = move_boxes(boxes, crop, True, (64, 64))
    pixels = cxcywh_to_xyxy(once) * (100, 80, 100, 80)
    np.testing.assert_allclose(pixels[0], [60, 20, 90, 60], atol=1e-4)
    twice, _ = move_boxes(pixels, crop, True, (64, 64))
    np.testing.assert_allclose(cxcywh_to_xyxy(twice) * (100, 80, 100, 80), boxes, atol=1e-4)


def test_boxes_are_clipped_and_lost_under_a_pixel():
    boxes = np.array([[0, 0, 50.9, 50], [0, 0, 51.1, 90], [60, 60, 70, 60.9], [10, 10, 40, 90]])
    moved, kept = move_boxes(boxes, np.array([50, 0, 100, 100]), False, (100, 50))
    assert kept.tolist() == [1]
    np.testing.assert_allclose(cxcywh_to_xyxy(moved), [[0, 0, 1.1 / 50, 0.9]], atol=1e-6)
    none, kept = move_boxes(np.zeros((0, 4), np.float32), np.array([0, 0, 5, 5]), True, (5, 5))
    assert none.shape == (0, 4) and kept.shape == (0,)


def test_colours_scale_value_and_saturation_and_turn_the_hue():
    red = np.full((2, 2, 3), (200, 100, 100), np.uint8)
    np.testing.assert_array_equal(recolour(red, 0, 1, 0.5)[0, 0], [100, 50, 50])
    np.testing.assert_allclose(recolour(red, 0, 2, 1)[0, 0], [200, 0, 0], atol=1)
    np.testing.assert_allclose(recolour(red, 1 / 3, 1, 1)[0, 0], [100, 200, 100], atol=1)
    np.testing.assert_allclose(recolour(red, -1 / 3, 1, 1)[0, 0], [100, 100, 200], atol=1)
    assert recolour(red, 0, 1, 1) is red


def test_recolouring_is_opencvs_arithmetic():
    image = cv2.resize(generator().integers(0, 256, (6, 6, 3), np.uint8), (40, 40))
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV).astype(float) * (1, 1.3, 0.8)
    expected = cv2.cvtColor(np.rint(hsv.clip(0, 255)).astype(np.uint8), cv2.COLOR_HSV2RGB)
    np.testing.assert_array_equal(recolour(image, 0, 1.3, 0.8), expected)


def test_colour_factors_are_as_often_above_one_as_below():
    drawn = np.array([draw_colours(STRONG, generator(seed)) for seed in range(1000)])
    hue, factors = drawn[:, 0], drawn[:, 1:]
    assert -0.1 <= hue.min() < -0.09 and 0.09 < hue.max() <= 0.1
    assert factors.min() >= 1 / 1.5 and factors.max() <= 1.5
    np.testing.assert_allclose((factors > 1).mean(0), 0.5, atol=0.06)
    assert draw_colours(NONE, generator()) == (0, 1, 1)


@pytest.mark.parametrize(
    "option", ["jitter=0.5", "resize=0", "hue=-1", "exposure=0", "saturation=nan"]
)
def test_values_out_of_range_are_refused(option):
    name, value = option.split("=")
    with pytest.raises(OptionError, match=f"{name}=.* is not in"):
        Augmentation(**{name: float(value)})
