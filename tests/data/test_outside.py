"""Files of COCO and VOC that name pictures outside the folder of the data set are refused."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from ghostyolo import cli
from ghostyolo.data import open_dataset
from ghostyolo.errors import DataError
from support import tiny

BOX = "<bndbox><xmin>8</xmin><ymin>4</ymin><xmax>48</xmax><ymax>24</ymax></bndbox>"
XML = f"<annotation><object><name>cat</name>{BOX}</object></annotation>"


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((48, 64, 3), 90, np.uint8))


def coco(root: Path, other: str, folder: str = "annotations") -> Path:
    """Write a data set with a picture in its folder and one elsewhere."""
    picture(root / "data/images/train/a.jpg")
    picture(root / "secret/b.jpg")
    names = {1: "a.jpg", 2: other.replace("ROOT", str(root))}
    content = {
        "images": [{"id": number, "file_name": name} for number, name in names.items()],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1, "bbox": [8, 4, 20 * n, 20]} for n in names
        ],
        "categories": [{"id": 1, "name": "cat"}],
    }
    path = root / "data" / folder / "instances_train.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return root / "data"


def voc(root: Path, other: str) -> Path:
    """Write a data set that lists a picture in its folder and one elsewhere."""
    for stem, folder in (("a", "data"), ("b", "secret")):
        picture(root / folder / f"JPEGImages/{stem}.jpg")
        place = "Annotations" if stem == "a" else "JPEGImages"
        (root / folder / place).mkdir(exist_ok=True)
        (root / folder / f"{place}/{stem}.xml").write_text(XML)
    (root / "data/ImageSets/Main").mkdir(parents=True)
    listed = f"a\n{other.replace('ROOT', str(root))}\n"
    (root / "data/ImageSets/Main/train.txt").write_text(listed)
    (root / "data/x.names").write_text("cat\n")
    return root / "data"


OUTSIDE = [
    (coco, "../../../secret/b.jpg"),
    (coco, "ROOT/secret/b.jpg"),
    (coco, "../../images/../../secret/b.jpg"),
    (voc, "ROOT/secret/JPEGImages/b"),
]


@pytest.mark.parametrize(("write", "name"), OUTSIDE)
def test_pictures_outside_are_refused_unless_allowed(write, name: str, tmp_path: Path) -> None:
    root = write(tmp_path, name)
    told = (
        r"pictures outside of the data set's folder: 1, such as .*secret.*b.jpg; .*--allow-outside"
    )
    with pytest.raises(DataError, match=told):
        open_dataset(root)
    assert len(open_dataset(root, allow_outside=True)) == 2


def test_a_given_file_belongs_to_the_folder_of_its_annotations(tmp_path: Path) -> None:
    root = coco(tmp_path, "../../../secret/b.jpg")
    path = root / "annotations/instances_train.json"
    with pytest.raises(DataError, match="outside of the data set's folder: 1,"):
        open_dataset(path)
    assert len(open_dataset(path, allow_outside=True)) == 2


@pytest.mark.parametrize("name", ["ROOT/data/images/train/b.jpg", "../train/b.jpg", "./b.jpg"])
def test_pictures_inside_may_have_any_path(name: str, tmp_path: Path) -> None:
    root = coco(tmp_path, name)
    picture(root / "images/train/b.jpg")
    assert len(open_dataset(root)) == 2


def test_links_lead_where_their_owner_wants(tmp_path: Path) -> None:
    root = coco(tmp_path, "b.jpg")
    (root / "images/train/b.jpg").symlink_to(tmp_path / "secret/b.jpg")
    assert len(open_dataset(root)) == 2


def test_darknets_lists_may_name_any_picture(tmp_path: Path) -> None:
    picture(tmp_path / "elsewhere/a.jpg")
    (tmp_path / "elsewhere/a.txt").write_text("0 .5 .5 .2 .2\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/train.txt").write_text(f"{tmp_path}/elsewhere/a.jpg\n")
    (tmp_path / "data/x.names").write_text("cat\n")
    (tmp_path / "data/x.data").write_text("train = train.txt\nnames = x.names\n")
    assert len(open_dataset(tmp_path / "data")) == 1


def test_every_command_that_reads_data_can_be_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = coco(tmp_path, "../../../secret/b.jpg")
    cfg = tmp_path / "x.cfg"
    cfg.write_text(tiny.CFG.replace("classes=6", "classes=1").replace("filters=22", "filters=12"))
    from ghostyolo.model.model import Model

    Model(str(cfg)).save_weights(tmp_path / "x.weights")
    model = (str(cfg), str(tmp_path / "x.weights"))
    train = ("--val-split", "none", "--epochs", "1", "--batch", "2", "--project", str(tmp_path))
    (root / "annotations/instances_val.json").write_bytes(
        (root / "annotations/instances_train.json").read_bytes()
    )
    picture(root / "images/val/a.jpg")
    commands = [
        ("data", str(root)),
        ("anchors", str(root), str(cfg), "--num", "2"),
        ("val", *model, str(root)),
        ("train", str(cfg), str(root), *train),
        ("export", *model, str(tmp_path / "x.onnx"), "--val", str(root)),
    ]
    for command in commands:
        assert cli.main(list(command)) == 1, command
        assert "outside of the data set's folder: 1," in capsys.readouterr().err, command
        assert cli.main([*command, "--allow-outside"]) == 0, (command, capsys.readouterr())
        capsys.readouterr()
