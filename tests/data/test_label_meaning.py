"""Labels that mean something else than they seem to: read rightly or refused, and told."""

from __future__ import annotations

import json
import struct
import time
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ghostyolo.data import Dataset, open_dataset
from ghostyolo.data.images import read_image
from ghostyolo.errors import DataError

H, W = 48, 64
BOX = (8, 4, 40, 20)  # left, top, width, height
Record = dict[str, Any]


def picture(path: Path, size: tuple[int, int] = (H, W)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*size, 3), 90, np.uint8))


# --- rows of text files


def yolo(root: Path, *files: str, more: str = "") -> Path:
    """Write a data set with a picture for each text; return its data.yaml."""
    for number, text in enumerate(files):
        picture(root / f"images/train/{number}.jpg")
        path = root / f"labels/train/{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "data.yaml").write_text(f"train: images/train\nnames: [cat, dog]\n{more}")
    return root / "data.yaml"


def pose(points: int, dims: int, cx: float = 0.5, size: float = 0.2) -> str:
    """Return a row of a box with points inside it."""
    values: list[float] = [cx, 0.5, size, size / 2]
    for place in range(points):
        values += [cx + size * (place / points - 0.5), 0.5 + size / 5][:2]
        values += [place % 3] if dims == 3 else []
    return "0 " + " ".join(f"{value:g}" for value in values) + "\n"


POSES = [(4, 3), (17, 3), (1, 3), (2, 3), (4, 2), (5, 2)]


@pytest.mark.parametrize(("points", "dims"), POSES)
def test_rows_with_keypoints_are_read_by_their_shape(
    points: int, dims: int, tmp_path: Path
) -> None:
    rows = pose(points, dims) + "1 .5 .5 .25 .25\n"
    dataset = open_dataset(yolo(tmp_path, rows, more=f"kpt_shape: [{points}, {dims}]\n"))
    expected = [[25.6, 21.6, 38.4, 26.4], [24, 18, 40, 30]]
    np.testing.assert_allclose(dataset.samples[0].boxes_xyxy_px, expected, rtol=1e-6)
    assert dataset.defects == {"keypoints left out": 1}


@pytest.mark.parametrize(("points", "dims"), POSES)
def test_rows_with_keypoints_of_unknown_shape_are_refused(
    points: int, dims: int, tmp_path: Path
) -> None:
    rows = [pose(points, dims, cx) for cx in (0.3, 0.5, 0.8)]
    told = rf"0\.txt:1: rows of {5 + points * dims} columns are boxes with keypoints; add kpt_shape"
    with pytest.raises(DataError, match=told):
        open_dataset(yolo(tmp_path, "".join(rows), rows[0]))


@pytest.mark.parametrize(
    "rows",
    [
        "0 .5 .5 .2 .1 .9 1\n0 .4 .4 .2 .1 .8 2\n",
        "0 .5 .5 .2 .1 12 .75\n0 .5 .5 .2 .1 13 .75\n",
        "0 .5 .5 .2 .1 .9 1\n" * 3,
        "0 .5 .5 .2 .1 .91\n1 .5 .5 .2 .1 .5\n",
    ],
)
def test_rows_of_a_tracker_are_refused(rows: str, tmp_path: Path) -> None:
    columns = len(rows.splitlines()[0].split())
    told = rf"0\.txt:1: rows of {columns} columns are boxes with .*; keep the first five columns"
    with pytest.raises(DataError, match=told):
        open_dataset(yolo(tmp_path, rows, "1 .25 .25 .2 .1" + " 1" * (columns - 5)))


@pytest.mark.parametrize(
    "rows",
    [
        "0 .1 .1 .5 .1 .5 .5\n",  # a triangle
        "0 .1 .1 .5 .1 .5 1\n",  # that touches the edge
        "0 .5 .5 .54 .5 .54 .53 .5 .53\n0 .2 .2 .23 .21 .22 .24 .19 .23\n" * 3,  # turned boxes
        "0 .5 .5 .54 .5 .54 .53 .5 .53 .49 .52\n1 0 0 1 0 1 1 0 1\n" * 3,
        "0 .2 .9 .4 .9 .4 1 .2 1\n" * 5,
        "0 .5 .5 .52 .5 .52 .53 .5 .53 .5 .5\n1 .8 .3 .84 .3 .84 .32 .8 .32 .8 .3\n" * 9,  # closed
        "0 .50 .50 .51 .51 .50 .52\n1 .6 .3 .66 .33 .6 .36\n" * 9,  # triangles
        "0 .6 .5 .59 .51 .58 .52 .57 .51 .57 .5 .58 .49\n1 .9 .8 .8 .9 .7 .9 .6 .8 .7 .7 .8 .7\n"
        * 9,
        "0 0 .3 .4 .3 .4 .6 0 .6 0 .5\n" * 4,
    ],
)
def test_polygons_stay_polygons(rows: str, tmp_path: Path) -> None:
    dataset = open_dataset(yolo(tmp_path, rows))
    count = len(rows.splitlines())
    assert dataset.defects["polygon taken as its box"] == count


@pytest.mark.parametrize("shape", ["3", "[0, 2]", "[4, 5]", "[a, 3]", "[1000000, 3]"])
def test_shapes_that_are_none_are_refused(shape: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data.yaml:3: kpt_shape is not \[number of points"):
        open_dataset(yolo(tmp_path, "0 .5 .5 .2 .2\n", more=f"kpt_shape: {shape}\n"))


def test_many_lines_are_read_in_time_that_grows_with_their_number(tmp_path: Path) -> None:
    """And what is more than a picture can hold is told."""
    path = yolo(tmp_path, "".join(f"{i % 2} .5 .5 .{i + 100_000} .4\n" for i in range(100_000)))
    start = time.process_time()
    dataset = open_dataset(path)
    assert time.process_time() - start < 6
    assert dataset.defects == {"picture with more boxes than pixels": 1}
    assert len(dataset.samples[0].classes) == 100_000


@pytest.mark.parametrize("value", ["1e308", "-1e308", "1e999", "nan", "1e-320", "9" * 5000])
def test_huge_numbers_leak_no_warning(value: str, tmp_path: Path) -> None:
    rows = [f"{value} .5 .5 .2 .2", *(f"0 .5 {value} .2 .2", f"0 .5 .5 {value} {value}")]
    rows += [f"0 .1 .1 {value} .1 .5 .5", "0 .5 .5 .2 .2"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = open_dataset(yolo(tmp_path, "\n".join(rows)))
    assert len(dataset.samples[0].classes) >= 1


# --- COCO


def coco(
    root: Path, *boxes: tuple[float, ...], images: Record | None = None, **changes: Any
) -> Path:
    """Write a data set of one picture. changes: lists of the file, or keys of annotations."""
    picture(root / "images/train/0.jpg")
    keys = {key: changes.pop(key) for key in list(changes) if key not in ("categories", "raw")}
    content = {
        "images": [{"id": 7, "file_name": "0.jpg", "width": W, "height": H} | (images or {})],
        "annotations": [
            {"id": n, "image_id": 7, "category_id": 1, "bbox": list(box)} | keys
            for n, box in enumerate(boxes)
        ],
        "categories": changes.get("categories", [{"id": 1, "name": "cat"}]),
    }
    text = changes.get("raw") or json.dumps(content)
    path = root / "annotations/instances_train.json"
    path.parent.mkdir()
    path.write_text(text)
    return root


def corners(dataset: Dataset) -> list[list[float]]:
    return dataset.samples[0].boxes_xyxy_px.tolist()


def test_boxes_in_fractions_are_refused(tmp_path: Path) -> None:
    told = "none of 2 labels can be used, 2 x box in fractions, not pixels"
    with pytest.raises(DataError, match=f"{told}; multiply them by the width and height"):
        open_dataset(coco(tmp_path, (0.1, 0.2, 0.5, 0.5), (0, 0, 1, 1)))


def test_boxes_in_fractions_among_others_are_left_out(tmp_path: Path) -> None:
    dataset = open_dataset(coco(tmp_path, (0.1, 0.2, 0.5, 0.5), BOX))
    assert corners(dataset) == [[8, 4, 48, 24]]
    assert dataset.defects == {"box in fractions, not pixels": 1}


def test_voc_boxes_in_fractions_are_refused(tmp_path: Path) -> None:
    corner = "<xmin>.1</xmin><ymin>.1</ymin><xmax>.5</xmax><ymax>.5</ymax>"
    body = f"<object><name>cat</name><bndbox>{corner}</bndbox></object>"
    picture(tmp_path / "images/0.jpg")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/0.xml").write_text(f"<annotation>{body}</annotation>")
    with pytest.raises(DataError, match="1 x box in fractions, not pixels"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    ("picture_id", "image_id", "count"),
    [("7", 7, 1), (7, "7", 1), (7.0, 7, 0), ("7", 7.0, 1), ("a7", "a7", 0)],
)
def test_ids_as_text_and_as_numbers_are_the_same(
    picture_id: Any, image_id: Any, count: int, tmp_path: Path
) -> None:
    root = coco(tmp_path, BOX, images={"id": picture_id}, image_id=image_id)
    dataset = open_dataset(root)
    assert corners(dataset) == [[8, 4, 48, 24]]
    assert dataset.defects["id that is text here and a number there"] == count


def test_annotations_that_all_belong_to_no_picture_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of 2 labels can be used, 2 x box of no listed pict"):
        open_dataset(coco(tmp_path, BOX, BOX, image_id=8))


@pytest.mark.parametrize(
    ("crowd", "ignored"), [("0", False), ("1", True), (0, False), (1, True), (None, False),
                           (True, True), (1.0, True), ("", False)],
)  # fmt: skip
def test_crowds_may_be_text(crowd: Any, ignored: bool, tmp_path: Path) -> None:
    dataset = open_dataset(coco(tmp_path, BOX, iscrowd=crowd))
    assert dataset.samples[0].ignore.tolist() == [ignored]


@pytest.mark.parametrize("crowd", ["yes", 2, [], "01"])
def test_crowds_that_are_neither_are_malformed(crowd: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 x malformed label"):
        open_dataset(coco(tmp_path, BOX, iscrowd=crowd))


@pytest.mark.parametrize(
    "categories",
    [
        [{"id": "10", "name": "b"}, {"id": "1", "name": 5}, {"id": "9", "name": "a"}],
        [{"id": 10, "name": "b"}, {"id": 1.0, "name": 5}, {"id": "9", "name": "a"}],
    ],
)
def test_categories_may_be_text_and_names_numbers(categories: Any, tmp_path: Path) -> None:
    dataset = open_dataset(coco(tmp_path, BOX, category_id="9", categories=categories))
    assert dataset.names == ("5", "a", "b")
    assert dataset.samples[0].classes.tolist() == [1]


@pytest.mark.parametrize(
    ("category", "message"),
    [
        ({"id": "one", "name": "a"}, "id 'one' is not a whole number"),
        ({"id": 1.5, "name": "a"}, "id 1.5 is not a whole number"),
        ({"id": True, "name": "a"}, "id True is not a whole number"),
        ({"id": 1, "name": None}, "name None is no text"),
        ({"id": 1, "name": ["a"]}, r"name \['a'\] is no text"),
        ({"id": 1}, "it has no name"),
        ({"name": "a"}, "it has no id"),
        (5, "5 is no object"),
    ],
)
def test_categories_that_are_none_are_named(category: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"categories\[1\]: {message}"):
        open_dataset(coco(tmp_path, BOX, categories=[{"id": 3, "name": "x"}, category]))


def test_many_categories_take_time_that_grows_with_their_number(tmp_path: Path) -> None:
    categories = [{"id": i, "name": f"c{i}", "supercategory": "none"} for i in range(20_000)]
    start = time.process_time()
    assert len(open_dataset(coco(tmp_path, BOX, categories=categories)).names) == 20_000
    assert time.process_time() - start < 4


def test_two_categories_with_one_id_are_refused(tmp_path: Path) -> None:
    categories = [{"id": 1, "name": "a"}, {"id": "1", "name": "b"}]
    with pytest.raises(DataError, match=r"categories\[1\]: id 1 is that of another category"):
        open_dataset(coco(tmp_path, BOX, categories=categories))


@pytest.mark.parametrize("name", ["a\ud800", "a\0b"])
def test_names_that_no_file_can_hold_are_written(name: str, tmp_path: Path) -> None:
    dataset = open_dataset(coco(tmp_path, BOX, categories=[{"id": 1, "name": name}]))
    dataset.names[0].encode()


@pytest.mark.parametrize("name", ["a\ud800.jpg", "a\0b.jpg", "x" * 5000])
def test_file_names_that_no_file_can_have(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of 1 pictures can be used, 1 x missing picture"):
        open_dataset(coco(tmp_path, BOX, images={"file_name": name}))


def test_integers_of_thousands_of_digits_are_refused(tmp_path: Path) -> None:
    raw = '{"images": [], "annotations": [], "categories": [{"id": ' + "9" * 5000 + "}]}"
    with pytest.raises(DataError, match=r"instances_train.json: not JSON: .*4300 digits"):
        open_dataset(coco(tmp_path, raw=raw))


@pytest.mark.parametrize("size", [10**400, 10**9, "64", -3, 0, 1e308])
def test_sizes_that_are_none_are_those_of_the_picture(size: Any, tmp_path: Path) -> None:
    dataset = open_dataset(coco(tmp_path, BOX, images={"width": size}))
    assert dataset.samples[0].size == (H, W)


# --- pictures that a phone turned


def with_orientation(path: Path, orientation: int) -> None:
    data = path.read_bytes()
    exif = b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:])


def with_bright_box(path: Path, box: tuple[int, ...]) -> None:
    """Write a dark picture of H x W with a bright rectangle."""
    image = np.zeros((H, W, 3), np.uint8)
    x, y, w, h = box
    image[y : y + h, x : x + w] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 100])


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_boxes_of_a_stored_picture_are_turned_with_it(orientation: int, tmp_path: Path) -> None:
    """The label states the size as stored; the picture is shown upright."""
    root = coco(tmp_path, BOX)
    path = root / "images/train/0.jpg"
    with_bright_box(path, BOX)
    with_orientation(path, orientation)
    dataset = open_dataset(root)
    (sample,) = dataset.samples
    bright = np.argwhere(read_image(path)[..., 0] > 127)
    (top, left), (bottom, right) = bright.min(0), bright.max(0) + 1
    assert sample.boxes_xyxy_px.tolist() == [[left, top, right, bottom]]
    assert sample.size == (W, H)
    assert dataset.defects == {"boxes turned with their picture, as its EXIF says": 1}
    assert sample.read()[1].keys() == {"picture turned upright, as its EXIF says"}


def test_boxes_of_the_upright_picture_stay(tmp_path: Path) -> None:
    root = coco(tmp_path, (4, 8, 20, 50), images={"width": H, "height": W})
    with_orientation(root / "images/train/0.jpg", 6)
    dataset = open_dataset(root)
    assert corners(dataset) == [[4, 8, 24, 58]]
    assert not dataset.defects


def test_boxes_that_fit_only_the_upright_picture_stay(tmp_path: Path) -> None:
    """A tool that shows pictures upright may still write their stored size."""
    root = coco(tmp_path, (4, 8, 20, 50))
    with_orientation(root / "images/train/0.jpg", 6)
    assert corners(open_dataset(root)) == [[4, 8, 24, 58]]
