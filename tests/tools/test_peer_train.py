"""What the training of a peer reads and writes; the tests have no peer installed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from ghostyolo.data import open_dataset
from ghostyolo.evaluation.validation import score
from support import ROOT, tiny

sys.path.insert(0, str(ROOT / "tools"))

import experiments
import peer_train


def test_the_peer_reads_the_same_boxes(tmp_path: Path) -> None:
    data = tiny.pictures(tmp_path / "shapes")
    sets = {split: open_dataset(data, split) for split in ("train", "val")}
    for _ in range(2):  # as when a training goes on
        peer_train.yolo_layout(sets, tmp_path / "out")
    for split, own in sets.items():
        read = open_dataset(tmp_path / "out/data.yaml", split)
        assert read.names == own.names
        order = sorted(own.samples, key=lambda sample: Path(sample.path).name)
        for sample, expected in zip(read.samples, order, strict=True):
            assert Path(sample.path).resolve() == Path(expected.path).resolve()
            np.testing.assert_allclose(sample.boxes_xyxy_px, expected.boxes_xyxy_px, atol=1e-3)
            assert sample.classes.tolist() == expected.classes.tolist()


def test_perfect_detections_score_1(tmp_path: Path) -> None:
    dataset = open_dataset(tiny.pictures(tmp_path / "shapes"), "val")
    rows = {
        Path(s.path).name: [s.boxes_xyxy_px.tolist(), [0.9] * len(s.classes), s.classes.tolist()]
        for s in dataset.samples
    }
    (tmp_path / "val.json").write_text(json.dumps(rows))
    found = peer_train._read_detections(tmp_path / "val.json", dataset)
    assert score(found, dataset).row()["AP"] == pytest.approx(1)


def test_a_plan_names_peers_and_their_options(tmp_path: Path) -> None:
    plan = yaml.safe_load(
        "{sets: {a: data}, seeds: [3], settings: {own: {}, other: {peer: yolo11n --epochs 9}},"
        " peer: --peer python}"
    )
    own, other = experiments.planned(plan, tmp_path)
    assert [words[:3] for words in own.commands(tmp_path)] == [
        ["-m", "ghostyolo", "gencfg"],
        ["-m", "ghostyolo", "train"],
    ]
    (words,) = other.commands(tmp_path)
    assert words[0].endswith("tools/peer_train.py")
    expected = (
        f"{tmp_path}/data yolo11n --epochs 9 --peer python --out {tmp_path}/other-a-3 --seed 3"
    )
    assert words[1:] == expected.split()
