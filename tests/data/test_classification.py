"""Data sets for classifiers: folders, lists, and the class that a path names."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest

from ghostyolo.data import Dataset, open_classification
from ghostyolo.data.classification import class_in
from ghostyolo.errors import DataError
from support import pictures

NAMES = "blue\ngreen\nred\n"


def held(data: Dataset) -> dict[str, set[str]]:
    """Return the files of each class by its name."""
    found: dict[str, set[str]] = {name: set() for name in data.names}
    for sample in data.samples:
        found[data.names[sample.classes[0]]].add("/".join(Path(sample.path).parts[-2:]))
    return found


def lists(
    folder: Path, lines: list[str], names: str = "blue\ngreen\nred\n", more: str = ""
) -> Path:
    (folder / "train.txt").write_text("".join(f"{line}\n" for line in lines))
    (folder / "labels.txt").write_text(names)
    (folder / "my.data").write_text(f"train = train.txt\nlabels = labels.txt\n{more}")
    return folder / "my.data"


def test_folders_of_splits(tmp_path: Path) -> None:
    root = pictures.folders(tmp_path / "set", {"train": 4, "valid": 2})
    (root / "train/red/notes.txt").write_text("no picture")
    train, val = open_classification(root, "train"), open_classification(root, "val")
    assert train.names == val.names == ("blue", "green", "red")
    assert (len(train), len(val)) == (12, 6)
    assert held(val) == {name: {f"{name}/0.png", f"{name}/1.png"} for name in val.names}
    for sample in train.samples:
        h, w = sample.size
        np.testing.assert_array_equal(sample.boxes_xyxy_px, [[0, 0, w, h]])
    with pytest.raises(DataError, match=r"there is no split 'test'; use one of: train, val"):
        open_classification(root, "test")


def test_classes_are_those_of_all_splits(tmp_path: Path) -> None:
    """One that validation lacks moves no other's number."""
    root = pictures.folders(tmp_path / "set")
    for path in (root / "val/blue").iterdir():
        path.unlink()
    (root / "val/blue").rmdir()
    val = open_classification(root, "val")
    assert val.names == ("blue", "green", "red")
    assert {int(sample.classes[0]) for sample in val.samples} == {1, 2}


def test_a_class_may_have_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    """It can be written into a file of names."""
    root = pictures.folders(tmp_path / "set", {"train": 2})
    os.rename(root / "train/red", os.fsencode(root) + b"/train/r\xe9d")
    data = open_classification(root, "train")
    assert [name.encode() for name in data.names] == [b"blue", b"green", b"r?d"]


def test_folders_without_splits_are_split_alike_each_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    roots = [pictures.folders(tmp_path / name, {"": 11}) for name in ("here", "there")]
    with caplog.at_level(logging.WARNING):
        train, val = (open_classification(roots[0], split) for split in ("train", "val"))
    (told,) = caplog.messages
    assert f"{roots[0]}: no splits, so val is 6 of its 33 pictures, chosen" in told
    assert "uses the other 27; to choose yourself, make folders train and val" in told
    for name in train.names:
        assert len(held(val)[name]) == 2
        assert held(train)[name] | held(val)[name] == {f"{name}/{i}.png" for i in range(11)}
        assert not held(train)[name] & held(val)[name]
    assert held(open_classification(roots[1], "val")) == held(val)


def test_defects_are_counted(tmp_path: Path) -> None:
    root = pictures.folders(tmp_path / "set")
    (root / "train/red/0.png").write_bytes(b"no picture")
    (root / "train/grey").mkdir()
    train = open_classification(root, "train")
    assert train.names == ("blue", "green", "grey", "red")
    assert train.defects == {"unreadable picture": 1, "class without pictures": 1}
    assert len(train) == 17


def test_given_names_decide_the_numbers(tmp_path: Path) -> None:
    root = pictures.folders(tmp_path / "set")
    train = open_classification(root, "train", ["red", "green", "blue"])
    assert {s.classes[0] for s in train.samples if "/red/" in s.path} == {0}
    with pytest.raises(DataError, match=r"green: unknown class green \(2 classes\)"):
        open_classification(root, "train", ["red", "blue"])


@pytest.mark.parametrize(
    ("entry", "cls", "defect"),
    [
        ("data/cat/1.jpg", 0, ""),
        ("data/1_cat.jpg", 0, ""),
        ("data/concatenated/1.jpg", 0, ""),  # as Darknet does
        ("data/dog/1.jpg", 2, ""),
        ("data/bird/1.jpg", None, "no class in the path"),
        ("data/catfish/1.jpg", 1, "several classes in the path, taken for the folder's"),
        ("data\\catfish\\1.jpg", 1, "several classes in the path, taken for the folder's"),
        ("data/cat/dog-1.jpg", 0, "several classes in the path, taken for the folder's"),
        ("data/cat/dog/1.jpg", None, "several classes in the path"),
        ("data/cat-dog.jpg", None, "several classes in the path"),
    ],
)
def test_class_that_a_path_names(entry: str, cls: int | None, defect: str) -> None:
    assert class_in(entry, ["cat", "catfish", "dog"]) == (cls, defect)


def test_lists(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = pictures.folders(tmp_path / "set", {"all": 2})
    lines = [f"set/all/{name}/{i}.png" for name in pictures.COLOURS for i in range(2)]
    for odd in ("all/1.png", "red-green.png"):
        pictures.write(root / odd, np.zeros((8, 8, 3), np.uint8))
    with caplog.at_level(logging.INFO):
        data = open_classification(
            lists(tmp_path, [*lines, "set/all/1.png", "set/red-green.png", lines[0]])
        )
    assert held(data) == {n: {f"{n}/0.png", f"{n}/1.png"} for n in pictures.COLOURS}
    assert data.defects == {
        "no class in the path": 1, "several classes in the path": 1, "picture listed twice": 1,
    }  # fmt: skip
    assert f"{tmp_path}/train.txt:7: no class in the path" in caplog.text
    assert f"{tmp_path}/train.txt:8: several classes in the path" in caplog.text


def test_names_are_what_labels_are_called(tmp_path: Path) -> None:
    pictures.folders(tmp_path / "set", {"all": 1})
    file = lists(
        tmp_path, [f"set/all/{name}/0.png" for name in pictures.COLOURS], more="names = n\n"
    )
    (tmp_path / "n").write_text("sea\nleaf\nblood\n")
    assert open_classification(file).names == ("sea", "leaf", "blood")
    (tmp_path / "n").write_text("sea\nleaf\n")
    with pytest.raises(DataError, match=r"my.data: 3 classes, but there are 2 names; make"):
        open_classification(file)


@pytest.mark.parametrize("called", ["", "names = n\n"])
def test_given_names_reorder_those_of_a_list(called: str, tmp_path: Path) -> None:
    """A network trained on folders has the classes in the order of the alphabet."""
    pictures.folders(tmp_path / "set", {"all": 1})
    lines = [f"set/all/{name}/0.png" for name in pictures.COLOURS]
    file = lists(tmp_path, lines, names="red\ngreen\nblue\n", more=called)
    (tmp_path / "n").write_text("blood\nleaf\nsea\n")
    names = ("sea", "blood", "leaf") if called else ("blue", "red", "green")
    data = open_classification(file, names=names)
    assert data.names == names
    assert list(held(data).values()) == [{f"{c}/0.png"} for c in ("blue", "red", "green")]


def test_what_is_no_data_set_for_a_classifier(tmp_path: Path) -> None:
    pictures.folders(tmp_path / "set", {"": 1})
    file = lists(tmp_path, ["set/red/0.png"], names="RBC\nWBC\n")
    message = r"train.txt: none of 1 paths contains a class name, such as 'RBC'; put pictures of"
    with pytest.raises(DataError, match=message):
        open_classification(file)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: no folder of a class in it; give a folder with"):
        open_classification(tmp_path / "empty")
    with pytest.raises(DataError, match=r"train.txt: it is no data set for a classifier; give"):
        open_classification(tmp_path / "train.txt")
