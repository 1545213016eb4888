"""The index of a data set: equal to a fresh reading, and never older than its files."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ghostyolo import files, open_dataset
from ghostyolo.data import Dataset, index, open_classification, sources
from ghostyolo.errors import DataError

NAMES = ("cat", "dog")
STEMS = ("a", "b", "c", "d")
BOX = (2, 4, 10, 12)  # of the class of a picture's number, in pictures 40 wide and 20 high


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def pictures(folder: Path, stems: tuple[str, ...] = STEMS) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for stem in stems:
        cv2.imwrite(str(folder / f"{stem}.jpg"), np.full((20, 40, 3), ord(stem[0]), np.uint8))


def txt(cls: object) -> str:
    x1, y1, x2, y2 = BOX
    return f"{cls} {(x1 + x2) / 80} {(y1 + y2) / 40} {(x2 - x1) / 40} {(y2 - y1) / 20}\n"


def xml(name: str) -> str:
    corners = "".join(
        f"<{corner}>{side}</{corner}>"
        for corner, side in zip(("xmin", "ymin", "xmax", "ymax"), BOX, strict=True)
    )
    size = "<size><width>40</width><height>20</height></size>"
    item = f"<object><name>{name}</name><bndbox>{corners}</bndbox></object>"
    return f"<annotation>{size}{item}</annotation>"


def coco(root: Path) -> Path:
    pictures(root / "val")
    x1, y1, x2, y2 = BOX
    content = {
        "images": [{"id": i, "file_name": f"{s}.jpg", "width": 40, "height": 20}
                   for i, s in enumerate((*STEMS, "gone"))],
        "annotations": [{"id": i, "image_id": i, "category_id": i % 2,
                         "bbox": [x1, y1, x2 - x1, y2 - y1]} for i in range(9)],
        "categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}],
    }  # fmt: skip
    text(root / "annotations/instances_val.json", json.dumps(content))
    return root


def voc(root: Path) -> Path:
    pictures(root / "JPEGImages")
    for i, stem in enumerate(STEMS):
        text(root / f"Annotations/{stem}.xml", xml(NAMES[i % 2]))
    text(root / "ImageSets/Main/val.txt", "\n".join((*STEMS, "gone")))
    return root


def labelled(root: Path, suffix: str = ".txt") -> Path:
    pictures(root / "images/val")
    for i, stem in enumerate(STEMS[:3]):
        content = txt(i % 2) if suffix == ".txt" else xml(NAMES[i % 2])
        text(root / f"labels/val/{stem}{suffix}", content)
    if suffix == ".txt":
        text(root / "classes.txt", "\n".join(NAMES))
    return root


def yolo(root: Path) -> Path:
    labelled(root)
    return text(root / "data.yaml", "val: images/val\nnames: [cat, dog]\nodd: 1\n")


def darknet(root: Path) -> Path:
    pictures(root / "JPEGImages")
    for stem in STEMS[:3]:
        text(root / f"labels/{stem}.txt", txt(1))
    text(root / "val.list", "".join(f"JPEGImages/{stem}.jpg\n" for stem in (*STEMS, "gone")))
    text(root / "x.names", "\n".join(NAMES))
    return text(root / "x.data", "valid = val.list\nnames = x.names\n")


def undivided(root: Path) -> Path:
    pictures(root)
    for stem in STEMS[:3]:
        text(root / f"{stem}.txt", txt(0) + txt(7))
    text(root / "classes.txt", "\n".join(NAMES))
    return root


LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "coco": coco, "voc": voc, "folders": labelled, "xml": lambda root: labelled(root, ".xml"),
    "yolo": yolo, "darknet": darknet, "undivided": undivided,
}  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep an index of every data set, also of files that have just been written."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(index, "LEAST", 1)
    monkeypatch.setattr(index, "UNSETTLED_NS", -(10**18))
    index._warn_once.cache_clear()
    return tmp_path / "cache/ghostyolo/data-sets"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows with each data set that is read, not taken from its index."""
    found: list[str] = []
    kept = index._kept

    def noting(path: Path, dataset: Dataset, seen: Any) -> Dataset:
        found.append(dataset.path)
        return kept(path, dataset, seen)

    monkeypatch.setattr(index, "_kept", noting)
    return found


def everything(data: Dataset) -> Any:
    """Return all that a data set holds, comparable."""
    rows = [
        (
            s.path,
            s.size,
            s.image_id,
            s.boxes_xyxy_px.tolist(),
            s.classes.tolist(),
            s.ignore.tolist(),
        )
        for s in data.samples
    ]
    return rows, data.names, data.split, data.path, data.defects, data.outside, data.places


@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_is_equal_to_a_fresh_reading(layout: str, tmp_path: Path, reads: list[str]) -> None:
    path = LAYOUTS[layout](tmp_path / "data")
    fresh = open_dataset(path, "val", no_cache=True)
    first, second = open_dataset(path, "val"), open_dataset(path, "val")
    assert len(reads) == 1
    for other in (first, second, pickle.loads(pickle.dumps(second))):
        assert everything(other) == everything(fresh)
    assert len(pickle.dumps(second)) < 2000


def test_warnings_are_repeated(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each as often as without an index; those that are told once in a process, once."""
    path = undivided(tmp_path / "data")

    def warned(**options: bool) -> list[str]:
        caplog.clear()
        open_dataset(path, "train", **options)
        return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]

    once, *always = sorted(warned(no_cache=True), key=lambda line: "no splits" not in line)
    assert "no splits" in once and len(always) == 1 and "unknown class 7" in always[0]
    assert warned() == always
    assert warned() == always


CHANGES: dict[str, Callable[[Path], object]] = {
    "label edited": lambda root: text(root / "labels/val/b.txt", txt(0)),
    "label emptied": lambda root: text(root / "labels/val/b.txt", ""),
    "label added": lambda root: text(root / "labels/val/d.txt", txt(1)),
    "label deleted": lambda root: (root / "labels/val/b.txt").unlink(),
    "picture added": lambda root: pictures(root / "images/val", ("e",)),
    "picture deleted": lambda root: (root / "images/val/a.jpg").unlink(),
    "picture replaced": lambda root: cv2.imwrite(
        str(root / "images/val/a.jpg"), np.zeros((60, 80, 3), np.uint8)
    ),
    "names edited": lambda root: text(root / "classes.txt", "dog\ncat"),
    "description added": lambda root: text(root / "data.yaml", "val: images/val\nnames: [x, y]"),
    "second names": lambda root: text(root / "labels/my.names", "cat\ndog"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changes_show(change: str, tmp_path: Path, reads: list[str]) -> None:
    root = labelled(tmp_path / "data")
    open_dataset(root, "val")
    CHANGES[change](root)
    again = open_dataset(root, "val")
    assert len(reads) == 2
    assert everything(again) == everything(open_dataset(root, "val", no_cache=True))
    open_dataset(root, "val")
    assert len(reads) == 2


def test_an_edit_of_equal_length_shows(tmp_path: Path, reads: list[str]) -> None:
    """By its time, which the clock of the file system may not tell within some milliseconds."""
    root = labelled(tmp_path / "data")
    assert open_dataset(root, "val").columns.classes.tolist() == [0, 1, 0]
    path = root / "labels/val/a.txt"
    before = path.stat()
    path.write_text(path.read_text().replace("0", "1", 1))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 4_000_000))
    assert path.stat().st_size == before.st_size
    assert open_dataset(root, "val").columns.classes.tolist() == [1, 1, 0]


def test_other_arguments_and_code_have_another_index(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = labelled(tmp_path / "data")
    assert open_dataset(root, "val").names == NAMES
    assert open_dataset(root, "val", ["x", "y"]).names == ("x", "y")
    monkeypatch.setattr(index, "_code_version", lambda: "another")
    open_dataset(root, "val")
    monkeypatch.chdir(tmp_path)
    assert open_dataset("data", "val").samples[0].path == "data/images/val/a.jpg"
    assert len(reads) == 4


def test_what_has_just_changed_is_not_trusted(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = labelled(tmp_path / "data")
    monkeypatch.setattr(index, "UNSETTLED_NS", 2_000_000_000)
    open_dataset(root, "val")
    assert not cache.exists()
    for path in (root, *root.rglob("*")):
        os.utime(path, (1e9, 1e9))
    open_dataset(root, "val")
    assert len(list(cache.iterdir())) == 1


def test_small_sets_have_none(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "LEAST", 5)
    open_dataset(labelled(tmp_path / "data"), "val")
    assert not cache.exists()


def test_no_cache_writes_nothing(tmp_path: Path, cache: Path) -> None:
    open_dataset(labelled(tmp_path / "data"), "val", no_cache=True)
    assert not cache.exists()


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "foreign": lambda content: b"x" * len(content),
    "cut in the header": lambda content: content[:100],
    "cut in the arrays": lambda content: content[:-64],
    "longer": lambda content: content + b"0",
    "of another version": lambda content: content.replace(b"version 1", b"version 2", 1),
    "with another header": lambda content: content.replace(b'"arrays"', b'"brrays"', 1),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_is_replaced(
    damage: str, tmp_path: Path, cache: Path, reads: list[str]
) -> None:
    root = labelled(tmp_path / "data")
    expected = everything(open_dataset(root, "val"))
    (path,) = cache.iterdir()
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    assert everything(open_dataset(root, "val")) == expected
    assert everything(open_dataset(root, "val")) == expected
    assert len(reads) == 2


def test_a_folder_that_cannot_be_written_is_told_once(
    tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = labelled(tmp_path / "data")
    text(cache.parent, "a file")
    one, other = open_dataset(root, "val"), open_dataset(root, "val")
    assert everything(one) == everything(other)
    assert caplog.text.count("no index of the data set can be kept") == 1


def test_a_full_disk_leaves_nothing(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = labelled(tmp_path / "data")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        assert len(open_dataset(root, "val")) == 4
    assert not list(cache.iterdir())
    open_dataset(root, "val")
    assert len(list(cache.iterdir())) == 1


def test_ctrl_c_while_it_is_written_leaves_nothing(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = labelled(tmp_path / "data")

    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            open_dataset(root, "val")
    assert not list(cache.iterdir())
    assert len(open_dataset(root, "val")) == 4


def test_an_index_that_was_replaced_is_not_taken_for_another(tmp_path: Path) -> None:
    root = labelled(tmp_path / "data")
    sent = pickle.dumps(open_dataset(root, "val"))
    text(root / "labels/val/b.txt", txt(0))
    before = pickle.loads(sent)
    assert before.columns.classes.tolist() == [0, 1, 0]
    assert open_dataset(root, "val").columns.classes.tolist() == [0, 0, 0]
    assert before.columns.classes.tolist() == [0, 1, 0]  # it still has its own file
    with pytest.raises(DataError, match="replaced or deleted meanwhile"):
        pickle.loads(sent)


def test_changes_of_arrays_stay_in_the_process(tmp_path: Path) -> None:
    root = labelled(tmp_path / "data")
    open_dataset(root, "val")
    open_dataset(root, "val").samples[0].boxes_xyxy_px[:] = 7
    assert open_dataset(root, "val").samples[0].boxes_xyxy_px.tolist() == [list(BOX)]


def test_the_least_recent_are_deleted(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = labelled(tmp_path / "data")
    for number, name in enumerate("xyz"):
        open_dataset(root, "val", [name, "other"])
        (newest,) = set(cache.iterdir()) - {p for p in cache.iterdir() if p.stat().st_mtime < 1e9}
        os.utime(newest, (number, number))
    oldest, *others = sorted(cache.iterdir(), key=lambda path: path.stat().st_mtime)
    monkeypatch.setattr(index, "MOST_BYTES", 3 * oldest.stat().st_size + 100)
    open_dataset(root, "val", ["w", "other"])
    assert not oldest.exists() and all(path.exists() for path in others)


def test_classifiers_have_one(tmp_path: Path, reads: list[str]) -> None:
    for name in NAMES:
        pictures(tmp_path / "data/val" / name)
    one, other = (open_classification(tmp_path / "data", "val") for _ in range(2))
    assert len(reads) == 1 and everything(one) == everything(other)
    pictures(tmp_path / "data/val/cat", ("e",))
    assert len(open_classification(tmp_path / "data", "val")) == 9


def _open(root: Path, begin: Any, answers: Any) -> None:
    begin.wait()
    answers.put(everything(open_dataset(root, "val")))


def test_processes_that_build_it_at_once_agree(tmp_path: Path, cache: Path) -> None:
    root = labelled(tmp_path / "data")
    fork = multiprocessing.get_context("fork")
    begin, answers = fork.Barrier(3), fork.Queue()
    several = [fork.Process(target=_open, args=(root, begin, answers)) for _ in range(3)]
    for each in several:
        each.start()
    found = [answers.get(timeout=30) for _ in several]
    for each in several:
        each.join()
    assert found == [everything(open_dataset(root, "val", no_cache=True))] * 3
    assert [path.suffix for path in cache.iterdir()] == [".index"]


def test_reading_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every so many pictures, and at the end; nothing where the index is used."""
    root, told = labelled(tmp_path / "data"), list[tuple[int, bool]]()
    monkeypatch.setattr(sources, "TOLD", 2)
    for _ in range(2):
        with sources.watched(lambda count, finished: told.append((count, finished))):
            open_dataset(root, "val")
    assert told == [(2, False), (4, False), (4, True)]
