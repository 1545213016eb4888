"""Data sets as people have them: each layout says the same, and what is unclear is an error."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest

from ghostyolo.data import open_dataset
from ghostyolo.data.layouts import is_undivided, splits
from ghostyolo.data.splits import draw, find_split, is_split, without_year
from ghostyolo.errors import DataError, Span

NAMES = ("cat", "dog")
PARTS = {"train": ["a", "b"], "val": ["c"], "test": ["d"]}
BOXES = {  # class, x1, y1, x2, y2 in pixels of pictures 40 wide and 20 high
    "a": [(0, 2, 4, 10, 12), (1, 5, 5, 40, 20)],
    "b": [(1, 0, 0, 8, 8)],
    "c": [(0, 1, 1, 5, 9), (1, 4, 2, 20, 18)],
    "d": [(1, 8, 4, 12, 16)],
}
EVERYTHING = [stem for own in PARTS.values() for stem in own]
ROBOFLOW = {"train": "train", "val": "valid", "test": "test"}


def write(path: Path, content: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((20, 40, 3), 90, np.uint8))


def txt(stem: str) -> str:
    return "".join(
        f"{cls} {(x + x2) / 80} {(y + y2) / 40} {(x2 - x) / 40} {(y2 - y) / 20}\n"
        for cls, x, y, x2, y2 in BOXES[stem]
    )


def xml(stem: str) -> str:
    objects = "".join(
        f"<object><name>{NAMES[cls]}</name><bndbox><xmin>{x}</xmin><ymin>{y}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for cls, x, y, x2, y2 in BOXES[stem]
    )
    return f"<annotation>{objects}</annotation>"


def coco(stems: Iterable[str], above: bool = False) -> str:
    """Return COCO's annotations; `above` puts Roboflow's category above all others."""
    categories = [
        {"id": i, "name": name, "supercategory": "pet"} for i, name in enumerate(NAMES, 1)
    ]
    annotations = [
        {"id": 1, "image_id": stem, "category_id": cls + 1, "bbox": [x, y, x2 - x, y2 - y]}
        for stem in stems
        for cls, x, y, x2, y2 in BOXES[stem]
    ]
    content = {
        "info": {},
        "images": [{"id": stem, "file_name": f"{stem}.jpg"} for stem in stems],
        "annotations": annotations,
        "categories": [{"id": 0, "name": "pet", "supercategory": "none"}] * above + categories,
    }
    return json.dumps(content)


def place(root: Path, pictures: str, labels: str, suffix: str = ".txt", parts=PARTS) -> Path:
    """Write pictures and labels into folders in which {} is the split."""
    for split, stems in parts.items():
        for stem in stems:
            picture(root / pictures.format(split) / f"{stem}.jpg")
            label = root / labels.format(split) / f"{stem}{suffix}"
            write(label, txt(stem) if suffix == ".txt" else xml(stem))
    if suffix == ".txt":
        write(root / "classes.txt", "cat\ndog\n")
    return root


def roboflow(parts=PARTS) -> dict[str, list[str]]:
    return {ROBOFLOW[split]: stems for split, stems in parts.items()}


def annotated(root: Path, file: str, pictures: str, parts=PARTS, above: bool = False) -> Path:
    for split, stems in parts.items():
        write(root / file.format(split), coco(stems, above))
        for stem in stems:
            picture(root / pictures.format(split) / f"{stem}.jpg")
    return root


def voc(root: Path, parts=PARTS) -> Path:
    place(root, "JPEGImages", "Annotations", ".xml", parts)
    for split, stems in parts.items():
        write(root / f"ImageSets/Main/{split}.txt", "\n".join(stems))
    return root


def described(root: Path, file: str, content: str) -> Path:
    """Write what Roboflow exports, with a file that describes it in place of classes.txt."""
    place(root, "{}/images", "{}/labels", parts=roboflow())
    (root / "classes.txt").unlink()
    write(root / file, content)
    return root


def darknet(root: Path, sep: str = "/", below: str = "data") -> Path:
    """Write the folder data of a Darknet; paths in it start where its program does."""
    data = place(root / below, "obj", "obj")
    (data / "classes.txt").rename(data / "obj.names")
    for split, stems in PARTS.items():
        write(data / f"{split}.txt", "".join(f"data{sep}obj{sep}{stem}.jpg\n" for stem in stems))
    keys = {"train": "train", "valid": "val", "test": "test"}
    lines = [f"{key} = data{sep}{split}.txt" for key, split in keys.items()]
    return write(data / "obj.data", "\n".join(["classes=2", f"names=data{sep}obj.names", *lines]))


def listed(root: Path, sep: str = "/") -> Path:
    place(root, "images", "labels")
    for split, stems in PARTS.items():
        write(root / f"{split}.txt", "".join(f"images{sep}{stem}.jpg\n" for stem in stems))
    return root


LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "VOC with valid.txt": lambda root: voc(root, roboflow()),
    "VOCdevkit of one year": lambda root: voc(root / "VOC2007").parent,
    "above VOCdevkit": lambda root: voc(root / "VOCdevkit/VOC2012").parent.parent,
    "VOC by Roboflow": lambda root: place(root, "{}", "{}", ".xml", roboflow()),
    "VOC in images and annotations": lambda r: place(r, "images/{}", "annotations/{}", ".xml"),
    "COCO with years": lambda r: annotated(r, "annotations/instances_{}2017.json", "{}2017"),
    "COCO without instances": lambda root: annotated(root, "annotations/{}.json", "images"),
    "COCO beside folders": lambda root: annotated(root, "{}_annotations.json", "images/{}"),
    "COCO by Roboflow": lambda root: annotated(
        root, "{}/_annotations.coco.json", "{}", roboflow(), above=True
    ),
    "YOLO, split below": lambda root: place(root, "images/{}", "labels/{}"),
    "YOLO, split and year below": lambda root: place(root, "images/{}2017", "labels/{}2017"),
    "YOLO, split above": lambda root: place(root, "{}/images", "{}/labels", parts=roboflow()),
    "YOLO, lists": listed,
    "YOLO, lists from Windows": lambda root: listed(root, "\\"),
    "YOLO by Roboflow": lambda root: described(
        root,
        "data.yaml",
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n"
        "nc: 2\nnames: ['cat', 'dog']\nroboflow:\n  version: 1\n",
    ),
    "YOLO from Windows": lambda root: described(
        root,
        "set.yml",
        "path: D:\\sets\\pets\ntrain: ..\\train\\images\nval: valid\\images\ntest: test\\images\n"
        "names: {0: cat, 1: dog}\n",
    ),
    "Darknet by Roboflow": lambda root: (
        write(
            place(root, "{}", "{}", parts=roboflow()) / "train/_darknet.labels", "cat\ndog"
        ).parent.parent
    ),
    "Darknet": darknet,
    "Darknet, its folder": lambda root: darknet(root).parent,
    "Darknet from Windows": lambda root: darknet(root, "\\"),
    "Darknet by CVAT": lambda root: darknet(root, below="task 7"),
}


def rows(path: Path, split: str, names: Iterable[str] | None = None) -> dict[str, list[object]]:
    dataset = open_dataset(path, split, tuple(names) if names else None)
    assert not dataset.defects and dataset.names == NAMES
    return {
        Path(sample.path).stem: [
            (int(cls), *map(float, np.round(box, 3)))
            for cls, box in zip(sample.classes, sample.boxes_xyxy_px, strict=True)
        ]
        for sample in dataset.samples
    }


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_says_the_same(layout: str, tmp_path: Path) -> None:
    data = LAYOUTS[layout](tmp_path)
    for split, stems in PARTS.items():
        assert rows(data, split) == {stem: BOXES[stem] for stem in stems}
    assert rows(data, "valid") == rows(data, "validation") == rows(data, "val")
    assert list(map(without_year, splits(data))) == [*PARTS]
    with pytest.raises(DataError, match=r"no split 'nightly'; use one of: .*train.* \(--split\)$"):
        open_dataset(data, "nightly")


# --- without splits


WHOLE: dict[str, Callable[[Path], Path]] = {
    "labelImg": lambda root: place(root, ".", "."),
    "labelImg's XML": lambda root: place(root, ".", ".", ".xml"),
    "images and labels": lambda root: place(root, "images", "labels"),
    "images and annotations": lambda root: place(root, "images", "annotations", ".xml"),
    "VOC without lists": lambda root: place(root, "JPEGImages", "Annotations", ".xml"),
    "COCO": lambda root: annotated(root, "labels.json", "data", {"": EVERYTHING}),
    "COCO's file": lambda r: annotated(r, "x.json", "images", {"": EVERYTHING}) / "x.json",
}


@pytest.mark.parametrize("layout", WHOLE)
def test_a_set_without_splits_is_split_and_says_so(
    layout: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = WHOLE[layout](tmp_path)
    assert rows(data, "all") == BOXES and not caplog.messages
    train, val = rows(data, "train"), rows(data, "val")
    (told,) = caplog.messages
    assert "no splits, so val is 1 of its 4 pictures, chosen by their names, and training" in told
    assert "uses the other 3; to choose yourself, make " in told
    assert ("train.json" in told) == layout.startswith("COCO")
    assert (len(train), len(val)) == (3, 1) and train | val == BOXES
    assert splits(data) == ["train", "val", "all"] and is_undivided(data)
    with pytest.raises(DataError, match="no split 'test'; use one of: train, val, all"):
        open_dataset(data, "test")


def test_share_is_of_the_names_alone() -> None:
    names = [f"{n:03}" for n in range(100)]
    train, val = draw(names, "train"), draw(reversed(names), "val")
    assert (len(train), len(val)) == (80, 20) and sorted(train + val) == names
    assert sorted(draw(names, "all")) == names and val == draw(names, "val")
    assert (draw(["one"], "train"), draw(["one"], "val")) == (["one"], [])


def test_a_folder_of_a_split_given_itself_is_that_split(tmp_path: Path) -> None:
    for data in (
        place(tmp_path / "yolo", "{}/images", "{}/labels"),
        annotated(tmp_path / "coco", "{}/_annotations.coco.json", "{}"),
    ):
        assert [*rows(data / "test", "test", NAMES)] == ["d"]
        with pytest.raises(DataError, match="no split 'val'; use one of: test"):
            open_dataset(data / "test", "val", NAMES)


def test_a_file_of_coco_is_of_the_split_that_it_names(tmp_path: Path) -> None:
    file = annotated(tmp_path, "annotations/instances_{}2017.json", "{}2017")
    assert [*rows(file / "annotations/instances_val2017.json", "val")] == ["c"]
    with pytest.raises(DataError, match="no split 'train'; use one of: val2017"):
        open_dataset(file / "annotations/instances_val2017.json")
    keypoints = file / "annotations/person_keypoints_val2017.json"
    shutil.copy(file / "annotations/instances_val2017.json", keypoints)
    assert splits(keypoints) == ["val2017"]
    assert splits(file) == ["train2017", "val2017", "test2017"]


# --- VOCdevkit


def test_years_of_a_vocdevkit_are_put_together(tmp_path: Path) -> None:
    voc(tmp_path / "VOC2007", {"trainval": ["a"], "test": ["d"]})
    voc(tmp_path / "VOC2012", {"trainval": ["b", "c"]})
    assert [*rows(tmp_path, "trainval")] == ["a", "b", "c"]
    assert [*rows(tmp_path, "test")] == ["d"]
    assert splits(tmp_path) == ["test", "trainval"]
    with pytest.raises(DataError, match="no split 'val'; use one of: test, trainval"):
        open_dataset(tmp_path, "val")


def test_pictures_of_two_years_with_one_name_are_two(tmp_path: Path) -> None:
    for year in (2007, 2012):
        voc(tmp_path / f"VOC{year}", {"train": ["a"]})
    ids = [sample.image_id for sample in open_dataset(tmp_path).samples]
    assert len({*ids}) == 2


# --- what is unclear


def ambiguous(root: Path, case: str) -> Path:
    """Write a data set that can be read in two ways."""
    place(root, "images/{}", "labels/{}")
    if case == "folders":
        place(root, "{}/images", "{}/labels")
    elif case == "suffixes":
        write(root / "annotations/train/a.xml", xml("a"))
    elif case == "names":
        write(root / "labels/obj.names", "dog\ncat\n")
    elif case == "years":
        (root / "images/train").rename(root / "images/train2007")
        (root / "labels/train").rename(root / "labels/train2007")
        place(root, "images/{}2012", "labels/{}2012", parts={"train": ["a"]})
    elif case == "json":
        write(root / "annotations/train.json", coco(["a"]))
        write(root / "annotations/train_coco.json", coco(["b"]))
    return root


@pytest.mark.parametrize(
    "case, message",
    [
        ("folders", r"may be those of test, train, val or images.test.*; name those .* data\.yaml"),
        ("suffixes", r"some labels are \.txt, as that of .*d\.jpg, and some \.xml.*; move one"),
        ("names", r"the names in .*classes\.txt and .*obj\.names differ; .*--names"),
        ("years", r"'train' may be train2007 or train2012; give one with --split"),
        ("json", r"may be annotations.train\.json or annotations.train_coco\.json; give the file"),
    ],
)
def test_two_readings_are_an_error(case: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        open_dataset(ambiguous(tmp_path, case), "train")


def test_two_names_are_decided_by_the_option(tmp_path: Path) -> None:
    assert [*rows(ambiguous(tmp_path, "names"), "val", NAMES)] == ["c"]


def test_boxes_without_names_need_the_option(tmp_path: Path) -> None:
    (place(tmp_path, "images/{}", "labels/{}") / "classes.txt").unlink()
    with pytest.raises(DataError, match=r"no names: no classes\.txt, \*\.names.*give --names FILE"):
        open_dataset(tmp_path)
    assert [*rows(tmp_path, "val", NAMES)] == ["c"]


def test_lists_of_pictures_elsewhere_are_not_passed_over(tmp_path: Path) -> None:
    place(tmp_path, "images", "labels")
    write(tmp_path / "train.txt", "/content/drive/a.jpg\n")
    with pytest.raises(
        DataError, match=r"train\.txt: none of its .* looked for at .*content.drive"
    ):
        open_dataset(tmp_path)


def test_other_folders_with_labels_are_splits_too_and_others_are_not(tmp_path: Path) -> None:
    place(tmp_path, "{}/images", "{}/labels", parts={"train": ["a"], "more": ["b"]})
    picture(tmp_path / "runs/curve.png")
    assert splits(tmp_path) == ["train", "more"]


def test_json_that_is_not_cocos_is_passed_over(tmp_path: Path) -> None:
    place(tmp_path, "images/{}", "labels/{}")
    write(tmp_path / "train.json", '{"version": "5", "shapes": []}')
    write(tmp_path / "annotations/captions_train.json", coco(["a"]))
    assert [*rows(tmp_path, "val")] == ["c"]


def test_a_category_above_all_with_a_box_is_a_class(tmp_path: Path) -> None:
    content = json.loads(coco(["a"], above=True))
    content["annotations"][0]["category_id"] = 0
    file = write(tmp_path / "train.json", json.dumps(content))
    picture(tmp_path / "a.jpg")
    assert open_dataset(file).names == ("pet", *NAMES)


def test_that_of_several_descriptions_one_is_read_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    voc(tmp_path)
    annotated(tmp_path, "annotations/{}.json", "JPEGImages")
    write(tmp_path / "pets.yaml", "train: JPEGImages\nnames: [cat, dog]\n")
    assert [*rows(tmp_path, "val")] == ["c"]
    assert caplog.messages[0].startswith(
        f"{tmp_path}: read as PASCAL VOC; also there: COCO, pets.yaml; give a file itself"
    )
    open_dataset(tmp_path, "test")
    assert len(caplog.messages) == 1


def test_names_of_splits() -> None:
    assert all(map(is_split, ("train", "Valid", "validation", "TEST", "val2017")))
    assert not any(map(is_split, ("trainval", "2017", "training", "x_train")))
    span = Span("x")
    assert find_split("valid", ["train", "val"], span) == "val"
    assert find_split("val", ["val", "valid"], span) == "val"
    assert find_split("validation", ["Valid", "train"], span) == "Valid"
    assert find_split("val", ["val2014", "valid"], span) == "valid"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            "photos/a.jpg photos/b.jpg mine/a.txt mine/b.txt",
            "2 pictures in photos have a .txt file in mine; rename these folders images and labels",
        ),
        ("pics/a.jpg pics/a.txt", "pics in it is; give {root}/pics"),
        ("x/images/a.jpg x/labels/a.txt y/a.jpg y/a.xml", "x, y in it are; give {root}/x"),
        (
            "images/train/a.jpg labels/trian/a.txt",
            "images/train has pictures, labels/train does not exist (labels/trian does); "
            "rename it train",
        ),
        (
            "train/images/a.jpg train/lables/a.txt",
            "train/images has pictures, train/labels does not exist (train/lables does); "
            "rename it labels",
        ),
        (
            "images/train/a.jpg labels/a.txt",
            "images/train has pictures, labels/train does not exist; "
            "put the labels of its pictures there",
        ),
        (
            "a.jpg a_label.txt b.jpg b_label.txt classes.txt",
            "no picture has a .txt of its name (a.jpg: a.txt); "
            "a_label.txt is there: rename the label files",
        ),
        (
            "images/a.jpg labels/1.xml",
            "no picture has a .xml of its name (a.jpg: a.xml); "
            "1.xml is there: rename the label files",
        ),
        (
            "a.jpg classes.txt",
            "its pictures have no label files; "
            "put a.txt or a.xml beside a.jpg, and so for each picture",
        ),
        (
            "cat/a.jpg dog/b.jpg",
            "its pictures have no label files; "
            "put a.txt or a.xml beside a.jpg, and so for each picture",
        ),
        (
            "readme.md",
            "no pictures, and nothing that describes a data set; "
            "ghostyolo data --help tells what it looks for",
        ),
    ],
)
def test_what_is_nearly_a_data_set_is_told_its_cause_alone(
    files: str, message: str, tmp_path: Path
) -> None:
    for file in files.split():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    with pytest.raises(DataError) as caught:
        open_dataset(tmp_path, "train")
    expected = message.format(root=tmp_path)
    assert str(caught.value) == f"{tmp_path}: not a data set: {expected}"
