"""How a detector errs, held against counts done by hand and against average precision."""

from __future__ import annotations

import numpy as np
import pytest

from ghostyolo.evaluation.average_precision import score
from ghostyolo.evaluation.curves import rank_detections, sweep_thresholds
from ghostyolo.evaluation.error_types import ERROR_TYPES, confusion_matrix, outcomes_of
from ghostyolo.model.detections import Detections
from support.detections import ELSEWHERE, SHIFTED, SQUARE, dataset, found, random_case

BESIDE = (35, 10, 75, 50)  # IoU .23 with SQUARE
FAR = (100, 100, 140, 140)


def kinds(detections: Detections, *truths: tuple) -> tuple[list[str], list[str]]:
    outcome = outcomes_of(detections, dataset(truths).samples[0])
    return list(outcome.detections), list(outcome.truths)


@pytest.mark.parametrize(
    "rows, truths, expected",
    [
        ([(*SHIFTED, 0, 0.9)], [(*SQUARE, 0)], (["correct"], ["correct"])),
        ([(*SHIFTED, 1, 0.9)], [(*SQUARE, 0)], (["wrong class"], ["wrong class"])),
        ([(*BESIDE, 0, 0.9)], [(*SQUARE, 0)], (["poorly localized"], ["poorly localized"])),
        ([(*BESIDE, 1, 0.9)], [(*SQUARE, 0)], (["wrong class and place"],) * 2),
        ([(*FAR, 0, 0.9)], [(*SQUARE, 0)], (["false positive"], ["missed"])),
        ([(*SHIFTED, 0, 0.9)], [(*SQUARE, 0, 1)], (["ignored"], ["ignored"])),
        ([(*FAR, 0, 0.9)], [], (["false positive"], [])),
        ([], [(*SQUARE, 0)], ([], ["missed"])),
    ],
)
def test_one_detection_of_one_truth(rows: list, truths: list, expected: tuple) -> None:
    assert kinds(found(*rows), *truths) == expected


def test_the_better_score_is_right_and_the_other_a_duplicate() -> None:
    twice = found((*SHIFTED, 0, 0.5), (*SQUARE, 0, 0.9))
    assert kinds(twice, (*SQUARE, 0)) == (["duplicate", "correct"], ["correct"])
    beside = found((*SQUARE, 0, 0.9), (*BESIDE, 0, 0.5))
    assert kinds(beside, (*SQUARE, 0)) == (["correct", "false positive"], ["correct"])


def test_right_class_comes_before_the_larger_overlap() -> None:
    seen = found((*SQUARE, 0, 0.9), (*SQUARE, 1, 0.5))
    assert kinds(seen, (*SQUARE, 1), (*SHIFTED, 0)) == (["correct"] * 2, ["correct"] * 2)


def test_a_shared_error_counts_once() -> None:
    outcome = outcomes_of(found((*SQUARE, 1, 0.9)), dataset([(*SQUARE, 0), (*FAR, 0)]).samples[0])
    expected = dict.fromkeys(ERROR_TYPES, 0) | {"wrong class": 1, "missed": 1}
    assert outcome.errors() == expected


def test_confusion_by_hand() -> None:
    data = dataset([(*SQUARE, 0), (*ELSEWHERE, 1), (*FAR, 1, 1)], [(*SQUARE, 0)])
    seen = [
        found((*SQUARE, 0, 0.9), (*ELSEWHERE, 0, 0.8), (*FAR, 1, 0.7)),
        found((*BESIDE, 0, 0.9), (*FAR, 1, 0.3)),
    ]
    outcomes = [outcomes_of(*pair) for pair in zip(seen, data.samples, strict=True)]
    expected = [[1, 0, 1], [1, 0, 0], [1, 1, 0]]
    assert confusion_matrix(seen, data.samples, outcomes, 2).tolist() == expected


@pytest.mark.parametrize("seed", [0, 1])
def test_confusion_counts_everything_once(seed: int) -> None:
    detections, data = random_case(seed, ignore=0.2)
    outcomes = [outcomes_of(*pair) for pair in zip(detections, data.samples, strict=True)]
    matrix = confusion_matrix(detections, data.samples, outcomes, 4)
    for cls in range(4):
        truths = sum(int(((s.classes == cls) & ~s.ignore).sum()) for s in data.samples)
        excused = sum(
            int(((seen.classes == cls) & (outcome.detections == "ignored")).sum())
            for seen, outcome in zip(detections, outcomes, strict=True)
        )
        seen = sum(int((each.classes == cls).sum()) for each in detections)
        assert (matrix[cls].sum(), matrix[:, cls].sum()) == (truths, seen - excused)


@pytest.mark.parametrize("seed", [0, 1])
def test_area_under_the_curve_is_the_average_precision(seed: int) -> None:
    detections, data = random_case(seed, ignore=0.2)
    recall = np.linspace(0, 1, 20001)
    metrics = score(detections, data)
    for ranked, scores in zip(
        rank_detections(detections, data.samples, 4), metrics.classes, strict=True
    ):
        if ranked.truths:
            area = ranked.precision_at(recall[1:]).mean()
            assert area == pytest.approx(scores.voc_area, abs=1e-3)
            eleven = ranked.precision_at(np.arange(11) / 10).mean()
            assert eleven == pytest.approx(scores.voc_11_point)


def test_sweep_counts_what_a_threshold_keeps() -> None:
    detections, data = random_case(0, ignore=0.2)
    curve = sweep_thresholds(
        rank_detections(detections, data.samples, 4), np.array([0, 0.3, 0.6, 1.0])
    )
    truths = sum(int((~s.ignore).sum()) for s in data.samples)
    for at, threshold in enumerate(curve.thresholds):
        kept = [seen[seen.scores >= np.float32(threshold)] for seen in detections]
        ranked = rank_detections(kept, data.samples, 4)
        right, number = (
            sum(int(each.correct.sum()) for each in ranked),
            sum(len(each.correct) for each in ranked),
        )
        assert curve.recall[at] == pytest.approx(right / truths)
        assert curve.f1[at] == pytest.approx(2 * right / (number + truths))
        if number:
            assert curve.precision[at] == pytest.approx(right / number)
        else:
            assert np.isnan(curve.precision[at])


def test_best_threshold_is_the_highest_of_equals() -> None:
    data = dataset([(*SQUARE, 0), (*FAR, 0)])
    seen = [found((*SQUARE, 0, 0.75), (*FAR, 0, 0.5), (*ELSEWHERE, 0, 0.25))]
    curve = sweep_thresholds(rank_detections(seen, data.samples, 2))
    assert (curve.thresholds[curve.best], curve.f1[curve.best]) == pytest.approx((0.5, 1))


def test_scores_have_precision_and_recall_at_the_best_f1() -> None:
    """Of all detections that the best threshold keeps, counted again; 0 and NaN without any."""
    detections, data = random_case(0, ignore=0.2)
    scores = score(detections, data)
    curve = sweep_thresholds(rank_detections(detections, data.samples, 4))
    threshold = np.float32(curve.thresholds[curve.best])
    kept = rank_detections([seen[seen.scores >= threshold] for seen in detections], data.samples, 4)
    right = sum(int(each.correct.sum()) for each in kept)
    assert scores.precision == pytest.approx(right / sum(len(each.correct) for each in kept))
    assert scores.recall == pytest.approx(right / scores.mean.truths)
    wrong = score([found((*ELSEWHERE, 0, 0.9))], dataset([(*SQUARE, 0)]))
    assert (wrong.precision, wrong.recall) == (0, 0)
    assert np.isnan(score([found((*SQUARE, 0, 0.9))], dataset([])).precision)


def test_nothing_at_all() -> None:
    curve = sweep_thresholds(rank_detections([], [], 2))
    assert curve.f1.max() == curve.recall.max() == 0
    assert np.isnan(curve.precision).all()
