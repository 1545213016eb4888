"""Geometry against Darknet's own numbers, and suppression against the rule spelled out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ghostyolo import boxes as bx
from ghostyolo.errors import CfgError
from ghostyolo.layers.head import diou_exponent
from ghostyolo.network import loads
from support import goldens

# Darknet's C code: prediction and truth (cx, cy, w, h), then iou, giou, diou, ciou.
VECTORS = np.array(
    [
        [0.5, 0.5, 0.4, 0.3, 0.55, 0.45, 0.3, 0.5, 0.5, 0.4, 0.428926, 0.481242],
        [0.2, 0.2, 0.1, 0.1, 0.7, 0.8, 0.2, 0.3, 0, -0.865385, -0.716804, -0.574363],
        [0.5, 0.5, 0.2, 0.2, 0.5, 0.5, 0.4, 0.2, 0.5, 0.5, 0.5, 0.496752],
    ]
)


def random_boxes(rng: np.random.Generator, n: int) -> np.ndarray:
    return bx.cxcywh_to_xyxy(np.concatenate((rng.random((n, 2)), rng.random((n, 2)) / 4), 1))


def literal_nms(
    boxes: np.ndarray,
    scores: np.ndarray,
    classes: np.ndarray,
    threshold: float,
    overlap: Callable,
) -> list[int]:
    """Visit rows from the best score down; a row that is kept strikes out others of its class."""
    kept, left, overlaps = [], np.ones(len(scores), bool), overlap(boxes, boxes)
    for row in sorted(range(len(scores)), key=lambda r: -scores[r]):
        if left[row]:
            kept.append(row)
            left &= ~((overlaps[row] > threshold) & (classes == classes[row]))
    return kept


def made_boxes(rng: np.random.Generator, kind: str, n: int) -> np.ndarray:
    """Return n boxes of one of the ways in which networks lay them, in single precision."""
    if kind == "heaps":
        rows = random_boxes(rng, 1 + n // 40)[rng.integers(0, 1 + n // 40, n)]
        boxes = rows + rng.normal(0, 0.004, (n, 4))
    elif kind == "equal":
        boxes = random_boxes(rng, 5)[rng.integers(0, 5, n)]
    elif kind == "degenerate":  # without area, turned inside out, overflowing, not numbers
        boxes = rng.integers(0, 4, (n, 4)) / 4.0
        boxes[::7] *= 1e30
        boxes[3::11, 1] = np.nan
    elif kind == "grains":  # no larger than a few steps of single precision
        boxes = 1000 + np.spacing(np.float32(1000)) * rng.integers(0, 12, (n, 4))
    else:
        boxes = random_boxes(rng, n)
    return boxes.astype(np.float32)


@pytest.mark.parametrize(("column", "function"), [*enumerate((bx.iou, bx.giou, bx.diou, bx.ciou))])
def test_family_is_darknets(column: int, function: Callable) -> None:
    got = function(bx.cxcywh_to_xyxy(VECTORS[:, :4]), bx.cxcywh_to_xyxy(VECTORS[:, 4:8]))
    assert got.shape == (3, 3)
    np.testing.assert_allclose(np.diag(got), VECTORS[:, 8 + column], atol=1e-6)


def test_family_is_darknets_on_sixty_pairs() -> None:
    rows = goldens.read(goldens.FOLDER / "train/box_functions.json")["rows"]
    table = np.array([row[:13] for row in rows])
    a, b = bx.cxcywh_to_xyxy(table[:, :4]), bx.cxcywh_to_xyxy(table[:, 4:8])
    for column, function in enumerate((bx.iou, bx.giou, bx.diou, bx.ciou, bx.diou), 8):
        np.testing.assert_allclose(np.diag(function(a, b)), table[:, column], atol=1e-5)


def test_family_is_one_on_itself_and_symmetric() -> None:
    boxes = random_boxes(np.random.default_rng(0), 20)
    for function in (bx.iou, bx.giou, bx.diou, bx.ciou):
        matrix = function(boxes, boxes)
        np.testing.assert_allclose(np.diag(matrix), 1)
        np.testing.assert_allclose(matrix, matrix.T)


def test_boxes_without_area_have_no_overlap() -> None:
    point = np.full((1, 4), 0.5)
    for function in (bx.iou, bx.giou, bx.diou, bx.ciou):
        assert function(point, point) == 0


def test_formats_round_trip() -> None:
    boxes = random_boxes(np.random.default_rng(1), 50)
    np.testing.assert_allclose(bx.cxcywh_to_xyxy(bx.xyxy_to_cxcywh(boxes)), boxes)


@pytest.mark.parametrize(
    ("kind", "beta"), [("default", 0.6), ("cornersnms", 0.6), ("greedynms", 0.1), ("diounms", 0.9)]
)
def test_nms_obeys_the_rule(kind: str, beta: float) -> None:
    rng = np.random.default_rng(2)
    boxes, classes = random_boxes(rng, 700), rng.integers(0, 2, 700)
    scores = rng.random(700).round(2)  # many ties
    power = {"greedynms": 0.6, "diounms": beta}.get(kind)
    overlap = bx.iou if power is None else lambda a, b: bx.diou(a, b, power)
    got = bx.nms(boxes, scores, classes, 0.3, diou_exponent(kind, beta))
    assert got.tolist() == literal_nms(boxes, scores, classes, 0.3, overlap)


def test_nms_threshold_is_strict() -> None:
    boxes = np.array([[0, 0, 2, 1], [0, 0, 1, 1.0]])
    scores, classes = np.array([0.9, 0.8]), np.zeros(2)
    assert bx.nms(boxes, scores, classes, 0.5).tolist() == [0, 1]
    assert bx.nms(boxes, scores, classes, 0.49).tolist() == [0]
    assert bx.nms(boxes, scores, np.array([0, 1]), 0.49).tolist() == [0, 1]


def test_nms_of_nothing() -> None:
    assert len(bx.nms(np.zeros((0, 4)), np.zeros(0), np.zeros(0), 0.5)) == 0


def test_nms_refuses_an_unknown_kind() -> None:
    head = "[convolutional]\nfilters=255\nactivation=linear\n[yolo]\nnum=3\nclasses=80\n"
    with pytest.raises(CfgError, match="unknown nms_kind 'softnms'"):
        loads("[net]\nwidth=8\nheight=8\nchannels=3\n" + head + "nms_kind=softnms\n")


@goldens.each("det", "*.npz")
@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("default", "prob_nms_sort"),
        ("greedynms", "prob_greedynms"),
        ("diounms", "prob_diounms"),
    ],
)
def test_nms_is_darknets(path: Path, kind: str, key: str) -> None:
    golden = np.load(path)
    prob, boxes = golden["prob"], bx.cxcywh_to_xyxy(golden["boxes"])
    row, column = np.nonzero(prob)
    kept = bx.nms(boxes[row], prob[row, column], column, 0.45, diou_exponent(kind, 0.6))
    got = np.zeros_like(prob)
    got[row[kept], column[kept]] = prob[row[kept], column[kept]]
    np.testing.assert_array_equal(got, golden[key])


@pytest.mark.parametrize("kind", ["spread", "heaps", "equal", "degenerate", "grains"])
@pytest.mark.parametrize("exponent", [None, 0.6, 1.2])
def test_nms_of_many_classes_together_is_the_literal_one(
    kind: str, exponent: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in many rounds and parts, with classes of all sizes."""
    rng = np.random.default_rng(4)
    overlap = bx.iou if exponent is None else lambda a, b: bx.diou(a, b, exponent)
    for leaders, part, pairs in ((2, 3, 40), (8, 10, 2000), (bx.LEADERS, bx.PART, bx.PAIRS)):
        monkeypatch.setattr(bx, "LEADERS", leaders)
        monkeypatch.setattr(bx, "PART", part)
        monkeypatch.setattr(bx, "PAIRS", pairs)
        for n, count in ((1, 1), (150, 1), (150, 3), (150, 40), (150, 400)):
            boxes, scores = made_boxes(rng, kind, n), rng.random(n).astype(np.float32)
            scores[: n // 2] = scores[: n // 2].round(1)  # ties
            classes = (count * rng.random(n) ** 2).astype(int)  # the first are larger
            for threshold in (0.0, 0.45, 0.9):
                with np.errstate(over="ignore", invalid="ignore"):
                    got = bx.nms(boxes, scores, classes, threshold, exponent)
                    want = literal_nms(boxes, scores, classes, threshold, overlap)
                assert got.tolist() == want
