"""Detections as values: rows, single detections, texts, pictures, and other libraries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ghostyolo.data.images import decode_image, read_image, write_image
from ghostyolo.errors import OptionError
from ghostyolo.model.detections import MOST_LISTED, SHOWN, Detection, Detections, in_words

NAMES = ("cat", "dog")


def found(**rest: object) -> Detections:
    """Return two dogs and a third class that has no name."""
    boxes = [[1, 2, 21.5, 30], [30, 4, 50, 20], [0, 0, 60, 40]]
    return Detections(boxes, [0.9, 0.5, 0.125], [1, 1, 7], NAMES, **rest)


def test_rows_are_picked_by_slice_array_and_mask() -> None:
    three = found(picture="x.jpg")
    assert [three.boxes.dtype, three.scores.dtype, three.classes.dtype] == ["f4", "f4", "i8"]
    for rows in (slice(1, None), np.array([1, 2]), [1, 2], three.scores < 0.6):
        some = three[rows]
        assert some.scores.tolist() == [0.5, 0.125]
        assert (some.class_names, some.picture) == (NAMES, "x.jpg")
    assert len(three[[]]) == len(Detections.empty()) == 0


def test_an_integer_and_iteration_give_single_detections() -> None:
    first = Detection((1.0, 2.0, 21.5, 30.0), found().scores[0].item(), 1, "dog")
    assert found()[0] == found()[np.int64(-3)] == next(iter(found())) == first
    assert [each.name for each in found()] == found().names == ["dog", "dog", "class 7"]
    assert [type(value) for value in (*found()[0].box, found()[0].score)] == [float] * 5
    assert str(first) == "dog 0.90 at 1.0, 2.0, 21.5, 30.0"
    with pytest.raises(IndexError, match="out of bounds"):
        found()[3]


def test_text_names_what_was_found() -> None:
    lines = repr(found()).splitlines()
    assert lines[:2] == ["3 detections: 2 dog, 1 class 7", "  dog 0.90 at 1.0, 2.0, 21.5, 30.0"]
    assert len(lines) == 4
    assert repr(found()[:1]).startswith("1 detection: 1 dog\n")
    assert repr(Detections.empty()) == "no detections"
    many = found()[[0] * (MOST_LISTED + 5)]
    assert repr(many).splitlines()[-1] == "  and 5 more"
    assert in_words(found(), ()) == "2 class 1, 1 class 7"
    assert in_words(Detections.empty(), NAMES) == "nothing found"


def test_picture_is_drawn_and_shown_in_a_notebook(tmp_path: Path) -> None:
    black = np.zeros((40, 2 * SHOWN, 3), np.uint8)
    write_image(tmp_path / "x.png", black)
    for picture in (black, tmp_path / "x.png", str(tmp_path / "x.png")):
        drawn = found(picture=picture).draw(tmp_path / "y.png")
        assert drawn.shape == black.shape
        assert drawn.any()
        np.testing.assert_array_equal(read_image(tmp_path / "y.png"), drawn)
        shown = decode_image(found(picture=picture)._repr_jpeg_(), "shown")
        assert shown.shape == (20, SHOWN, 3)
    assert not black.any()


def test_without_its_picture_it_is_a_text(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no picture to draw on; set it: dataclasses"):
        found().draw()
    assert found()._repr_jpeg_() is None
    assert found(picture=tmp_path / "gone.jpg")._repr_jpeg_() is None


@pytest.mark.parametrize(
    ("boxes", "scores", "classes"),
    [
        (np.zeros((2, 4)), [1.0], [0, 0]),
        (np.zeros((2, 5)), [1, 1], [0, 0]),
        (np.zeros((1, 4)), [[1]], [0]),
    ],
)
def test_unequal_rows_are_refused(boxes: np.ndarray, scores: list, classes: list) -> None:
    with pytest.raises(ValueError, match=r"not \(n, 4\)"):
        Detections(boxes, scores, classes)


def test_supervision_gets_boxes_and_names_or_the_user_what_is_missing() -> None:
    three = found()
    assert three.xyxy is three.boxes
    assert three.confidence is three.scores
    assert three.class_id is three.classes
    try:
        import supervision
    except ModuleNotFoundError:
        with pytest.raises(OptionError, match="supervision is not installed; pip install"):
            three.to_supervision()
        return
    for given in (three, Detections.empty()):
        theirs = given.to_supervision()
        assert isinstance(theirs, supervision.Detections)
        assert theirs["class_name"].tolist() == given.names
        assert theirs.xyxy.tolist() == given.boxes.tolist()
    assert three.to_supervision()[1:].data["class_name"].tolist() == ["dog", "class 7"]
