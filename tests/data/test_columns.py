"""Samples from columns, against the objects that the columns were made of."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import numpy as np
import pytest

from ghostyolo.data import Dataset, Sample
from ghostyolo.data.columns import Columns
from ghostyolo.data.dataset import Samples


def some_samples(num: int = 40) -> list[Sample]:
    """Return samples with 0 to 4 boxes, and with paths and ids of every kind."""
    rng = np.random.default_rng(0)
    paths = ("a.jpg", "dir/\udcff.png", "ä \n b.jpg", "/" + "x" * 200)
    ids = (7, -1, "7", "\ud800", 2**70, "")
    samples = []
    for number in range(num):
        n = int(rng.integers(5))
        boxes, classes = rng.random((n, 4)).astype(np.float32), rng.integers(0, 9, n)
        size = (number + 1, 5)
        path, image_id = paths[number % 4] + str(number), ids[number % 6]
        samples.append(Sample(path, boxes, classes, rng.random(n) < 0.3, size, image_id))
    return samples


def assert_same(found: Sequence[Sample], expected: Sequence[Sample]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert (one.path, one.size, one.image_id) == (other.path, other.size, other.image_id)
        assert type(one.image_id) is type(other.image_id)
        for name in ("boxes_xyxy_px", "classes", "ignore"):
            own, wanted = getattr(one, name), getattr(other, name)
            np.testing.assert_array_equal(own, wanted)
            assert own.dtype == wanted.dtype


PLACES = [slice(3, 30), slice(None, None, -3), slice(8, 8), np.array([5, 5, 0, 39]),
          np.arange(40) % 3 == 0]  # fmt: skip


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_samples_and_views_are_those_they_were_made_of(place: slice | np.ndarray) -> None:
    expected = some_samples()
    samples = Samples(Columns.of(expected))
    assert_same(samples, expected)
    assert_same(samples[-2:], expected[-2:])
    chosen = [expected[i] for i in np.arange(40)[place]]
    view = samples[place]
    assert_same(view, chosen)
    assert_same(Samples(view.columns), chosen)
    assert_same(view[::2], chosen[::2])
    assert_same(pickle.loads(pickle.dumps(view)), chosen)
    assert view.columns.all_paths() == [each.path for each in chosen]
    assert view.columns.all_ids() == [each.image_id for each in chosen]
    assert view.columns.trained.tolist() == [int((~each.ignore).sum()) for each in chosen]


def test_the_object_side_is_the_median_of_the_boxes_that_are_trained_on() -> None:
    boxes = np.array([[0, 0, 10, 40], [0, 0, 20, 20], [5, 5, 25, 15], [0, 0, 80, 100]], np.float32)
    ignore = np.array([False, False, False, True])
    sample = Sample("a.jpg", boxes, np.zeros(4, int), ignore, (80, 100), 0)
    empty = Sample("b.jpg", np.zeros((0, 4), np.float32), np.zeros(0, int), ignore[:0], (9, 9), 1)
    assert Columns.of([empty, sample]).object_side == pytest.approx((400 / 8000) ** 0.5)
    assert Columns.of([empty]).object_side == 0


def test_places_outside_are_errors() -> None:
    samples = Samples(Columns.of(some_samples(3)))
    assert samples[-3].image_id == 7
    for place in (3, -4):
        with pytest.raises(IndexError):
            samples[place]


@pytest.mark.parametrize("kind", [tuple, list, lambda rows: Samples(Columns.of(rows))])
def test_a_data_set_takes_any_sequence(kind: type) -> None:
    rows = some_samples()
    data = Dataset(tuple("abcdefghi"), kind(rows), "train", "x")
    assert_same(data.samples, rows)
    assert_same(data.only([4, 2]).samples, [rows[4], rows[2]])
    assert_same(data.only([]).samples, [])
    wrong = next(each.path for each in rows if 8 in each.classes)
    with pytest.raises(ValueError, match=r"has a class outside 0\.\.7") as caught:
        Dataset(tuple("abcdefgh"), kind(rows), "train", "x")
    assert str(caught.value).startswith(wrong)
