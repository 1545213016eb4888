"""The builder of data sets of COCO's and VOC's size, on a thousandth of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pycocotools.coco import COCO

from ghostyolo import open_dataset
from support import ROOT

COMMAND = [sys.executable, str(ROOT / "tools/coco_size.py")]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("size")
    subprocess.run([*COMMAND, str(folder), "--scale", "0.002"], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize(("split", "pictures", "boxes"), [("train", 237, 1720), ("val", 10, 74)])
def test_txt(built: Path, split: str, pictures: int, boxes: int) -> None:
    data = open_dataset(built / "txt", split)
    assert (len(data), sum(len(sample.classes) for sample in data.samples)) == (pictures, boxes)
    assert len(data.names) == 80 and set(data.defects) <= {"missing label file"}


@pytest.mark.parametrize(("split", "pictures", "boxes"), [("train", 237, 1720), ("val", 10, 74)])
def test_coco(built: Path, split: str, pictures: int, boxes: int) -> None:
    data = open_dataset(built / "coco", split)
    assert (len(data), sum(len(sample.classes) for sample in data.samples)) == (pictures, boxes)
    assert len(data.names) == 80 and not data.defects
    file = COCO(built / f"coco/annotations/instances_{split}2017.json")
    assert (len(file.imgs), len(file.anns)) == (pictures, boxes)
    assert max(file.cats) == 90


def test_records_have_the_length_of_the_real_ones(built: Path) -> None:
    """Of 508 MB and 860,001 boxes."""
    file = built / "coco/annotations/instances_train2017.json"
    assert 500 < file.stat().st_size / len(json.loads(file.read_text())["annotations"]) < 700


@pytest.mark.parametrize(("split", "pictures"), [("trainval", 33), ("test", 10)])
def test_voc(built: Path, split: str, pictures: int) -> None:
    data = open_dataset(built / "voc", split)
    assert len(data) == pictures and not data.defects


def test_a_folder_with_files_is_refused(built: Path) -> None:
    done = subprocess.run([*COMMAND, str(built)], capture_output=True, text=True)
    assert done.returncode == 2 and "has files" in done.stderr
