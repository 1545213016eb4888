"""Augmentation: neutral settings change nothing, and boxes go where their pixels go."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ghostyolo.augment.detection import (
    NONE,
    Augmentation,
    add_noise,
    augment,
    blur,
    cut,
    draw_colours,
    draw_crop,
    move_boxes,
    recolour,
)
from ghostyolo.augment.mosaic import Picture, Quarter, compose, draw_view, fill, mixup, mosaic
from ghostyolo.boxes import cxcywh_to_xyxy
from ghostyolo.data.images import preprocess, to_planes
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
    planes, placement = preprocess(image, (96, 64), letterbox=False)
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
    assert draw_crop((h, w), (64, 64), NONE, generator()) == [0, 0, w, h]


@pytest.mark.parametrize(
    "source, expected", [((100, 200), (0, -50, 200, 150)), ((90, 30), (-30, 0, 60, 90))]
)
def test_letter_box_adds_to_the_shorter_side(source, expected):
    crop = draw_crop(source, (64, 64), Augmentation(letter_box=True), generator())
    assert tuple(crop) == expected


def test_outside_the_picture_is_its_mean_colour():
    image = np.zeros((10, 10, 3), np.uint8)
    image[:5] = (200, 100, 50)
    padded = cut(image, [-10, 0, 10, 10], (10, 20))
    assert (padded[:, :9] == (100, 50, 25)).all()
    np.testing.assert_array_equal(padded[:, 11:], image[:, 1:])


def test_flipping_twice_is_nothing():
    boxes = np.array([[10, 20, 40, 60], [0, 0, 100, 80]], np.float32)
    crop = [0, 0, 100, 80]
    once, _ = move_boxes(boxes, crop, True, (64, 64))
    pixels = cxcywh_to_xyxy(once) * (100, 80, 100, 80)
    np.testing.assert_allclose(pixels[0], [60, 20, 90, 60], atol=1e-4)
    twice, _ = move_boxes(pixels, crop, True, (64, 64))
    np.testing.assert_allclose(cxcywh_to_xyxy(twice) * (100, 80, 100, 80), boxes, atol=1e-4)


def test_boxes_are_clipped_and_lost_under_a_pixel():
    boxes = np.array([[0, 0, 50.9, 50], [0, 0, 51.1, 90], [60, 60, 70, 60.9], [10, 10, 40, 90]])
    moved, kept = move_boxes(boxes, [50, 0, 100, 100], False, (100, 50))
    assert kept.tolist() == [1]
    np.testing.assert_allclose(cxcywh_to_xyxy(moved), [[0, 0, 1.1 / 50, 0.9]], atol=1e-6)
    none, kept = move_boxes(np.zeros((0, 4), np.float32), [0, 0, 5, 5], True, (5, 5))
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
    "option",
    ["jitter=0.5", "resize=0", "hue=-1", "exposure=0", "saturation=nan"]
    + ["mosaic=1.1", "mixup=-1", "blur=-3", "gaussian_noise=128", "min_visible=1"],
)
def test_values_out_of_range_are_refused(option):
    name, value = option.split("=")
    with pytest.raises(OptionError, match=f"{name}=.* is not in"):
        Augmentation(**{name: float(value)})


@pytest.mark.parametrize("visible, kept", [(0, [0, 1, 2]), (0.3, [1, 2]), (0.6, [2])])
def test_a_box_goes_when_too_little_of_it_is_visible(visible, kept):
    boxes = np.array([[30, 0, 55, 20], [40, 0, 60, 20], [60, 0, 80, 20]], np.float32)
    crop = [50, 0, 100, 100]
    assert move_boxes(boxes, crop, False, (100, 50), visible)[1].tolist() == kept
    assert move_boxes(boxes, crop, True, (100, 50), visible)[1].tolist() == kept


# --- blur and noise


def test_a_blur_spares_the_boxes_or_is_held_to_an_eighth_of_the_smallest():
    image = generator().integers(0, 256, (80, 80, 3), np.uint8)
    boxes = np.array([[10.2, 20, 42, 70], [50, 50, 82, 99]])
    assert blur(image, boxes, 9, 0) is image
    around = blur(image, boxes, 9, 1)
    outside = np.ones((80, 80), bool)
    outside[20:70, 10:42] = outside[50:, 50:] = False
    assert (around[~outside] == image[~outside]).all() and around[outside].std() < 30
    np.testing.assert_array_equal(blur(image, boxes, 1, 2), around)
    whole = blur(image, boxes, 9, 2)
    np.testing.assert_array_equal(whole, cv2.GaussianBlur(image, (3, 3), 0))  # 31.8 // 8 == 3
    assert blur(image, boxes[:0], 9, 2) is image
    np.testing.assert_array_equal(blur(image, boxes * 4, 9, 2), cv2.GaussianBlur(image, (9, 9), 0))


def test_noise_has_its_deviation_and_no_bias():
    image = np.full((100, 100, 3), 120, np.uint8)
    noise = add_noise(image, 10, generator()).astype(float) - image
    assert abs(noise.mean()) < 0.3 and abs(noise.std() - 10) < 0.3
    assert add_noise(np.full_like(image, 255), 10, generator()).min() > 200  # no wrapping around


def test_one_picture_in_three_is_blurred_and_one_in_two_noisy():
    image = cv2.resize(generator().integers(0, 256, (8, 8, 3), np.uint8), (64, 64))
    boxes = np.array([[8, 8, 56, 56]], np.float32)
    for settings, share in ((Augmentation(blur=5), 2 / 3), (Augmentation(gaussian_noise=9), 1 / 2)):
        changed = [
            (augment(image, boxes, (64, 64), settings, generator(s))[0] != image).any()
            for s in range(300)
        ]
        assert abs(np.mean(changed) - share) < 0.09


# --- several pictures in one

COLOURS = np.array([[250, 40, 40], [40, 250, 40], [40, 40, 250], [250, 250, 40]], np.uint8)


def painted(place, size=(120, 160), seed=0):
    """A dark picture with one rectangle of its place's colour, and its box and class."""
    rng = generator((seed, place))
    h, w = size
    x1, y1 = rng.integers(0, (w - 60, h - 50))
    x2, y2 = (x1, y1) + rng.integers(20, (60, 50))
    image = np.full((h, w, 3), 20, np.uint8)
    image[y1:y2, x1:x2] = COLOURS[place]
    return Picture(image, np.array([[x1, y1, x2, y2]], np.float32), np.array([place]))


def extent(mask):
    """Return left, top, right, bottom of what is set."""
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([xs[0], ys[0], xs[-1] + 1, ys[-1] + 1]) if len(xs) else None


def of_colour(image, place):
    strong = COLOURS[place] > 100
    return (image[..., strong] > 135).all(-1) & (image[..., ~strong] < 90).all(-1)


@pytest.mark.parametrize("scale", [1, 0.5])
@pytest.mark.parametrize("seed", range(25))
def test_the_boxes_of_a_mosaic_surround_their_pixels(seed, scale):
    h, w = size = (256, 192)
    settings = Augmentation(
        jitter=0.2, resize=1.4, flip=True, mosaic=1, mosaic_scale=scale, mosaic_bound=True
    )
    pictures = [painted(place, seed=seed) for place in range(4)]
    image, cxcywh, kept = mosaic(pictures, size, settings, generator(seed))
    assert (image.shape, image.dtype, cxcywh.dtype) == ((h, w, 3), np.uint8, np.float32)
    boxes = dict(zip(kept, cxcywh_to_xyxy(cxcywh) * (w, h, w, h), strict=True))
    for place in range(4):
        seen = extent(of_colour(image, place))
        if place in boxes and (seen is not None or min(np.diff(boxes[place][[0, 2]])) > 3):
            scale = 3  # a source pixel is up to two of the mosaic's, and edges are blended
            np.testing.assert_allclose(boxes[place], seen, atol=scale)
        elif seen is not None:
            assert min(seen[2:] - seen[:2]) <= 2


def test_a_mosaic_shows_each_picture_in_its_quarter_about_one_point():
    h, w = size = (200, 300)
    crosses = []
    for seed in range(60):
        pictures = [Picture(np.full((9, 9, 3), c), np.zeros((0, 4)), np.zeros(0)) for c in COLOURS]
        image, boxes, kept = mosaic(pictures, size, NONE, generator(seed))
        x1, y1, x, y = extent((image == COLOURS[0]).all(-1))
        assert (x1, y1, len(boxes), len(kept)) == (0, 0, 0, 0)
        quarters = image[:y, :x], image[:y, x:], image[y:, :x], image[y:, x:]
        assert all((part == c).all() for part, c in zip(quarters, COLOURS, strict=True))
        crosses.append((x / w, y / h))
    low, high = np.min(crosses, 0), np.max(crosses, 0)
    assert (low >= 0.2).all() and (high <= 0.8).all() and (low < 0.25).all() and (high > 0.75).all()


def test_the_pictures_of_a_mosaic_have_one_scale_from_mosaic_scale_to_1():
    size = (200, 300)
    corners = np.stack(np.meshgrid(range(0, 600, 60), range(0, 400, 40)), -1).reshape(-1, 2)
    boxes = np.concatenate((corners, corners + (60, 40)), 1).astype(np.float32)
    picture = Picture(np.zeros((400, 600, 3), np.uint8), boxes, np.zeros(len(boxes)))
    scales = []
    for seed in range(60):
        settings = Augmentation(mosaic_scale=0.5)
        _, found, kept = mosaic([picture] * 4, size, settings, generator(seed))
        sides = np.array([np.median(found[kept // len(boxes) == i, 2:], 0) for i in range(4)])
        scales.append(np.median(sides) * 10)  # a box is a tenth of its picture
        np.testing.assert_allclose(sides * 10, scales[-1], rtol=0.02)  # windows are whole pixels
    assert 0.5 <= min(scales) < 0.55 and 0.95 < max(scales) <= 1.01


def darknets_quarter(picture, place, cross, size, settings, rng):
    """What Darknet does: change the whole picture, then copy a part of it. An oracle."""
    (h, w), (oh, ow) = size, picture.image.shape[:2]
    left, top, right, bottom = draw_crop((oh, ow), size, settings, rng)
    right, bottom = ow - right, oh - bottom
    flip = settings.flip and rng.random() < 0.5
    if rng.random() < 0.5:
        if (place % 2 == 0) != flip:
            right, left = right + left, 0
        else:
            left, right = left + right, 0
        if place < 2:
            bottom, top = bottom + top, 0
        else:
            top, bottom = top + bottom, 0
    whole = cut(picture.image, [left, top, ow - right, oh - bottom], size)
    if flip:
        whole, left, right = cv2.flip(whole, 1), right, left
    x, y = cross
    left_shift = min(x, max(0, -left * w // ow))
    top_shift = min(y, max(0, -top * h // oh))
    right_shift = min(w - x, max(0, -right * w // ow))
    bottom_shift = min(h - y, max(0, -bottom * h // oh))
    x1 = left_shift if place % 2 else w - x - right_shift
    y1 = top_shift if place >= 2 else h - y - bottom_shift
    return whole[y1 : y1 + (h - y if place >= 2 else y), x1 : x1 + (w - x if place % 2 else x)]


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("seed", range(12))
def test_a_quarter_is_the_part_that_darknet_copies(place, seed):
    ramp = np.mgrid[:240, :320].transpose(1, 2, 0)
    image = np.concatenate((ramp / (1, 1.4), ramp[..., :1] / 2 + 30), -1).astype(np.uint8)
    picture = Picture(image, np.zeros((0, 4), np.float32), np.zeros(0, int))
    settings = Augmentation(jitter=0.3, resize=1.5, flip=True)
    size, cross = (160, 224), (90, 100)
    (left, right), (top, bottom) = (
        ((0, 90), (90, 224))[place % 2],
        ((0, 100), (100, 160))[place // 2],
    )
    quarter = Quarter((left, top), (right, bottom), size[::-1], size[::-1])
    part, rng = np.empty((bottom - top, right - left, 3), np.uint8), generator(seed)
    fill(part, draw_view(quarter, image.shape[:2], settings, rng), picture, settings, rng)
    expected = darknets_quarter(picture, place, cross, size, settings, generator(seed))
    assert part.shape == expected.shape
    difference = np.abs(part.astype(int) - expected)
    assert np.median(difference) <= 1 and np.mean(difference > 3) < 0.03  # edges of margins


def test_without_bound_a_box_reaches_on_and_with_it_it_ends_with_its_quarter():
    size, reached = (128, 128), 0
    for seed in range(200):
        pictures = [painted(place, seed=seed) for place in range(4)]
        free, bound = (
            mosaic(pictures, size, Augmentation(jitter=0.3, mosaic_bound=b), generator(seed))
            for b in (False, True)
        )
        np.testing.assert_array_equal(free[0], bound[0])
        kept, own = free[2].tolist(), bound[2].tolist()
        assert set(own) <= set(kept)
        outer, inner = (cxcywh_to_xyxy(found[1]) for found in (free, bound))
        outer = outer[[kept.index(i) for i in own]]
        assert (outer[:, :2] <= inner[:, :2] + 1e-6).all() and (outer >= 0).all()
        assert (outer[:, 2:] >= inner[:, 2:] - 1e-6).all() and (outer <= 1 + 1e-6).all()
        reached += int((np.abs(outer - inner) > 1e-3).any())
    assert reached > 10


def test_more_visibility_asked_keeps_fewer_boxes_of_a_mosaic():
    counts = [
        sum(
            len(mosaic([painted(p, seed=s) for p in range(4)], (96, 96), settings, generator(s))[2])
            for s in range(80)
        )
        for settings in (Augmentation(min_visible=v) for v in (0, 0.3, 0.6, 0.99))
    ]
    assert counts == sorted(counts, reverse=True) and counts[0] > counts[1] > counts[3] > 0


def test_a_mixup_is_the_mean_with_the_boxes_of_both():
    pictures = [painted(place) for place in (0, 1)]
    mean, boxes, kept = mixup(pictures, (120, 160), NONE, generator())
    expected = sum(picture.image.astype(float) for picture in pictures) / 2
    np.testing.assert_allclose(mean, expected, atol=0.5)
    assert kept.tolist() == [0, 1]
    both = np.concatenate([picture.boxes_xyxy_px for picture in pictures])
    np.testing.assert_allclose(cxcywh_to_xyxy(boxes) * (160, 120, 160, 120), both, atol=1e-3)


@pytest.mark.parametrize(
    "settings, expected",
    [
        (NONE, {1: 1.0}),
        (Augmentation(mosaic=0.5), {4: 0.5, 1: 0.5}),
        (Augmentation(mixup=0.5), {2: 0.5, 1: 0.5}),
        (Augmentation(mosaic=0.5, mixup=0.5), {4: 0.5, 2: 0.25, 1: 0.25}),
    ],
)
def test_pictures_are_combined_as_often_as_asked(settings, expected):
    found = []
    for seed in range(600):
        used = [painted(0)]

        def partner(used=used):
            used.append(painted(len(used)))
            return used[-1]

        _, rows = compose(used[0], partner, (64, 64), settings, generator(seed))
        boxes, classes = rows[:, :4], rows[:, 4]
        found.append(len(used))
        assert len(boxes) == len(classes) and set(classes) <= set(range(len(used)))
    for count, share in expected.items():
        assert abs(np.mean(np.array(found) == count) - share) < 0.09
    assert set(found) == set(expected)


def test_the_first_picture_may_come_in_every_quarter():
    quarters = set()
    for seed in range(60):
        settings = Augmentation(mosaic=1, mosaic_bound=True)
        first = Picture(np.full((9, 9, 3), 200, np.uint8), np.zeros((0, 4)), np.zeros(0))
        dark = first._replace(image=first.image // 9)
        image, _ = compose(first, lambda dark=dark: dark, (64, 64), settings, generator(seed))
        x1, y1, _, _ = extent(image[..., 0] > 100)
        quarters.add((x1 > 0, y1 > 0))
    assert len(quarters) == 4
