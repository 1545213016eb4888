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
    """Visit rows from the best score down; a row falls to any kept row of its class."""
    kept, overlaps = [], overlap(boxes, boxes)
    for row in sorted(range(len(scores)), key=lambda r: -scores[r]):
        rivals = [k for k in kept if classes[k] == classes[row]]
        if all(overlaps[k, row] <= threshold for k in rivals):
            kept.append(row)
    return kept


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


def test_few_boxes_fall_as_they_do_class_by_class() -> None:
    """One matrix for all classes gives what a matrix for each gives."""
    rng = np.random.default_rng(3)
    for count in (1, 20, bx.BLOCK, bx.BLOCK + 1):
        low = rng.random((count, 2), np.float32)
        xyxy = np.concatenate((low, low + 0.5), 1)
        scores, classes = rng.random(count).astype(np.float32), rng.integers(0, 4, count)
        scores[: count // 3] = 0.5  # ties
        alone = [rows[bx.nms(xyxy[rows], scores[rows], classes[rows], 0.4)] for rows in (
            np.flatnonzero(classes == cls) for cls in range(4)
        )]  # fmt: skip
        want = np.concatenate(alone)
        want = want[np.lexsort((want, -scores[want]))]
        np.testing.assert_array_equal(bx.nms(xyxy, scores, classes, 0.4), want)
