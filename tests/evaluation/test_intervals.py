"""Comparisons: scores of drawn pictures against the scorer of val, and what chance is called."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from ghostyolo.data import Dataset
from ghostyolo.evaluation.average_precision import score
from ghostyolo.evaluation.diagnosis import diagnose
from ghostyolo.evaluation.error_types import CORRECT
from ghostyolo.evaluation.intervals import SCORES, combined, compared, draw, intervals_of
from ghostyolo.evaluation.intervals import scores as scores_of
from ghostyolo.model.detections import Detections
from support.detections import ELSEWHERE, SHIFTED, SQUARE, dataset, found, random_case

FIELDS = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
Found = list[Detections]


def expected(detections: Found, data: Dataset) -> np.ndarray:
    """Return the scores of val in the order of `comparison.scores`, (6, 1 + classes)."""
    metrics = score(detections, data)
    rows = (metrics.mean, *metrics.classes)
    return np.array([[getattr(row, field) for row in rows] for field in FIELDS])


def worse(detections: Found, noise: float, seed: int = 0) -> Found:
    """Return detections whose boxes are moved at random. noise: in parts of their sides."""
    rng = np.random.default_rng(seed)
    moved = []
    for each in detections:
        sides = np.tile(each.boxes[:, 2:] - each.boxes[:, :2], 2)
        boxes = each.boxes + noise * sides * rng.normal(size=each.boxes.shape)
        moved.append(replace(each, boxes=boxes))
    return moved


@pytest.mark.parametrize("ignore", [0, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_each_picture_once_has_the_scores_of_val(seed: int, ignore: float) -> None:
    detections, data = random_case(seed, ignore)
    once = scores_of(detections, data, np.ones((1, len(data)), np.int32))[0]
    assert once == pytest.approx(expected(detections, data), abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("seed", range(3))
def test_drawn_pictures_have_the_scores_of_a_data_set_of_them(seed: int) -> None:
    detections, data = random_case(seed, ignore=0.2)
    weights = draw(len(data), 3).weights
    assert weights.sum(1).tolist() == [len(data)] * 4
    for row, own in zip(weights, scores_of(detections, data, weights), strict=True):
        pictures = np.repeat(np.arange(len(data)), row)
        drawn = [detections[picture] for picture in pictures]
        assert own == pytest.approx(expected(drawn, data.only(pictures)), abs=1e-12, nan_ok=True)


def test_a_model_does_not_differ_from_itself() -> None:
    detections, data = random_case(0, ignore=0.2)
    sides, (difference,) = compared([[detections]] * 2, data, 100)
    assert np.nanmax(np.abs((difference.low, difference.high))) == 0
    assert np.nanmin(difference.chance) == 1
    assert sides[0].value == pytest.approx(expected(detections, data), nan_ok=True)
    assert np.isnan(difference.of("AP", data.names.index("nobody"))).all()


def test_intervals_hold_the_score_and_narrow_with_more_pictures() -> None:
    detections, data = random_case(0, ignore=0.2)
    (own,), _ = compared([[detections]], data)
    value, low, high = own.of("AP")
    assert 0 <= low < value < high <= 1
    assert intervals_of(detections, data) == {
        name: own.of(name)[1:] for name in ("AP", "AP50", "AP75")
    }
    many = data.only(np.tile(np.arange(len(data)), 9))
    ends = intervals_of(detections * 9, many)["AP"]
    assert ends[1] - ends[0] == pytest.approx((high - low) / 3, rel=0.15)


def test_a_worse_model_is_told_from_chance() -> None:
    detections, data = random_case(0, ignore=0)
    _, (difference,) = compared([[detections], [worse(detections, 0.3)]], data, 400)
    value, low, high = difference.of("AP")
    assert low < value < high < 0
    assert difference.chance[SCORES.index("AP"), 0] < 0.01


@pytest.mark.parametrize("pictures", [5, 30])
def test_chance_is_seldom_called_a_difference(pictures: int) -> None:
    """Of 100 draws in which the sides are exchanged at random, picture by picture, five or so."""
    detections, data = random_case(0, ignore=0)
    both = [worse(detections, 0.1, 1), worse(detections, 0.1, 2)]
    rng, called = np.random.default_rng(0), 0
    for _ in range(100):
        drawn = rng.permutation(len(data))[:pictures]
        swapped = rng.integers(0, 2, pictures)
        sides = [[both[swap ^ side][i] for i, swap in zip(drawn, swapped)] for side in (0, 1)]  # noqa: B905
        _, (difference,) = compared([[side] for side in sides], data.only(drawn), 100)
        _, low, high = difference.of("AP")
        called += low > 0 or high < 0
    assert called <= 10


def test_seeds_that_differ_widen_the_intervals_of_both_sides() -> None:
    detections, data = random_case(0, ignore=0)
    seeds = [worse(detections, 0.1, seed) for seed in range(3)]
    alike, _ = compared([[seeds[0]] * 3, [seeds[0]]], data, 400)
    apart, (difference,) = compared([seeds, [seeds[0]]], data, 400)

    def width(side: int) -> tuple[float, float]:
        ends = [each[side].of("AP")[1:] for each in (alike, apart)]
        return ends[0][1] - ends[0][0], ends[1][1] - ends[1][0]

    assert width(0)[1] > 1.05 * width(0)[0] and width(1)[1] > 1.05 * width(1)[0]
    mean = np.mean([score(each, data).mean.ap for each in seeds])
    assert apart[0].of("AP")[0] == pytest.approx(mean)
    assert difference.of("AP")[0] == pytest.approx(score(seeds[0], data).mean.ap - mean)


@pytest.mark.parametrize("seeds", [(2, 2), (3, 3), (4, 1)])
def test_chance_of_seeds_is_seldom_called_a_difference(seeds: tuple[int, int]) -> None:
    """Of 200 comparisons of made-up scores, whose pictures and seeds differ by chance, ten."""
    rng, called = np.random.default_rng(0), 0
    draws = draw(40, 100)
    for _ in range(200):
        both = rng.normal(0.5, 0.2, 40)
        models = [
            [
                draws.weights @ (both + rng.normal(rng.normal(0, 0.02), 0.05, 40)) / 40
                for _ in range(count)
            ]
            for count in seeds
        ]
        rows = [[model[:, None, None] for model in side] for side in models]
        _, (difference,) = combined(rows, draws)
        called += bool(difference.low[0, 0] > 0 or difference.high[0, 0] < 0)
    assert 2 <= called <= 20


def test_nothing_to_find_has_no_intervals() -> None:
    _, data = random_case(0, ignore=1)
    none = [Detections.empty()] * len(data)
    assert intervals_of(none, data) == {}
    assert intervals_of([found((*SQUARE, 0, 0.9))], dataset([(*SQUARE, 0)])) == {}


def test_box_sizes_by_hand() -> None:
    """Of each truth the most confident box counts that means it, and no other truth more."""
    wide = (10, 10, 90, 50)  # twice as wide as SQUARE, IoU .5
    data = dataset([(*SQUARE, 0), (*ELSEWHERE, 1)], [(*SQUARE, 0), (*ELSEWHERE, 0, 1)])
    seen = [
        found((*wide, 0, 0.9), (*SQUARE, 0, 0.5), (*SHIFTED, 1, 0.9)),
        found((10, 10, 30, 50, 0, 0.2), (*ELSEWHERE, 0, 0.9)),  # half as wide
    ]
    sizes = diagnose(seen, data.samples, 2).sizes
    assert (sizes[0].truths, sizes[0].w, sizes[0].h) == (2, 1.25, 1)
    assert sizes[1].truths == 0 and math.isnan(sizes[1].w)


def test_shares_of_errors_add_up() -> None:
    detections, data = random_case(0, ignore=0.2)
    own = diagnose(detections, data.samples, 4)
    assert sum(own.shares.values()) == pytest.approx(1)
    right = sum(int((each.detections == CORRECT).sum()) for each in own.outcomes)
    assert own.counts[CORRECT] == right > 0
    errors = own.as_dict(data.names)["errors"]
    assert [errors[kind]["count"] for kind in errors] == [own.counts[kind] for kind in errors]
    perfect = diagnose([found((*SQUARE, 0, 0.9))], dataset([(*SQUARE, 0)]).samples, 2)
    assert set(perfect.shares.values()) == {0}
