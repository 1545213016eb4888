"""The hold-out of a data set without a split val: which pictures, and what is no hold-out."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from ghostyolo.data import Dataset, open_classification, open_dataset
from ghostyolo.data.hold_out import HOLD_OUT, hold_out, remaining
from ghostyolo.errors import DataError
from support import pictures

NAMES = ("ring",)
COPIES = 3  # that Roboflow made of each picture


def folders(root: Path, *splits: str, count: int = 10) -> Path:
    """Write pictures and labels, each picture in copies of different content."""
    rng = np.random.default_rng(0)
    for split in splits:
        for number in range(COPIES * count):
            name = f"{number // COPIES}_jpg.rf.{number:032x}"
            pictures.write(root / split / "images" / f"{name}.png", rng.integers(0, 255, (8, 8, 3)))
            label = root / split / "labels" / f"{name}.txt"
            label.parent.mkdir(exist_ok=True)
            label.write_text("0 .5 .5 .5 .5\n")
    return root


def names(data: Dataset) -> list[str]:
    return [Path(sample.path).name for sample in data.samples]


def originals(data: Dataset) -> set[str]:
    return {name.partition("_")[0] for name in names(data)}


def test_one_picture_in_five_is_held_out_with_its_copies(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Always the same, wherever the folder is; train stays whole until it is trained on."""
    data = folders(tmp_path / "here", "train", "test")
    train, val = open_dataset(data, "train", NAMES), open_dataset(data, "valid", NAMES)
    assert len(open_dataset(data, "val", NAMES)) == 6
    (told,) = caplog.messages
    assert f"{data}: no split val, so val is 6 of the 30 pictures of train, chosen by" in told
    assert "uses the other 24; to choose yourself, add a split val" in told
    assert (len(train), len(val), val.split) == (30, 6, HOLD_OUT)
    rest = remaining(train, val)
    assert sorted(names(rest) + names(val)) == sorted(names(train))
    assert (len(originals(rest)), len(originals(val))) == (8, 2)
    assert not originals(rest) & originals(val)
    assert remaining(train, None) is train and remaining(train, rest) is train
    moved = shutil.move(data, tmp_path / "there")
    assert names(open_dataset(moved, "val", NAMES)) == names(val)


def test_files_of_the_same_bytes_are_held_out_together(tmp_path: Path) -> None:
    data = folders(tmp_path, "train")
    first, *_ = names(open_dataset(data, "val", NAMES))
    for number in range(3):
        copy = f"copy {number}.png"
        shutil.copy(data / "train/images" / first, data / "train/images" / copy)
    val = names(hold_out(open_dataset(data, "train", NAMES)))
    assert {first, "copy 0.png", "copy 1.png", "copy 2.png"} < {*val}


@pytest.mark.parametrize("splits", [("train", "dev"), ("test",), ("trainval", "test")])
def test_val_is_missing_where_it_may_have_another_name(
    splits: tuple[str, ...], tmp_path: Path
) -> None:
    data = folders(tmp_path, *splits, count=1)
    with pytest.raises(DataError, match="no split 'val'; use one of"):
        open_dataset(data, "val", NAMES)


def test_single_picture_is_not_held_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no split 'val'; use one of: train"):
        open_dataset(folders(tmp_path, "train", count=1), "val", NAMES)


def test_pictures_of_every_class_are_held_out(tmp_path: Path) -> None:
    data = pictures.folders(tmp_path, {"train": 6})
    val = open_classification(data, "val")
    assert [int(sample.classes[0]) for sample in val.samples] == [0, 1, 2]
    assert len(remaining(open_classification(data), val)) == 15
