"""Labels and names in the encodings that tools of East Asia and old editors write."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from ghostyolo.data import open_dataset
from ghostyolo.data.class_names import read_names
from ghostyolo.data.layouts.labels_xml import read_annotation
from ghostyolo.errors import DataError

BOX = "<bndbox><xmin>4</xmin><ymin>5</ymin><xmax>20</xmax><ymax>21</ymax></bndbox>"
XML = "<annotation><object><name>{}</name>{}</object></annotation>"


def dataset(folder: Path, name: str, encoding: str, declared: str | None) -> Path:
    """Write a picture with an annotation of one box."""
    head = f'<?xml version="1.0" encoding="{declared}"?>\n' if declared else ""
    (folder / "a.xml").write_bytes((head + XML.format(name, BOX)).encode(encoding))
    cv2.imwrite(str(folder / "a.jpg"), np.zeros((32, 32, 3), np.uint8))
    return folder


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("猫", "gbk"), ("猫", "gb2312"), ("猫", "shift_jis"), ("貓", "big5"),
        ("고양이", "euc-kr"), ("chât", "iso-8859-1"), ("кот", "windows-1251"), ("猫", "utf-16"),
    ],
)  # fmt: skip
def test_annotation_is_decoded_as_it_declares(name: str, encoding: str, tmp_path: Path) -> None:
    read = open_dataset(dataset(tmp_path, name, encoding, encoding), "train")
    assert read.names == (name,)
    assert read.samples[0].boxes_xyxy_px.tolist() == [[4, 5, 20, 21]]
    assert not read.defects


@pytest.mark.parametrize("encoding", ["gbk", "utf-8"])
def test_annotation_without_a_declaration(encoding: str, tmp_path: Path) -> None:
    assert open_dataset(dataset(tmp_path, "大狗", encoding, None), "train").names == ("大狗",)


def test_bytes_that_do_not_fit_are_replaced_and_counted(tmp_path: Path) -> None:
    read = open_dataset(dataset(tmp_path, "狗a", "gbk", "utf-8"), "train")
    assert read.names[0].endswith("a")
    assert read.defects == {"bytes that do not fit the encoding": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('<?xml version="1.0" encoding="utf-99"?><annotation/>', "unknown encoding 'utf-99'"),
        ("<annotation>" + "<a>\n" * 100 + "</a>" * 100 + "</annotation>", "a.xml:64: more than 64"),
    ],
)
def test_annotation_that_is_none_is_named(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(content)
    with pytest.raises(DataError, match=message):
        read_annotation(tmp_path / "a.xml")


@pytest.mark.parametrize(
    ("encoding", "name", "told"), [("gbk", "狗", "gb2312"), ("latin-1", "chât noir", "latin-1")]
)
def test_names_in_another_encoding_are_read_and_told(
    encoding: str, name: str, told: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "classes.txt"
    path.write_bytes(f"{name}\ndog\n".encode(encoding))
    assert read_names(path) == (name, "dog")
    assert f"is not UTF-8, read as {told}; save it as UTF-8" in caplog.text


def test_names_that_are_a_device_are_refused() -> None:
    with pytest.raises(DataError, match="is a device or pipe, not a file"):
        read_names("/dev/zero")


def described(folder: Path, description: str, encoding: str) -> Path:
    """Write a data set of one picture that a file in some encoding describes; return the file."""
    (folder / "images/train").mkdir(parents=True)
    cv2.imwrite(str(folder / "images/train/a.jpg"), np.zeros((32, 32, 3), np.uint8))
    (folder / "images/train/a.txt").write_text("0 .5 .5 .5 .5\n")
    path = folder / ("instances_train.json" if description.startswith("{") else "data.yaml")
    path.write_bytes(description.encode(encoding))
    return path


YAML = "train: images/train\nnames: [大狗]\n"
COCO = """{"images": [{"id": 1, "file_name": "a.jpg"}], "categories": [{"id": 1, "name": "大狗"}],
"annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [8, 8, 16, 16]}]}"""


@pytest.mark.parametrize("description", [YAML, COCO])
@pytest.mark.parametrize("encoding", ["gbk", "utf-16", "utf-8-sig"])
def test_descriptions_may_be_in_other_encodings(
    description: str, encoding: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    read = open_dataset(described(tmp_path, description, encoding), "train")
    assert read.names == ("大狗",)
    assert read.samples[0].boxes_xyxy_px.tolist() == [[8, 8, 24, 24]]
    assert ("is not UTF-8, read as" in caplog.text) == (encoding != "utf-8-sig")


def test_lists_and_labels_may_be_in_utf16(tmp_path: Path) -> None:
    described(tmp_path, YAML, "utf-8")
    label = tmp_path / "images/train/a.txt"
    label.write_bytes(label.read_text().encode("utf-16"))
    (tmp_path / "data.yaml").write_text("train: train.txt\nnames: [dog]\n")
    (tmp_path / "train.txt").write_bytes("images/train/a.jpg\r\n".encode("utf-16"))
    read = open_dataset(tmp_path / "data.yaml", "train")
    assert read.samples[0].boxes_xyxy_px.tolist() == [[8, 8, 24, 24]]
    assert not read.defects
