"""How a detector errs, held against counts done by hand and against average precision."""

from __future__ import annotations

import numpy as np
import pytest

from ghostyolo.boxes import Detections
from ghostyolo.evaluation.curves import ERRORS, confusion, judge, rank, sweep
from ghostyolo.evaluation.detection import score
from support.detections import ELSEWHERE, SHIFTED, SQUARE, dataset, found, random_case

BESIDE = (35, 10, 75, 50)  # IoU .23 with SQUARE
FAR = (100, 100, 140, 140)


def kinds(detections: Detections, *truths: tuple) -> tuple[list[str], list[str]]:
    verdict = judge(detections, dataset(truths).samples[0])
    return list(verdict.detections), list(verdict.truths)


@pytest.mark.parametrize(
    "rows, truths, expected",
    [
        ([(*SHIFTED, 0, 0.9)], [(*SQUARE, 0)], (["right"], ["right"])),
        ([(*SHIFTED, 1, 0.9)], [(*SQUARE, 0)], (["wrong class"], ["wrong class"])),
        ([(*BESIDE, 0, 0.9)], [(*SQUARE, 0)], (["badly placed"], ["badly placed"])),
        ([(*BESIDE, 1, 0.9)], [(*SQUARE, 0)], (["false"], ["missed"])),
        ([(*FAR, 0, 0.9)], [(*SQUARE, 0)], (["false"], ["missed"])),
        ([(*SHIFTED, 0, 0.9)], [(*SQUARE, 0, 1)], (["ignored"], ["ignored"])),
        ([(*FAR, 0, 0.9)], [], (["false"], [])),
        ([], [(*SQUARE, 0)], ([], ["missed"])),
    ],
)
def test_one_detection_of_one_truth(rows: list, truths: list, expected: tuple) -> None:
    assert kinds(found(*rows), *truths) == expected


def test_the_better_score_is_right_and_the_other_double() -> None:
    twice = found((*SHIFTED, 0, 0.5), (*SQUARE, 0, 0.9))
    assert kinds(twice, (*SQUARE, 0)) == (["double", "right"], ["right"])
    beside = found((*SQUARE, 0, 0.9), (*BESIDE, 0, 0.5))
    assert kinds(beside, (*SQUARE, 0)) == (["right", "false"], ["right"])


def test_right_class_comes_before_the_larger_overlap() -> None:
    seen = found((*SQUARE, 0, 0.9), (*SQUARE, 1, 0.5))
    assert kinds(seen, (*SQUARE, 1), (*SHIFTED, 0)) == (["right"] * 2, ["right"] * 2)


def test_a_shared_error_counts_once() -> None:
    verdict = judge(found((*SQUARE, 1, 0.9)), dataset([(*SQUARE, 0), (*FAR, 0)]).samples[0])
    expected = dict.fromkeys(ERRORS, 0) | {"wrong class": 1, "missed": 1}
    assert verdict.errors() == expected


def test_confusion_by_hand() -> None:
    data = dataset([(*SQUARE, 0), (*ELSEWHERE, 1), (*FAR, 1, 1)], [(*SQUARE, 0)])
    seen = [
        found((*SQUARE, 0, 0.9), (*ELSEWHERE, 0, 0.8), (*FAR, 1, 0.7)),
        found((*BESIDE, 0, 0.9), (*FAR, 1, 0.3)),
    ]
    verdicts = [judge(*pair) for pair in zip(seen, data.samples, strict=True)]
    expected = [[1, 0, 1], [1, 0, 0], [1, 1, 0]]
    assert confusion(seen, data.samples, verdicts, 2).tolist() == expected


@pytest.mark.parametrize("seed", [0, 1])
def test_confusion_counts_everything_once(seed: int) -> None:
    detections, data = random_case(seed, ignore=0.2)
    verdicts = [judge(*pair) for pair in zip(detections, data.samples, strict=True)]
    matrix = confusion(detections, data.samples, verdicts, 4)
    for cls in range(4):
        truths = sum(int(((s.classes == cls) & ~s.ignore).sum()) for s in data.samples)
        excused = sum(
            int(((seen.classes == cls) & (verdict.detections == "ignored")).sum())
            for seen, verdict in zip(detections, verdicts, strict=True)
        )
        seen = sum(int((each.classes == cls).sum()) for each in detections)
        assert (matrix[cls].sum(), matrix[:, cls].sum()) == (truths, seen - excused)


@pytest.mark.parametrize("seed", [0, 1])
def test_area_under_the_curve_is_the_average_precision(seed: int) -> None:
    detections, data = random_case(seed, ignore=0.2)
    recall = np.linspace(0, 1, 20001)
    metrics = score(detections, data)
    for ranked, scores in zip(rank(detections, data.samples, 4), metrics.classes, strict=True):
        if ranked.truths:
            area = ranked.precision_at(recall[1:]).mean()
            assert area == pytest.approx(scores.voc_area, abs=1e-3)
            eleven = ranked.precision_at(np.arange(11) / 10).mean()
            assert eleven == pytest.approx(scores.voc_11_point)


def test_sweep_counts_what_a_threshold_keeps() -> None:
    detections, data = random_case(0, ignore=0.2)
    curve = sweep(rank(detections, data.samples, 4), np.array([0, 0.3, 0.6, 1.0]))
    truths = sum(int((~s.ignore).sum()) for s in data.samples)
    for at, threshold in enumerate(curve.thresholds):
        kept = [seen[seen.scores >= np.float32(threshold)] for seen in detections]
        ranked = rank(kept, data.samples, 4)
        right, number = (
            sum(int(each.hits.sum()) for each in ranked),
            sum(len(each.hits) for each in ranked),
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
    curve = sweep(rank(seen, data.samples, 2))
    assert (curve.thresholds[curve.best], curve.f1[curve.best]) == pytest.approx((0.5, 1))


def test_nothing_at_all() -> None:
    curve = sweep(rank([], [], 2))
    assert curve.f1.max() == curve.recall.max() == 0
    assert np.isnan(curve.precision).all()
