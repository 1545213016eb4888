"""The scale at which training pictures are decoded: enough for whatever is shown of them."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from ghostyolo.augment import classification, detection
from ghostyolo.augment.batches import Batches
from ghostyolo.augment.detection import NONE, Augmentation, draw_crop
from ghostyolo.augment.mosaic import Quarter, draw_view
from ghostyolo.augment.reduction import Scale, factors
from ghostyolo.data.dataset import Dataset, Sample

SIZE = (64, 96)
SETTINGS = Augmentation(jitter=0.1, flip=True, hue=0.1, saturation=1.5, exposure=1.5, mosaic=0.5)


def random_settings(rng):
    return Augmentation(
        jitter=rng.choice((0, 0.1, 0.3)),
        resize=rng.choice((0.5, 1, 1.3, 2)),
        letter_box=bool(rng.integers(2)),
        flip=True,
    )


@pytest.mark.parametrize("seed", range(20))
def test_a_divided_picture_is_enough_for_nearly_all_crops(seed):
    rng = np.random.default_rng(seed)
    settings, source = random_settings(rng), tuple(rng.integers(300, 3000, 2).tolist())
    factor = int(factors(np.array([source]), [settings], SIZE)[0])
    enough = []
    for _ in range(400 if factor > 1 else 0):
        crop = np.array(draw_crop(source, SIZE, settings, rng))
        enough.append((crop[2:] - crop[:2] >= factor * np.array([96, 64]) - 2).all())
        view = draw_view(Quarter((0, 0), (50, 40), (96, 64), (96, 64)), source, settings, rng)
        shown = np.subtract(view.window[2:], view.window[:2])
        enough.append((shown >= factor * np.array([50, 40]) - 2).all())
    assert not enough or np.mean(enough) > 0.96


def test_the_factor_is_the_largest_that_leaves_enough():
    sizes = np.array([[64, 96], [127, 192], [128, 192], [128, 191], [256, 384], [9000, 9000]])
    assert factors(sizes, [NONE], SIZE).tolist() == [1, 1, 2, 1, 4, 8]
    for settings in (Augmentation(jitter=0.25), Augmentation(resize=2)):
        assert factors(sizes, [NONE, settings], SIZE).tolist() == [1, 1, 1, 1, 2, 8]
    assert factors(sizes[:5], [Augmentation(resize=4, jitter=0.3)], SIZE).tolist() == [1] * 5


@pytest.mark.parametrize("density, factor", [(0.3, 1), (1.9, 1), (2, 2), (3.9, 2), (4, 4), (9, 4)])
def test_a_finer_picture_is_taken_for_a_small_crop_only(density, factor):
    image = np.zeros((3, 5, 3), np.uint8)
    asked = []
    scale = Scale(4, lambda each: asked.append(each) or image.repeat(4 // each, 0))
    found, own = scale.enough(image, density)
    assert own == factor and len(found) == 12 // factor and asked == [factor] * (factor < 4)
    assert Scale(4).enough(image, density) == (image, 4)  # it cannot be read any more
    assert scale.whole(image) == (12, 20)


@pytest.mark.parametrize("aspect", [0.5, 1, 1.7])
def test_no_part_of_a_classifiers_picture_is_enlarged(aspect):
    settings = classification.ClassificationAugmentation(40, 60, angle=30, aspect=aspect)
    rng = np.random.default_rng(0)
    for source in ((600, 1000), (1400, 800), (480, 480)):
        factor = int(factors(np.array([source]), [settings], SIZE)[0])
        assert factor > 1
        crops = [classification.draw(source, 64, settings, rng) for _ in range(500)]
        enlarged = max(crop.scale * max(1, 1 / crop.aspect) for crop in crops)
        assert 0.2 < enlarged * factor <= 1


@pytest.fixture
def photos(tmp_path):
    """Four large pictures of smooth colours, each with a rectangle, which is its box."""
    rng, samples = np.random.default_rng(0), []
    for i, size in enumerate(((403, 601), (400, 600), (599, 410), (300, 900))):
        image = cv2.resize(rng.integers(60, 120, (4, 5, 3), np.uint8), size[::-1])
        x, y = size[1] // 3, size[0] // 4
        image[y : 2 * y, x : 2 * x] = 255
        path = str(tmp_path / f"{i}.{('jpg', 'png')[i % 2]}")
        cv2.imwrite(path, image)
        box = np.array([[x, y, 2 * x, 2 * y]], np.float32)
        samples.append(Sample(path, box, np.zeros(1, int), np.zeros(1, bool), size, i))
    return Dataset(("a",), tuple(samples), "train", str(tmp_path))


def both(dataset, settings, **options):
    """Return batches of reduced pictures and of whole ones."""
    found = factors(dataset.columns.sizes, [settings], SIZE)
    assert found.min() > 1
    return (Batches(dataset, settings, 4, SIZE, factors=each, **options) for each in (found, None))


def test_batches_of_reduced_pictures_are_nearly_those_of_whole_ones(photos):
    reduced, whole = both(photos, SETTINGS)
    for i in range(8):
        (images, truths), (expected, others) = reduced.batch_at(i), whole.batch_at(i)
        for boxes, all_boxes in ((truths, others), (others, truths)):
            for box in boxes[boxes[:, 3:5].amin(1) > 0.05]:  # smaller ones may be lost
                assert ((box - all_boxes).abs().amax(1) < 0.02).any()
        assert (images - expected).abs().mean() < 0.01


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("seed", range(6))
def test_a_part_of_a_divided_picture_is_that_of_the_whole_one(seed, factor):
    rng = np.random.default_rng(seed)
    whole = cv2.resize(rng.integers(0, 256, (5, 6, 3), np.uint8), (640, 480))
    image = cv2.resize(whole, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
    crop = rng.integers(-90, 90, 4) + (0, 0, 640, 480)
    parts = [
        detection.cut(each, crop.tolist(), (64, 96), scale=Scale(n)).astype(int)
        for each, n in ((whole, 1), (image, factor))
    ]
    difference = np.abs(parts[0] - parts[1])
    assert np.median(difference) <= 1 and np.mean(difference > 6) < 0.04  # edges of margins
    turned = classification.Crop(rng.uniform(-1, 1), rng.uniform(0.1, 0.2), 3, -5, 1.2)
    parts = [
        classification.cut(each, 64, turned, n).astype(int)
        for each, n in ((whole, 1), (image, factor))
    ]
    difference = np.abs(parts[0] - parts[1])
    assert np.median(difference) <= 1 and np.mean(difference > 6) < 0.04


def test_a_small_crop_is_that_of_a_finer_picture(photos):
    whole = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    image = cv2.resize(whole, None, fx=1 / 4, fy=1 / 4, interpolation=cv2.INTER_AREA)
    crop, scale = [100, 50, 220, 140], Scale(4, lambda factor: whole if factor == 1 else None)
    expected = detection.cut(whole, crop, SIZE)
    np.testing.assert_array_equal(detection.cut(image, crop, SIZE, scale=scale), expected)
    one = photos.only([1])  # of which a quarter is enough
    found, expected = (
        Batches(one, NONE, 2, SIZE, factors=np.array([factor])).batch_at(0)[0] for factor in (8, 4)
    )
    assert found.equal(expected)


def test_boxes_of_reduced_pictures_surround_their_pixels(photos):
    reduced, _ = both(photos, replace(SETTINGS, hue=0, saturation=1, exposure=1, mosaic=0))
    for i in range(8):
        images, truths = reduced.batch_at(i)
        for image, (_, cx, cy, w, h, _) in zip(images, truths, strict=True):
            ys, xs = np.nonzero((image.min(0).values > 0.75).numpy())
            centre, sides = np.array([cx * 96, cy * 64]), np.array([w * 96, h * 64])
            edges = np.concatenate((centre - sides / 2, centre + sides / 2))
            seen = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
            np.testing.assert_allclose(seen, edges, atol=1.1)


@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_kept_of_reduced_pictures_changes_no_batch(photos, workers):
    reduced, whole = both(photos, SETTINGS)
    room = reduced._maker.cache.kept.ends[-1]
    assert 4 * room < whole._maker.cache.kept.ends[-1]
    for memory in ({"cache_bytes": 0}, {"cache_bytes": room // 2}, {"recent": 3, "cache_bytes": 0}):
        one, _ = both(photos, SETTINGS, **{"recent": 0, **memory})
        other, _ = both(photos, SETTINGS, **{"recent": 0, **memory}, workers=workers)
        for i, (images, truths) in enumerate(other.iterate(0, 6)):
            expected = one.batch_at(i)
            assert images.equal(expected[0]) and truths.equal(expected[1])


def test_a_wrong_size_is_told_by_the_whole_picture(photos, caplog):
    wrong = replace(photos.samples[0], size=(404, 602))  # a half of it would be the same
    reduced, _ = both(Dataset(("a",), (wrong,), "train", "x"), SETTINGS)
    reduced.batch_at(0)
    assert "601x403 pixels, but its label says 602x404" in caplog.text
