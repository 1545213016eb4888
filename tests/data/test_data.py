"""Data sets: four layouts that say the same are read as the same, and defects are counted."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from ghostyolo.data import Dataset, Sample, open_classification, open_dataset
from ghostyolo.data.class_names import read_names
from ghostyolo.data.duplicates import copies
from ghostyolo.data.hold_out import hold_out
from ghostyolo.data.layouts import splits
from ghostyolo.data.layouts.labels_xml import read_annotation
from ghostyolo.data.paths import pictures_below
from ghostyolo.errors import DataError
from support import published

COUNTS = {"train": (205, 2381, 214, 209), "val": (87, 967, 87, 83), "test": (72, 805, 71, 69)}
NAMES = ("cat", "dog")
# Pictures are 20 high and 40 wide; a box is class, x1, y1, x2, y2 in pixels from 0.
BOXES = {"a": [(0, 2, 4, 10, 12), (1, 5, 5, 40, 20)], "b": [(1, 0, 0, 8, 8)], "c": []}


def picture(path, size=(20, 40)):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*size, 3), 90, np.uint8))


def pictures(folder, stems=BOXES):
    for stem in stems:
        picture(folder / f"{stem}.jpg")


def text(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def xml_object(name, x1, y1, x2, y2, extra=""):
    corners = f"<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
    return f"<object>\n<name>{name}</name><bndbox>{corners}</bndbox>{extra}</object>\n"


def xml(objects, size="<size><width>40</width><height>20</height></size>", database="Unknown"):
    source = f"<source><database>{database}</database></source>"
    return f"<annotation>\n{source}{size}\n{''.join(objects)}</annotation>"


def voc(root, files=None, split="val"):
    """Write a VOC folder: stem -> content of its XML."""
    files = files or {
        stem: xml([xml_object(NAMES[cls], *box) for cls, *box in rows])
        for stem, rows in BOXES.items()
    }
    pictures(root / "JPEGImages", files)
    for stem, content in files.items():
        text(root / "Annotations" / f"{stem}.xml", content)
    text(root / "ImageSets/Main" / f"{split}.txt", "\n".join(files))
    return root


def coco(root, split="val", place="images", **changes):
    pictures(root / place)
    content = {
        "images": [
            {"id": i, "file_name": f"{stem}.jpg", "width": 40, "height": 20}
            for i, stem in enumerate(BOXES, 7)
        ],
        "annotations": [
            {"id": n, "image_id": i, "category_id": 10 * cls + 3, "bbox": [x, y, x2 - x, y2 - y]}
            for i, rows in enumerate(BOXES.values(), 7)
            for n, (cls, x, y, x2, y2) in enumerate(rows)
        ],
        "categories": [{"id": 13, "name": "dog"}, {"id": 3, "name": "cat"}],
    }
    text(root / "annotations" / f"instances_{split}.json", json.dumps(content | changes))
    return root


def label_lines(rows):
    return "".join(
        f"{cls} {(x + x2) / 80} {(y + y2) / 40} {(x2 - x) / 40} {(y2 - y) / 20}\n"
        for cls, x, y, x2, y2 in rows
    )


def yolo(root, content="val: images/val\nnames: [cat, dog]\n", folder="images/val"):
    pictures(root / folder)
    for stem, rows in BOXES.items():
        labels = root / folder.replace("images", "labels")
        text(labels / f"{stem}.txt", label_lines(rows))
    return text(root / "data.yaml", content)


def darknet(root, folder="JPEGImages", labels="labels", extra=""):
    pictures(root / folder)
    for stem, rows in BOXES.items():
        text(root / labels / f"{stem}.txt", label_lines(rows))
    text(root / "val.txt", "".join(f"{folder}/{stem}.jpg\n" for stem in BOXES))
    text(root / "x.names", "\n".join(NAMES))
    return text(root / "x.data", f"valid = val.txt\nnames=x.names\n# note\n{extra}")


def rows(dataset):
    """Return stem -> the boxes of each sample, as in BOXES."""
    return {
        Path(sample.path).stem: [
            (int(cls), *map(float, np.round(box, 3)))
            for cls, box in zip(sample.classes, sample.boxes_xyxy_px, strict=True)
        ]
        for sample in dataset.samples
    }


# --- what all layouts share


@pytest.mark.parametrize("layout", [voc, coco, yolo, darknet])
def test_each_layout_says_the_same(layout, tmp_path):
    dataset = open_dataset(layout(tmp_path), "val")
    assert rows(dataset) == BOXES
    assert (dataset.names, dataset.split, dataset.defects) == (NAMES, "val", Counter())
    for sample in dataset.samples:
        assert sample.size == (20, 40) and not sample.ignore.any() and os.path.isfile(sample.path)
        assert (sample.boxes_xyxy_px.dtype, sample.classes.dtype) == (np.float32, np.int64)
    ids = [7, 8, 9] if layout is coco else ["a", "b", "c"]
    assert [sample.image_id for sample in dataset.samples] == ids


@pytest.mark.parametrize("layout", [voc, coco, yolo, darknet])
def test_a_relative_path_is_as_good(layout, tmp_path, monkeypatch):
    place = layout(tmp_path).relative_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert rows(open_dataset(place, "val")) == BOXES


@pytest.mark.parametrize("layout", [voc, coco, yolo, darknet])
def test_a_missing_split_lists_those_that_exist(layout, tmp_path):
    with pytest.raises(DataError, match=r"no split 'nightly'; use one of: val \(--split\)$"):
        open_dataset(layout(tmp_path), "nightly")


@pytest.mark.parametrize("layout", [voc, coco, yolo, darknet])
def test_boxes_of_other_classes_than_the_names_are_left_out(layout, tmp_path, caplog):
    place = layout(tmp_path)
    assert open_dataset(place, "val", ["cat", "dog", "owl"]).names == ("cat", "dog", "owl")
    dataset = open_dataset(place, "val", ["cat"])
    assert dataset.names == ("cat",) and {*dataset.defects} == {"box of unknown class"}
    assert re.search(r"unknown class .*use one of: cat; or .*--names", caplog.text)
    if layout in (voc, coco):  # where a label names its class
        with pytest.raises(DataError, match=r"none of \d labels can be used, .* give the names"):
            open_dataset(place, "val", ["owl"])


@pytest.mark.parametrize("layout", [voc, coco, darknet])
def test_missing_pictures_are_counted_and_a_set_without_any_is_refused(layout, tmp_path):
    place = layout(tmp_path)
    found = sorted(tmp_path.rglob("*.jpg"))
    found[0].unlink()
    dataset = open_dataset(place, "val")
    assert dataset.defects == {"missing picture": 1} and len(dataset) == 2
    for path in found[1:]:
        path.unlink()
    with pytest.raises(DataError, match="none of 3 pictures can be used, 3 x missing picture"):
        open_dataset(place, "val")


@pytest.mark.parametrize("layout", ["", "bccd.yaml", "bccd.data"])
@pytest.mark.parametrize("split", COUNTS)
def test_bccd_has_the_counts_of_its_readme(layout, split):
    if (layout, split) == ("bccd.data", "test"):
        pytest.skip("the .data file names no test list")
    dataset = open_dataset(published.DATA.get("bccd") / layout, split)
    classes = np.concatenate([sample.classes for sample in dataset.samples])
    assert (len(dataset), *np.bincount(classes)) == COUNTS[split]
    assert dataset.names == ("RBC", "WBC", "Platelets")
    zero = {"zero-size box": 1} if layout == "" and split != "test" else {}
    assert dataset.defects == zero


@pytest.mark.parametrize("split", COUNTS)
def test_bccd_is_the_same_in_every_layout(split, tmp_path):
    folder = published.DATA.get("bccd")
    for name in ("annotations", "JPEGImages"):  # no Annotations: COCO's turn
        (tmp_path / name).symlink_to(folder / name)
    layouts = [open_dataset(place, split) for place in (folder, folder / "bccd.yaml", tmp_path)]
    first, *others = [{Path(s.path).name: s for s in layout.samples} for layout in layouts]
    for other in others:
        assert first.keys() == other.keys()
        for name, sample in first.items():
            np.testing.assert_array_equal(sample.classes, other[name].classes)
            np.testing.assert_allclose(
                sample.boxes_xyxy_px, other[name].boxes_xyxy_px, rtol=0, atol=0.5
            )


# --- which layout


@pytest.mark.parametrize("name", ["none", "empty", "x.txt", "two"])
def test_what_is_no_data_set_is_told_so(name, tmp_path):
    (tmp_path / "empty").mkdir()
    text(tmp_path / "x.txt", "")
    for file in ("a.yaml", "b.yml"):
        text(tmp_path / "two" / file, "names: [x]")
    expected = {
        "none": "does not exist",
        "empty": "not a data set: no pictures",
        "x.txt": "not a data set",
        "two": "several descriptions: a.yaml, b.yml",
    }
    with pytest.raises(DataError, match=expected[name]):
        open_dataset(tmp_path / name, "val")


def test_of_several_layouts_voc_comes_first_and_then_coco(tmp_path):
    yolo(tmp_path, "val: images/val\nnames: [cat, dog]\n")
    assert open_dataset(tmp_path, "val").samples[0].image_id == "a"
    coco(tmp_path)
    assert open_dataset(tmp_path, "val").samples[0].image_id == 7
    voc(tmp_path, {"z": xml([xml_object("owl", 1, 1, 9, 9)])})
    assert open_dataset(tmp_path, "val").names == ("owl",)


def test_opening_loads_no_torch():
    code = "import sys, ghostyolo.data; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- repairs


@pytest.mark.parametrize(
    "box, defect, left",
    [
        ((5, 5, 5, 9), "zero-size box", None),
        ((9, 5, 5, 9), "negative-size box", None),
        ((40, 5, 50, 9), "box outside the picture", None),
        ((-9, -9, 0, 5), "box outside the picture", None),
        (("nan", 5, 9, 9), "box that is not finite", None),
        ((5, "1e400", 9, 9), "box that is not finite", None),
        (("five", 5, 9, 9), "malformed label", None),
        ((-3, 2, 50, 30), "box clipped to the picture", (0, 2, 40, 20)),
        ((0, 0, 40.3, 20.3), "", (0, 0, 40, 20)),
    ],
)
def test_boxes_are_repaired_or_left_out_and_counted(box, defect, left, tmp_path):
    good = xml_object("cat", 1, 1, 9, 9)
    dataset = open_dataset(voc(tmp_path, {"a": xml([good, xml_object("cat", *box)])}), "val")
    assert dataset.defects == ({defect: 1} if defect else {})
    assert rows(dataset)["a"] == [(0, 1, 1, 9, 9)] + ([(0, *left)] if left else [])


def test_only_exact_duplicates_of_one_class_go(tmp_path):
    objects = [("cat", 1), ("cat", 1), ("dog", 1), ("cat", 2)]
    content = xml([xml_object(name, x, 1, 9, 9) for name, x in objects])
    dataset = open_dataset(voc(tmp_path, {"a": content}), "val")
    assert dataset.defects == {"duplicate box": 1} and len(dataset.samples[0].classes) == 3


def test_a_set_without_one_usable_box_is_refused(tmp_path):
    place = darknet(tmp_path)
    for path in (tmp_path / "labels").iterdir():
        path.write_text("0 320 240 64 48\n")
    with pytest.raises(DataError, match=r"none of 3 labels can be used, 3 x box outside .*unit"):
        open_dataset(place, "val")


def test_defects_are_logged_with_their_line(tmp_path, caplog):
    place = darknet(tmp_path)
    (tmp_path / "labels/a.txt").write_text("0 .5 .5 .2 .2\n\n0 .5 .5 0 .2\n")
    with caplog.at_level("INFO"):
        open_dataset(place, "val")
    assert "a.txt:3: zero-size box" in caplog.text


def test_samples_and_data_sets_are_validated():
    zeros = np.zeros((2, 4), np.float32)
    with pytest.raises(ValueError, match="are not"):
        Sample("x", zeros, np.zeros(1, np.int64), np.zeros(2, bool), (1, 1), 0)
    sample = Sample("x", zeros, np.array([0, 1]), np.zeros(2, bool), (1, 1), 0)
    with pytest.raises(ValueError, match=r"outside 0\.\.0"):
        Dataset(("a",), (sample,), "val", "x")


# --- VOC


def test_pascals_own_boxes_start_at_one(tmp_path):
    objects = [xml_object("cat", 1, 1, 40, 20)]
    for database in ("The VOC2007 Database", "the voc2012 database", "PASCAL VOC"):
        files = {"a": xml(objects, database=database)}
        dataset = open_dataset(voc(tmp_path / database, files), "val")
        assert rows(dataset)["a"] == [(0, 0, 0, 40, 20)]


def test_class_order_is_a_names_files_or_the_alphabets(tmp_path):
    def names_of(root, *classes):
        objects = [xml_object(name, 1, 1, 9, 9) for name in classes]
        return open_dataset(voc(root, {"a": xml(objects)}), "val").names

    assert names_of(tmp_path / "other", "owl", "cat") == ("cat", "owl")
    text(tmp_path / "file/x.names", "owl\ncat\n")
    assert names_of(tmp_path / "file", "cat", "owl") == ("owl", "cat")


def test_names_come_from_all_splits(tmp_path):
    voc(tmp_path, {"a": xml([xml_object("owl", 1, 1, 9, 9)])}, "train")
    voc(tmp_path, {"b": xml([xml_object("cat", 1, 1, 9, 9)])}, "val")
    assert open_dataset(tmp_path, "val").names == ("cat", "owl")


def test_difficult_boxes_are_ignored_and_parts_are_no_objects(tmp_path):
    part = "<part><name>head</name><bndbox><xmin>3</xmin></bndbox></part>"
    difficult = xml_object("cat", 1, 1, 9, 9, "<difficult>1</difficult>")
    content = xml([difficult, xml_object("dog", 2, 2, 9, 9, part)])
    dataset = open_dataset(voc(tmp_path, {"a": content}), "val")
    assert dataset.samples[0].ignore.tolist() == [True, False] and dataset.defects == {}


def test_without_a_size_the_picture_is_asked(tmp_path):
    for size in ("", "<size><width>0</width><height>0</height></size>"):
        content = xml([xml_object("cat", 1, 1, 9, 9)], size)
        dataset = open_dataset(voc(tmp_path / (size and "zero"), {"a": content}), "val")
        assert dataset.samples[0].size == (20, 40)


def test_pictures_without_xml_are_left_out_and_class_lists_are_no_splits(tmp_path):
    voc(tmp_path)
    text(tmp_path / "ImageSets/Main/val.txt", "a\nb\nx\na\n")
    text(tmp_path / "ImageSets/Main/cat_val.txt", "a  1\nb -1\n")
    dataset = open_dataset(tmp_path, "val")
    assert dataset.defects == {"missing label file": 1, "picture listed twice": 1}
    with pytest.raises(DataError, match=r"use one of: val \(--split\)$"):
        open_dataset(tmp_path, "x")


def test_unknown_classes_are_told_of_where_they_are_first_met(tmp_path, caplog):
    objects = [xml_object(f"class {i % 9}", 1, 1, 9, 9) for i in range(20)]
    voc(tmp_path)
    text(tmp_path / "Annotations/a.xml", xml(objects))
    dataset = open_dataset(tmp_path, "val", ["cat", "dog", "owl"])
    assert dataset.defects["box of unknown class"] == 20
    assert len(caplog.messages) == 5 and "a.xml:" in caplog.messages[4]
    assert "unknown class 'class 4'" in caplog.messages[4]


@pytest.mark.parametrize(
    "content, message",
    [
        ("<annotation>\n<size>\n</annotation>", r"a\.xml:3: not XML"),
        ("", r"a\.xml:1: not XML"),
        ("<html></html>", r"a\.xml:1: <html> instead of <annotation>"),
        ('<!DOCTYPE x [<!ENTITY a "b">]>\n<annotation>&a;</annotation>', "entities"),
        ('<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotation/>', "entities"),
    ],
)
def test_hostile_or_broken_xml_is_left_out_and_told(content, message, tmp_path, caplog):
    voc(tmp_path)
    text(tmp_path / "Annotations/a.xml", content)
    dataset = open_dataset(tmp_path, "val")
    assert dataset.defects == {"unreadable label file": 1} and len(dataset) == 2
    (told,) = caplog.messages
    assert re.search(message, told)


def test_an_xml_that_is_a_folder_is_left_out(tmp_path):
    voc(tmp_path)
    (tmp_path / "Annotations/a.xml").unlink()
    (tmp_path / "Annotations/a.xml").mkdir()
    assert open_dataset(tmp_path, "val").defects == {"unreadable label file": 1}


def test_other_files_may_lie_beside_the_pictures(tmp_path):
    voc(tmp_path)
    for suffix in (".txt", ".xml", ".JSON", ".json.bak", ""):
        text(tmp_path / f"JPEGImages/a{suffix}", "no picture")
    assert rows(open_dataset(tmp_path, "val")) == BOXES


def test_an_entity_bomb_is_refused(tmp_path):
    levels = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 20))
    bomb = f'<!DOCTYPE x [<!ENTITY e0 "ha">{levels}]><annotation>&e19;</annotation>'
    voc(tmp_path, {"a": bomb})
    with pytest.raises(DataError, match="XML with entities is refused"):
        read_annotation(tmp_path / "Annotations/a.xml")


# --- COCO


@pytest.mark.parametrize("place", ["val", "images/val", "images", "JPEGImages", ".", "val2017"])
def test_coco_pictures_are_found_where_people_put_them(place, tmp_path):
    year = "2017" if place == "val2017" else ""
    assert rows(open_dataset(coco(tmp_path, f"val{year}", place), "val")) == BOXES


def test_crowds_are_ignored_and_strays_counted(tmp_path):
    annotations = [
        {"image_id": 7, "category_id": 3, "bbox": [1, 1, 5, 5], "iscrowd": 1},
        {"image_id": 7, "category_id": 3, "bbox": [2, 1, 5, 5]},
        {"image_id": 99, "category_id": 3, "bbox": [1, 1, 5, 5]},
        {"image_id": 7, "category_id": 3},
        {"image_id": 7, "category_id": 3, "bbox": [1, 2, 3]},
    ]
    dataset = open_dataset(coco(tmp_path, annotations=annotations), "val")
    assert dataset.samples[0].ignore.tolist() == [True, False]
    assert dataset.defects == {"box of no listed picture": 1, "malformed label": 2}


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"categories": [{"id": 3}]}, r"categories\[0\]: it has no name"),
        ({"categories": None}, "not COCO's; it needs the lists images, annotations, categories"),
        ({"images": [{"id": 1}]}, "is empty, 1 x malformed entry of a picture"),
        ({"annotations": [[]]}, "none of 1 labels can be used, 1 x malformed label"),
        ({"images": [], "annotations": []}, "split 'val': is empty"),
    ],
)
def test_json_that_is_not_cocos_is_refused(changes, message, tmp_path):
    with pytest.raises(DataError, match=message):
        open_dataset(coco(tmp_path, **changes), "val")


@pytest.mark.parametrize("content", ["{\n", "[" * 100_000, "[]", "\xff"])
def test_broken_json_is_refused(content, tmp_path):
    path = text(tmp_path / "annotations/instances_val.json", "")
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=r"instances_val\.json(:[12])?: not (JSON|COCO)"):
        open_dataset(tmp_path, "val")


# --- YOLO and Darknet


@pytest.mark.parametrize(
    "content",
    [
        "path: .\nval: [images/val]\nnames:\n  0: cat\n  1: dog\nnc: 2\n",
        "valid: ../images/val\nnames: {'1': dog, '0': cat}\n",
        "val: list.txt\nnames: [cat, dog]\n",
        "path: nowhere\nval: list.txt\nnames: [cat, dog]\n",
    ],
)
def test_the_spellings_of_a_yaml_mean_the_same(content, tmp_path):
    path = yolo(tmp_path, content)
    text(tmp_path / "list.txt", "./images/val/a.jpg\nimages/val/b.jpg\nimages\\val\\c.jpg\n")
    assert rows(open_dataset(path, "val")) == BOXES


@pytest.mark.parametrize("folder", ["images", "pictures"])
def test_labels_may_lie_beside_the_pictures(folder, tmp_path):
    path = yolo(tmp_path, f"val: {folder}\nnames: [cat, dog]\n", folder)
    if folder == "images":
        (tmp_path / "labels").rename(tmp_path / "away")
        for label in (tmp_path / "away").iterdir():
            label.rename(tmp_path / "images" / label.name)
    assert rows(open_dataset(path, "val")) == BOXES


@pytest.mark.parametrize(
    "content, message",
    [
        ("val: images/val\nnames: [cat]\nnc: 2\n", r"data\.yaml:3: 2 classes, but there are 1 nam"),
        ("val: images/other\nnames: [cat]\n", r"data\.yaml:1: 'images/other' is not there"),
        ("val: images/val\n", "no key 'names'"),
        ("val: images/val\nnames: [cat, no]\n", r"yaml:2: name 1 is no text; put it in quotes"),
        ("val: images/val\nnames: {0: cat, 2: dog}\n", r"yaml:2: names do not count 0, 1, 2"),
        ("val: images/val\nnames: cat\n", r"yaml:2: names is no list"),
        ("val: [\n", r"data\.yaml:2: not YAML"),
        ("val: !!python/object:os.system x\n", r"data\.yaml:1: not YAML"),
        ("just words\n", "not key: value"),
        ("", "not key: value"),
        ("val:\nnames: [cat]\n", "no split 'val'; it has no split"),
    ],
)
def test_yaml_errors_name_file_and_line(content, message, tmp_path):
    with pytest.raises(DataError, match=message):
        open_dataset(yolo(tmp_path, content), "val")


USUAL = """path: .
val: images/val
names: [cat, dog]
nc: 2
download: https://example.org/pets.zip
roboflow: {workspace: x, project: pets, version: 1, license: MIT, url: https://example.org}
channels: 3
flip_idx: [0, 1]
"""


@pytest.mark.parametrize(
    "added, told",
    [
        ("", []),
        ("labels: foo/\n", ["9: key 'labels' is unknown: no effect; labels are read from a"]),
        ("labels_dir: foo\n", ["9: key 'labels_dir' is unknown: no effect; labels are read"]),
        ("Names: [a]\n", ["9: key 'Names' is unknown: no effect; did you mean names?"]),
        ("new:\n3: x\n", ["9: key 'new' is unknown: no effect", "10: key '3' is unknown"]),
        ("val: images/val\n", ["2: key 'val' is set again below, which counts"]),
    ],
)
def test_keys_of_a_yaml_that_have_no_effect_are_told_once(added, told, tmp_path, caplog):
    path = yolo(tmp_path, USUAL + added)
    for _ in range(2):
        assert rows(open_dataset(path, "val")) == BOXES
        splits(path)
    assert len(caplog.messages) == len(told)
    for message, start in zip(caplog.messages, told, strict=True):
        assert message.startswith(f"{path}:{start}")


def test_a_class_without_a_name_is_told_with_its_line(tmp_path, caplog):
    path = yolo(tmp_path)
    for cls in ("7", "-1"):
        text(tmp_path / "labels/val/b.txt", f"0 .5 .5 .2 .2\n{cls} .5 .5 .2 .2\n")
        assert len(rows(open_dataset(path, "val"))["b"]) == 1
        assert f"b.txt:2: unknown class {cls} (2 classes); use" in caplog.text


@pytest.mark.skipif(sys.platform != "linux", reason="takes a file that only Linux has")
def test_a_label_file_that_cannot_be_read_is_counted(tmp_path, caplog):
    path, label = yolo(tmp_path), tmp_path / "labels/val/b.txt"
    label.unlink()
    label.symlink_to("/proc/self/mem")  # whose first byte nobody can read
    dataset = open_dataset(path, "val")
    assert dataset.defects == {"unreadable label file": 1} and rows(dataset)["b"] == []
    assert "b.txt: cannot read it: " in caplog.text


def test_malformed_lines_are_counted_and_polygons_become_boxes(tmp_path):
    path = yolo(tmp_path)
    lines = ["0 .5 .5 .2", "cat .5 .5 .2 .2", "0.5 .5 .5 .2 .2", "0 .5 .5 .2 .2 .9", "\0"]
    polygon = "1 .25 .5 .5 .25 .75 .5 .5 .75"
    text(tmp_path / "labels/val/c.txt", "\n".join([*lines, polygon, "1.0 .5 .5 .25 .5"]))
    dataset = open_dataset(path, "val")
    assert dataset.defects == {"malformed label": 5, "polygon taken as its box": 1}
    assert rows(dataset)["c"] == [(1, 10, 5, 30, 15), (1, 15, 5, 25, 15)]


def test_a_picture_without_label_file_shows_nothing_but_one_must_have_some(tmp_path):
    path = yolo(tmp_path)
    labels = sorted((tmp_path / "labels/val").iterdir())
    labels[0].unlink()
    dataset = open_dataset(path, "val")
    assert dataset.defects == {"missing label file": 1} and rows(dataset)["a"] == []
    for label in labels[1:]:
        label.unlink()
    with pytest.raises(DataError, match=r"no picture has a label file; put it at .*labels.val.a\."):
        open_dataset(path, "val")


def test_pictures_of_any_suffix_are_taken_or_counted(tmp_path):
    path = yolo(tmp_path)
    content = (tmp_path / "images/val/a.jpg").read_bytes()
    for name, data in {"d.jfif": content, "e.JPG": content, "f.heic": b"\0\0\0\x18ftyp"}.items():
        (tmp_path / "images/val" / name).write_bytes(data)
    (tmp_path / "images/val/Thumbs.db").write_bytes(b"no picture")
    dataset = open_dataset(path, "val")
    assert sorted(rows(dataset)) == ["a", "b", "c", "d", "e"]
    assert dataset.defects == {"missing label file": 2, "unreadable picture": 1}


def test_unreadable_pictures_and_repeated_names(tmp_path):
    path = yolo(tmp_path)
    (tmp_path / "images/val/a.jpg").write_bytes(b"no picture")
    picture(tmp_path / "images/val/below/b.jpg")
    dataset = open_dataset(path, "val")
    assert dataset.defects == {"unreadable picture": 1, "missing label file": 1}
    ids = [sample.image_id for sample in dataset.samples]
    assert len({*ids}) == 3 and "c" in ids and "b" not in ids


@pytest.mark.parametrize(
    "folder, labels",
    [
        ("JPEGImages", "labels"),
        ("images/val2017", "labels/val2017"),
        ("images/other", "images/other"),
        ("obj", "obj"),
    ],
)
def test_darknet_looks_for_labels_in_its_own_places(folder, labels, tmp_path):
    assert rows(open_dataset(darknet(tmp_path, folder, labels), "val")) == BOXES


def test_darknet_paths_may_start_above_the_data_file(tmp_path):
    darknet(tmp_path)
    below = text(tmp_path / "cfg/x.data", "valid = val.txt\nnames = x.names\n")
    assert rows(open_dataset(below, "val")) == BOXES


def test_darknet_files_are_checked(tmp_path, caplog):
    with pytest.raises(DataError, match=r"x\.data:4: 3 classes, but there are 2 names; make"):
        open_dataset(darknet(tmp_path, extra="classes = 3\n"), "val")
    with pytest.raises(DataError, match=r"x\.data:4: 'classes' is not key = value"):
        open_dataset(darknet(tmp_path, extra="classes\n"), "val")
    open_dataset(darknet(tmp_path, extra="clases = 3\n"), "val")
    assert "x.data:4: key 'clases' is unknown" in caplog.text
    open_dataset(darknet(tmp_path, extra="valid = other.txt\n"), "val")
    assert "x.data:4: key 'valid' is set twice; the first" in caplog.text
    text(tmp_path / "x.data", "valid = val.txt\n")
    with pytest.raises(DataError, match=r"no key 'names'; add names = FILE"):
        open_dataset(tmp_path / "x.data", "val")
    text(tmp_path / "x.data", "valid = gone.txt\nnames = x.names\n")
    with pytest.raises(DataError, match=r"gone\.txt: cannot read it: no such file"):
        open_dataset(tmp_path / "x.data", "val")
    text(tmp_path / "x.data", "valid = val.txt\nnames = x.names\n")
    text(tmp_path / "val.txt", "\n\n")
    with pytest.raises(DataError, match="split 'val': is empty"):
        open_dataset(tmp_path / "x.data", "val")


def test_names_files(tmp_path):
    path = tmp_path / "x.names"
    path.write_bytes("\ufeffcat \r\nwild boar\n\n\n".encode())
    assert read_names(path) == ("cat", "wild boar")
    path.write_text("cat\n\ndog\n")
    with pytest.raises(DataError, match=r"x\.names:2: no class name here"):
        read_names(path)
    path.write_text("\n")
    with pytest.raises(DataError, match=r"x\.names: no class name here"):
        read_names(path)


@pytest.mark.parametrize("path", ["a" * 300, "a\0b", "a/" * 3000])
def test_a_path_that_no_file_can_have_does_not_exist(path):
    with pytest.raises(DataError, match="it does not exist"):
        open_dataset(path)
    with pytest.raises(DataError, match="it does not exist"):
        open_classification(path)


@pytest.mark.parametrize("key", ["names", "valid"])
@pytest.mark.parametrize("name", ["x\0", "a" * 300])
def test_a_description_may_name_what_no_file_can_be(key, name, tmp_path):
    path = darknet(tmp_path)
    lines = [line for line in path.read_text().splitlines() if not line.startswith(key)]
    path.write_text("\n".join([*lines, f"{key} = {name}"]))
    with pytest.raises(DataError, match=r"cannot read it: (no file can have|file name too long)"):
        open_dataset(path, "val")


@pytest.mark.parametrize("line", ["a" * 300, "x\0", "a" + " " * 100_000 + "b"])
def test_a_list_may_name_what_no_file_can_be(line, tmp_path):
    """Blanks in the middle take time that grows with their number alone."""
    root = voc(tmp_path)
    path = root / "ImageSets/Main/val.txt"
    path.write_text(f"{path.read_text()}{line}\n")
    start = time.process_time()
    assert open_dataset(root, "val").defects == {"missing label file": 1}
    assert time.process_time() - start < 2


def test_folders_that_go_while_pictures_are_sought_are_left_out(tmp_path):
    picture(tmp_path / "a/b.jpg")
    stop = threading.Event()

    def come_and_go():
        while not stop.is_set():
            os.makedirs(tmp_path / "c/d/e")
            shutil.rmtree(tmp_path / "c")

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        for _ in range(1000):
            assert pictures_below(tmp_path) == [str(tmp_path / "a/b.jpg")]
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("read", [lambda data: copies([data]), hold_out])
def test_a_picture_that_went_meanwhile_is_named(read, tmp_path):
    data = open_dataset(coco(tmp_path), "val")
    os.unlink(data.samples[0].path)
    with pytest.raises(DataError, match=r"cannot read the picture: no such file or directory"):
        read(data)
