"""Every generated cfg, with random weights, in OpenCV's Darknet importer and in torch."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from ghostyolo import gencfg
from ghostyolo.network import dumps, load
from support.cases import GENERATED
from support.opencv import LIMIT, departures, needs_importer

SIZES = ((128, 96), (160, 160))
VARIANTS = (
    "--neck fpn",
    "--neck none",
    "--neck-width 32 --heads 4,8,16,32",
    "--heads 16,32",
    "--heads 32 --anchors 20,30,40,50",
    "--ratio 4",
    "--ratio 1",
    "--dw-size 5",
    "--dw-size 1",
    "--width 0.35",
)


@needs_importer
@pytest.mark.parametrize("size", SIZES, ids=lambda size: "{}x{}".format(*size))
@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.stem)
def test_generated_cfg(path: Path, size: tuple[int, int], tmp_path: Path) -> None:
    found = departures(load(path), size, tmp_path)
    assert len(found) == (2 if "imagenet" in path.stem else 3)
    assert max(found) < LIMIT, cv2.__version__


@needs_importer
@pytest.mark.parametrize("words", VARIANTS)
def test_variant(words: str, tmp_path: Path) -> None:
    args = gencfg.parser().parse_args(["--width", "0.5", "--classes", "3", *words.split()])
    found = departures(gencfg.build(args, ""), (96, 128), tmp_path)
    assert max(found) < LIMIT, cv2.__version__


@needs_importer
def test_hard_gate_is_refused_as_its_header_says(tmp_path: Path) -> None:
    args = gencfg.parser().parse_args(["--gate", "hard", "--size", "64"])
    path = tmp_path / "hard.cfg"
    path.write_text(dumps(gencfg.build(args, "")))
    assert "OpenCV's Darknet importer refuses this" in path.read_text()
    with pytest.raises(cv2.error):
        cv2.dnn.readNetFromDarknet(str(path))
