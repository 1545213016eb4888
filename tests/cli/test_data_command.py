"""What is told of a data set: the numbers, the copies, and the sheet of labelled pictures."""

from __future__ import annotations

import json
import logging
import shlex
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from ghostyolo import gencfg
from ghostyolo.data import Dataset, Sample, anchors, open_dataset, read_image, sheet
from ghostyolo.data.duplicates import Copy, copies, copy_warnings
from ghostyolo.data.layouts import splits
from ghostyolo.data.summary import missing_class_warnings, summarise_split, unions
from ghostyolo.drawing import class_colour
from ghostyolo.errors import DataError, OptionError
from ghostyolo.network import load
from support import published, tiny

Command = Callable[..., tuple[int, str, str]]
BCCD = {"train": (205, 2381, 214, 209), "val": (87, 967, 87, 83), "test": (72, 805, 71, 69)}


@pytest.fixture
def run(invoke: Command) -> Command:
    return partial(invoke, "data")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tiny.pictures(tmp_path / "shapes")


def sample(path: object, boxes: list[tuple[int, ...]], ignore: bool = False) -> Sample:
    """Return a picture of 100x200 (h, w) with boxes of class, left, top, right, bottom."""
    rows = np.array(boxes, np.float32).reshape(-1, 5)
    classes = rows[:, 0].astype(np.int64)
    ignored = np.full(len(rows), ignore)
    return Sample(str(path), rows[:, 1:], classes, ignored, (100, 200), str(path))


def dataset(*samples: Sample, names: tuple[str, ...] = ("a", "b"), split: str = "train") -> Dataset:
    return Dataset(names, samples, split, "DATA")


# --- the numbers


def test_summary_by_hand() -> None:
    found = summarise_split(
        dataset(
            sample("1", [(0, 0, 0, 10, 10), (0, 0, 0, 32, 32), (1, 0, 0, 100, 100)]),
            sample("2", []),
            sample("3", [(0, 0, 0, 2, 8)]),
            sample("4", [(1, 0, 0, 50, 50)], ignore=True),
        )
    )
    assert (found.pictures, found.empty, found.ignored) == (4, 2, 1)
    assert (found.boxes, found.shown) == ((3, 1), (2, 1))
    assert found.areas == (2, 1, 1)  # 32x32 is no longer small
    assert found.crowd == (0, 0.5, 3)
    assert found.sizes == {(100, 200): 4}
    sides = np.array([4, 10, 32, 100]) / np.sqrt(100 * 200)
    assert np.allclose(found.sides, np.quantile(sides, [0.01, 0.25, 0.5, 0.75, 0.99]))


def test_summary_of_nothing() -> None:
    found = summarise_split(dataset(sample("1", [])))
    assert (found.boxes, found.sides, found.crowd, found.areas) == ((0, 0), (), (0, 0, 0), (0,) * 3)
    assert missing_class_warnings([found]) == ["train has no box of a, b"]


@pytest.mark.parametrize("file", ["", "bccd.yaml", "bccd.data"])
def test_every_layout_tells_the_same(file: str, run: Command) -> None:
    code, out, _ = run(published.DATA.get("bccd") / file, "--json")
    found = json.loads(out)
    present = ["train", "val"] if file == "bccd.data" else ["train", "val", "test"]
    assert (code, [row["split"] for row in found["splits"]]) == (0, present)
    for row in found["splits"]:
        assert (row["pictures"], *row["boxes"]) == BCCD[row["split"]]
        assert row["sizes"] == [[480, 640, row["pictures"]]]
    assert found["copies"] == found["warnings"] == []


def test_coco_splits(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    for split in ("test", "train", "val"):
        (tmp_path / f"annotations/instances_{split}.json").write_text("{}")
    assert splits(tmp_path) == ["train", "val", "test"]
    assert splits(tmp_path / "annotations") == ["train", "val", "test"]


def test_pictures_are_looked_at(data: Path, run: Command, caplog: pytest.LogCaptureFixture) -> None:
    """What only a whole reading tells is counted: not what the label or the header says."""
    first, second, third, *_ = sorted((data / "JPEGImages").glob("train*"))
    first.write_bytes(first.read_bytes()[:-600])
    cv2.imwrite(str(second), cv2.imread(str(second), cv2.IMREAD_GRAYSCALE))
    cv2.imwrite(str(third), cv2.imread(str(third))[:-8])
    code, out, _ = run(data, "--json")
    row = next(row for row in json.loads(out)["splits"] if row["split"] == "train")
    assert (code, row["pictures"]) == (0, 5)
    assert row["defects"] == {
        "unreadable picture": 1,
        "grey picture, read as RGB": 1,
        "picture of another size than its label says": 1,
    }
    assert f"{first}: not a picture, or truncated" in caplog.text
    assert f"{third}: 128x88 pixels, but its label says 128x96" in caplog.text
    assert second.name not in caplog.text


def test_last_line_is_what_comes_next(
    data: Path, run: Command, invoke: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = tmp_path / "my names"
    shutil.copy(data / "shapes.names", names)
    out = run(data, "--names", names)[1]
    begin, _, commands = out.splitlines()[-1].partition(": ")
    assert begin == "next"
    write, learn = (shlex.split(command)[1:] for command in commands.split("; "))
    assert invoke(*write)[0] == 0
    assert "6 classes (ring, " in load("my.cfg").comment
    assert invoke(*learn, "--epochs", 1, "--size", "64x64", "--val-split", "none")[0] == 0
    assert "next" not in run(data, "--json")[1]


def test_defects_name_their_first_files(
    data: Path, run: Command, caplog: pytest.LogCaptureFixture
) -> None:
    labels = sorted((data / "Annotations").glob("train*"))[:5]
    for label in labels[:4]:
        label.unlink()
    labels[4].write_bytes(b"<annotation>")
    out = run(data, "--split", "train")[1]
    first = ", ".join(map(str, labels[:3]))
    assert f"train: missing label file: {first} and 1 more\n" in out
    assert f"train: unreadable label file: {labels[4]}" in out
    with caplog.at_level(logging.WARNING):
        open_dataset(data, "train").log_defects()
    assert f"{data} train: 4 x missing label file: {first} and 1 more" in caplog.messages


# --- splits and copies


def test_split_of_others_is_not_counted_again(data: Path, run: Command) -> None:
    lists = data / "ImageSets/Main"
    both = (lists / "train.txt").read_text() + (lists / "val.txt").read_text()
    (lists / "trainval.txt").write_text(both)
    found = [open_dataset(data, split) for split in splits(data)]
    assert unions(found) == {"trainval": ["train", "val"]}
    code, out, _ = run(data)
    assert code == 0
    assert "split trainval = train + val" in out
    assert "byte for byte" not in out
    _, out, _ = run(data, "--split", "trainval", "--json")
    assert [row["pictures"] for row in json.loads(out)["splits"]] == [9]


def test_validating_on_what_was_trained_is_warned_of(data: Path, run: Command) -> None:
    lists = data / "ImageSets/Main"
    shutil.copy(lists / "train.txt", lists / "val.txt")
    _, out, _ = run(data)
    assert "warning: 6 pictures in train and in val, byte for byte, such as" in out


def test_copies_are_found_by_their_bytes(tmp_path: Path) -> None:
    for name, content in {"a": b"12", "b": b"12", "c": b"13", "d": b"12", "e": b"1"}.items():
        (tmp_path / name).write_bytes(content)
    train = dataset(*(sample(tmp_path / name, []) for name in "abc"))
    test = dataset(*(sample(tmp_path / name, []) for name in "de"), split="test")
    groups = copies([train, test])
    a, b, d = (str(tmp_path / name) for name in "abd")
    assert groups == [[Copy("train", a), Copy("train", b), Copy("test", d)]]
    assert copy_warnings(groups) == [
        f"1 picture in train more than once, byte for byte, such as {a} and {b}",
        f"1 picture in train and in test, byte for byte, such as {a} and {d}; "
        "scores on either split are too optimistic",
    ]
    (tmp_path / "d").write_bytes(b"21")
    assert copies([train, test]) == [groups[0][:2]]


# --- the sheet


def crowd(count: int, classes: int, rng: np.random.Generator) -> Dataset:
    """Return a data set in which each class is half as frequent as the one before."""
    chance = 0.5 ** np.arange(classes)
    drawn = rng.choice(classes - 1, (count, 3), p=chance[:-1] / chance[:-1].sum())
    drawn[count // 2, 0] = classes - 1  # one picture has the last
    rows = [[(int(cls), 0, 0, 9, 9) for cls in row] for row in drawn]
    pictures = (sample(number, boxes) for number, boxes in enumerate(rows))
    return dataset(*pictures, names=tuple(map(str, range(classes))))


@pytest.mark.parametrize("classes", [2, 6, 20])
def test_every_class_is_on_the_sheet_and_the_rarest_first(classes: int) -> None:
    data = crowd(300, classes, np.random.default_rng(0))
    chosen = sheet.pick([data], np.random.default_rng(1))
    rarity = np.array(summarise_split(data).shown)
    assert rarity[chosen[0][1].classes].min() == rarity[rarity > 0].min()
    shown = set(np.concatenate([picture.classes for _, picture in chosen]))
    assert shown == set(np.concatenate([picture.classes for picture in data.samples]))
    assert sheet.FEWEST <= len(chosen) <= sheet.MOST
    assert len({picture.path for _, picture in chosen}) == len(chosen)
    again = sheet.pick([data], np.random.default_rng(1))
    assert [picture.path for _, picture in again] == [picture.path for _, picture in chosen]


def test_sheet_of_many_classes_ends() -> None:
    pictures = (sample(cls, [(cls, 0, 0, 9, 9)]) for cls in range(100))
    data = dataset(*pictures, names=tuple(map(str, range(100))))
    assert len(sheet.pick([data], np.random.default_rng(0))) == sheet.MOST
    assert sheet.pick([dataset(sample("x", []))], np.random.default_rng(0)) == []


def test_boxes_lie_where_the_labels_say(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "x.png"), np.full((300, 480, 3), 255, np.uint8))
    rows = np.array([[120, 100, 400, 250]], np.float32)
    one = Sample(
        str(tmp_path / "x.png"), rows, np.zeros(1, np.int64), np.zeros(1, bool), (300, 480), "x"
    )
    data = dataset(one)
    page = sheet.draw_sheet([(data, one)], [data]).astype(int)
    near = np.abs(page - class_colour(0)).max(-1) < 40
    near[: len(page) - 310] = False  # the legend, and what stands above the picture
    x = np.flatnonzero(near.any(0))
    y = np.flatnonzero(near[:, x[-1] - 1])  # without the name, which stands on the left
    scale = page.shape[1] * 0.98 / 480
    assert np.ptp(x) == pytest.approx(280 * scale, abs=5)
    assert np.ptp(y) == pytest.approx(150 * scale, abs=5)


@pytest.mark.filterwarnings("error")
def test_strange_names_sizes_and_pictures(tmp_path: Path) -> None:
    names = ("$x_{", "_hidden", "\udcff", "very long name 猫" * 4)
    data = []
    for cls, size in enumerate([(2, 900), (900, 2), (1, 1), (30, 40)]):
        path = tmp_path / f"$_{cls}.png"
        cv2.imwrite(str(path), np.full((*size, 3), 90, np.uint8))
        data.append(sample(path, [(cls, 0, 0, 1, 1), (cls, 0, 0, *size[::-1])]))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    whole = dataset(*data, sample(tmp_path / "broken.png", [(0, 0, 0, 5, 5)]), names=names)
    assert sheet.write_sheet(tmp_path / "out.JPG", [whole]) == 5
    page = read_image(tmp_path / "out.JPG")
    assert page.shape[1] == sheet.COLUMNS * sheet.CELL * sheet.DPI
    red = (page[..., 0] > 200) & (page[..., 1:].max(-1) < 90)
    assert red[-400:].any(), "the broken picture's message"


def test_sheet_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"x.gif: not a kind of picture; use one of .jpg"):
        sheet.write_sheet(tmp_path / "x.gif", [dataset()])
    with pytest.raises(DataError, match="DATA: no labelled picture to draw; choose another split"):
        sheet.write_sheet(tmp_path / "x.jpg", [dataset()])
    assert not list(tmp_path.iterdir())


# --- the command


def test_command_prints_a_table_and_writes_a_sheet(
    data: Path, run: Command, tmp_path: Path
) -> None:
    code, out, err = run(data, "--sheet", tmp_path / "sheet.png")
    assert (code, err) == (0, "")
    lines = {line[:32].strip(): line.split() for line in out.splitlines()}
    assert lines["pictures"][-3:] == ["6", "3", "2"]
    assert out.splitlines()[0] == f"{data}: 6 classes"
    assert out.splitlines()[-2] == f"{tmp_path / 'sheet.png'}: written"
    assert read_image(tmp_path / "sheet.png").shape[1] == 1920
    first = (tmp_path / "sheet.png").read_bytes()
    run(data, "--sheet", tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").read_bytes() == first


def test_class_of_no_box_is_warned_of(data: Path, run: Command, tmp_path: Path) -> None:
    names = [*(data / "shapes.names").read_text().split(), "unicorn"]
    (tmp_path / "n.names").write_text("\n".join(names))
    code, out, _ = run(data, "--names", tmp_path / "n.names", "--split", "train")
    assert code == 0
    assert "warning: train has no box of unicorn" in out


def test_split_that_cannot_be_read_is_said_and_the_others_told(data: Path, run: Command) -> None:
    (data / "ImageSets/Main/val.txt").write_text("nothing_00001\n")
    code, out, err = run(data, "--json")
    assert code == 1
    assert [row["split"] for row in json.loads(out)["splits"]] == ["train", "test"]
    assert err.count("\n") == 1 and "split 'val': none of 1 pictures can be used" in err
    code, out, err = run(data, "--split", "val", "--split", "train")
    assert (code, out, err.count("\n")) == (1, "", 1)


def test_anchors_are_those_that_the_generator_takes(
    data: Path, run: Command, tmp_path: Path
) -> None:
    _, out, _ = run(data)
    words = next(line for line in out.splitlines() if "--anchors" in line).split()
    path = tmp_path / "new.cfg"
    assert gencfg.main([*words, "--names", str(data / "shapes.names"), "--out", str(path)]) == 0
    mean = anchors.propose(open_dataset(data), load(path), 9, 0)[0].mean_iou
    assert f"mean best IoU of {mean:.3f} in train" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere",), "nowhere: it does not exist; give a folder or file: PASCAL VOC"),
        (("{data}", "--split", "trian"), "there is no split 'trian'; use one of"),
        (("{data}", "--sheet", "x.gif"), "x.gif: not a kind of picture; use one of .jpg"),
        (("{data}", "--sheet", "{data}/no/x.png"), "cannot write: No such file or directory"),
        (("{data}", "--sheet", "x.png", "--seed", "-1"), "--seed -1; use 0 or more"),
        (("{data}/JPEGImages",), "not a data set: its pictures have no label files"),
        (("{data}/shapes.names",), "it is not a data set; give a folder or file"),
    ],
)
def test_bad_input(
    words: tuple[str, ...],
    message: str,
    run: Command,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    code, out, err = run(*(word.format(data=data) for word in words))
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert message in err
    assert not list(Path().iterdir())
