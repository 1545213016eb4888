"""The number of candidates that suppression gets, which no detection depends on."""

from __future__ import annotations

import numpy as np
import pytest

from ghostyolo.data.images import Placement
from ghostyolo.model import detector
from ghostyolo.model.detections import Detections
from ghostyolo.model.detector import Detector, best_above
from ghostyolo.network import loads
from support import tiny

PLACES = [Placement.of((48, 80), (64, 64), letterbox=False)] * 3


def outputs(rng: np.random.Generator, boxes: str) -> list[np.ndarray]:
    """Return what a runtime computes for three pictures, with ties; the second has nothing."""
    if boxes:
        low = 64 * rng.random((3, 90, 2))
        found = [np.concatenate((low, low + 20), 2), rng.random((3, 90, 6)).round(2)]
    else:
        found = [rng.random((3, 22, 4, 4)).round(1)]
    found[-1][1] = 0
    return [each.astype(np.float32) for each in found]


def equal(a: Detections, b: Detections) -> bool:
    pairs = ((a.boxes, b.boxes), (a.scores, b.scores), (a.classes, b.classes))
    return all(np.array_equal(*pair) for pair in pairs)


@pytest.mark.parametrize("boxes", ["", "xyxy", "cxcywh"])
@pytest.mark.parametrize("kind", ["default", "greedynms"])
def test_detections_are_the_first_of_all_whatever_candidates_come_first(
    boxes: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = loads(tiny.CFG + f"nms_kind={kind}\n")
    given = outputs(np.random.default_rng(5), boxes)

    def found(most: int | None) -> list[Detections]:
        chosen = Detector(network, lambda _: given, thresh=0.001, max_detections=most, boxes=boxes)
        return chosen.detections(given, PLACES)

    every = found(None)
    assert len(every[0]) > 20
    assert len(every[1]) == 0
    for first in (1, 5, 30, 1024):
        monkeypatch.setattr(detector, "CANDIDATES", first)
        for most in (0, 1, 10, len(every[0]), 1000):
            for all_, some in zip(every, found(most), strict=True):
                assert equal(some, all_[:most])


def test_suppression_gets_few_of_very_many_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that has learned nothing has a candidate for each box and class."""
    network = loads(tiny.CFG.replace("classes=6", "classes=500").replace("=22", "=1010"))
    given = [np.random.default_rng(6).random((3, 1010, 4, 4), np.float32)]
    counts, nms = [], detector.nms
    monkeypatch.setattr(detector, "nms", lambda *args: counts.append(len(args[1])) or nms(*args))
    chosen = Detector(network, lambda _: given, thresh=0.001, max_detections=300)
    assert [len(each) for each in chosen.detections(given, PLACES)] == [300] * 3
    assert counts == [detector.CANDIDATES] * 3


def test_best_candidates_are_those_of_a_stable_sort() -> None:
    rng = np.random.default_rng(7)
    scores = rng.random((40, 7)).round(1).astype(np.float32)
    scores[3, 2:5] = np.nan
    every = best_above(scores, 0.25)
    rows, classes = np.nonzero(scores > 0.25)
    for got, want in zip(every, (rows, classes, scores[rows, classes]), strict=True):
        np.testing.assert_array_equal(got, want)
    for count in (1, 2, 50, len(rows) - 1, len(rows), 1000):
        kept = np.sort(np.argsort(-every[2], kind="stable")[:count])
        for got, all_ in zip(best_above(scores, 0.25, count), every, strict=True):
            np.testing.assert_array_equal(got, all_[kept])
