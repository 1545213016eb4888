"""Every golden of the C program: layers, weights, boxes. Large networks: tools/goldens.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ghostyolo import boxes
from ghostyolo.data.images import Placement
from ghostyolo.errors import Diagnostic, Findings
from ghostyolo.layers.head import diou_exponent
from ghostyolo.model import detector
from ghostyolo.network import load
from support import goldens

LARGE = 40_000_000  # floats


def test_no_golden_is_lost() -> None:
    """What a folder no longer holds would be missed by no other test."""
    patterns = {"ops": "*.json", "det": "*.npz", "train": "*.npz", "lr": "*.json"}
    held = {name: len([*(goldens.FOLDER / name).glob(glob)]) for name, glob in patterns.items()}
    assert held == {"ops": 15, "det": 5, "train": 20, "lr": 1}


@goldens.each("ops")
def test_small_network(path: Path) -> None:
    assert not goldens.departures(path)


@goldens.each("zoo")
def test_published_network(path: Path) -> None:
    floats = goldens.read(path)["n_floats"]
    if floats > LARGE:
        pytest.skip(f"{floats:,} floats; tools/goldens.py runs it")
    assert not goldens.departures(path)


@goldens.each("det")
def test_boxes_and_suppression(path: Path) -> None:
    golden, model = goldens.read(path), goldens.model(path)
    held = np.load(path.with_suffix(".npz"))
    heads, size = detector.heads_of(model.network), (golden["h"], golden["w"])
    images = goldens.recipe.input_tensor(1, 3, *size)
    with torch.inference_mode():
        outputs = [out.numpy() for out in model(torch.from_numpy(images))]
    source = golden["img_h"], golden["img_w"]
    where = Placement.of(source, size, bool(golden["letter"]))

    cxcywh, objectness, classes = (part[0] for part in detector.decode(heads, outputs, size))
    sure = objectness > golden["thresh"]
    input_px = boxes.cxcywh_to_xyxy(cxcywh[sure]) * np.array([*size[::-1] * 2], np.float32)
    relative = where.to_source(input_px) / np.array([*source[::-1] * 2], np.float32)
    scores = objectness[sure, None] * classes[sure]
    scores *= scores > golden["thresh"]
    np.testing.assert_allclose(boxes.xyxy_to_cxcywh(relative), held["boxes"], atol=1e-5)
    np.testing.assert_allclose(scores, held["prob"], atol=1e-5)

    rows, labels = np.nonzero(scores)
    names = {"default": "prob_nms_sort", "greedynms": "prob_greedynms", "diounms": "prob_diounms"}
    for kind, name in names.items():
        values = scores[rows, labels]
        kept = boxes.nms(relative[rows], values, labels, golden["nms"], diou_exponent(kind, 0.6))
        left = np.zeros_like(scores)
        left[rows[kept], labels[kept]] = values[kept]
        np.testing.assert_allclose(left, held[name], atol=1e-5, err_msg=kind)

    thresholds = {"thresh": golden["thresh"], "nms": golden["nms"]}
    detect = detector.Detector(model.network, lambda images: outputs, **thresholds)
    found = detect.detections(outputs, [where])[0]
    want = held[names[heads[-1].nms_kind]]
    np.testing.assert_allclose(found.scores, -np.sort(-want[want > 0]), atol=1e-5)
    for thresh, (count, probabilities) in golden["n_at_thresh"].items():
        sure = objectness > float(thresh)
        over = objectness[sure, None] * classes[sure] > float(thresh)
        assert (sure.sum(), over.sum()) == (count, probabilities)


@goldens.each("zoo")
def test_published_cfg_has_no_error(path: Path) -> None:
    found: list[Diagnostic] = []
    load(goldens.cfg_of(path), findings=Findings(found.append))
    assert [finding for finding in found if finding.severity == "error"] == []
