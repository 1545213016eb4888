"""Pictures to detections, files and words."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from ghostyolo.errors import DataError
from ghostyolo.model.detections import Detections
from ghostyolo.prediction import predict, writers
from ghostyolo.prediction.predict import Prediction, predict_files
from ghostyolo.prediction.sources import Sources, find_pictures
from ghostyolo.prediction.writers import output_paths

NAMES = ("cat", "dog")


def found(path: Path = Path("x.jpg"), size: tuple[int, int] = (40, 60)) -> Prediction:
    """Return a black picture with two dogs and a third class that has no name."""
    boxes = np.array([[1, 2, 21.5, 30], [30, 4, 50, 20], [0, 0, 60, 40]], np.float32)
    scores, classes = np.array([0.9, 0.5, 0.123456789], np.float32), np.array([1, 1, 7])
    return Prediction(str(path), size, Detections(boxes, scores, classes))


def write(path: Path, size: tuple[int, int] = (40, 60)) -> Path:
    cv2.imwrite(str(path), np.full((*size, 3), 90, np.uint8))
    return path


def test_sources_are_expanded_in_order_and_once(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "c.jpeg"):
        write(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    got = find_pictures([tmp_path / "c.jpeg", tmp_path, f"{tmp_path}/?.png"])
    assert [path.name for path in got] == ["c.jpeg", "a.JPG", "b.png"]


def test_folders_in_a_folder_count(tmp_path: Path) -> None:
    """Such as those of a classifier's classes, which hold no picture side by side."""
    for name in ("cat", "dog"):
        (tmp_path / "train" / name).mkdir(parents=True)
        write(tmp_path / "train" / name / "1.png")
    got = find_pictures([tmp_path / "train"])
    assert [path.parent.name for path in got] == ["cat", "dog"]


def test_name_with_the_marks_of_a_pattern_is_a_name_first(tmp_path: Path) -> None:
    path = write(tmp_path / "a[1].png")
    assert find_pictures([path]) == [path]


@pytest.mark.parametrize(
    ("name", "message"),
    [("none.jpg", "no such file or folder; check the path"), ("", "no pictures in this folder")],
)
def test_source_without_pictures_is_named(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        find_pictures([tmp_path / name])
    assert str(caught.value).startswith(f"{tmp_path / name}: {message}")


def test_unreadable_picture_is_passed_on(tmp_path: Path) -> None:
    good, bad = write(tmp_path / "good.png"), tmp_path / "bad.png"
    bad.write_bytes(good.read_bytes()[:60])
    seen: list[tuple[int, ...]] = []

    def detector(images: list[np.ndarray]) -> list[Detections]:
        seen.extend(image.shape for image in images)
        return [found().result for _ in images]

    done = list(predict_files(detector, [bad, good]))
    assert isinstance(done[0], DataError)
    assert str(bad) in str(done[0])
    assert isinstance(done[1], Prediction)
    assert done[1].source == str(good)
    assert seen == [(40, 60, 3)]


def test_row_and_file(tmp_path: Path) -> None:
    item = found()
    row = predict.picture_row(item.size, predict.detected(item.result, NAMES), item.source, 3)
    assert list(row) == ["schema", "file", "frame", "width", "height", "format", "detections"]
    assert list(row.values())[:6] == [1, "x.jpg", 3, 60, 40, "xyxy"]
    assert row["detections"][0] == {
        "class": 1, "name": "dog", "score": 0.9, "box": [1, 2, 21.5, 30],
    }  # fmt: skip
    assert row["detections"][2]["name"] == "class 7"
    assert row["detections"][2]["score"] == 0.12346
    best = predict.classified(np.array([0.1, 0.6, 0.3]), NAMES, 2)
    assert predict.picture_row(item.size, best) == {
        "schema": 1,
        "width": 60,
        "height": 40,
        "classes": [
            {"class": 1, "name": "dog", "probability": 0.6},
            {"class": 2, "name": "class 2", "probability": 0.3},
        ],
    }
    with writers.json_list(tmp_path / "x.json", indent=1) as add:
        add(row)
    assert json.loads((tmp_path / "x.json").read_text()) == [row]


def test_targets_have_names_of_their_own(tmp_path: Path) -> None:
    paths = [Path("a/x.jpg"), Path("b/x.jpg"), Path("b/x-2.jpg"), Path("c/x.jpg"), Path("y.png")]
    targets = output_paths(Sources(paths, []), tmp_path)
    assert [targets[str(path)].name for path in paths] == [
        "x.jpg", "x-2.jpg", "x-2-2.jpg", "x-3.jpg", "y.png",
    ]  # fmt: skip
    assert {path.parent for path in targets.values()} == {tmp_path}
    odd = output_paths(Sources([Path("x"), Path("x.camera"), Path("x.PNG")], []), tmp_path)
    assert [path.name for path in odd.values()] == ["x.jpg", "x-2.jpg", "x.PNG"]
    labels = output_paths(Sources([*paths, Path("x.png"), Path("-")], []), tmp_path, ".txt")
    assert [path.name for path in labels.values()] == [
        "x.txt", "x-2.txt", "x-2-2.txt", "x-3.txt", "y.txt", "x-4.txt", "stdin.txt",
    ]  # fmt: skip
