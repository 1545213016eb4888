"""Detections as values: their rows, and what other libraries make of them."""

from __future__ import annotations

import numpy as np
import pytest

from ghostyolo.errors import OptionError
from ghostyolo.model.detections import Detections


def test_detections_hold_rows() -> None:
    found = Detections(np.eye(3, 4), [0.9, 0.8, 0.7], [2, 0, 2])
    assert (found.boxes.dtype, found.scores.dtype, found.classes.dtype) == (
        np.float32,
        np.float32,
        np.int64,
    )
    assert len(found) == 3
    assert len(Detections.empty()) == 0
    assert found[found.classes == 2].scores.tolist() == pytest.approx([0.9, 0.7])


@pytest.mark.parametrize(
    ("boxes", "scores", "classes"),
    [
        (np.zeros((2, 4)), [1.0], [0, 0]),
        (np.zeros((2, 5)), [1, 1], [0, 0]),
        (np.zeros((1, 4)), [[1]], [0]),
    ],
)
def test_detections_refuse_unequal_rows(boxes: np.ndarray, scores: list, classes: list) -> None:
    with pytest.raises(ValueError, match=r"not \(n, 4\)"):
        Detections(boxes, scores, classes)


def test_detections_go_to_supervision_or_say_what_is_missing() -> None:
    found = Detections(np.ones((2, 4)), np.array([0.5, 0.25]), np.array([3, 1]))
    assert found.xyxy is found.boxes
    assert found.confidence is found.scores
    assert found.class_id is found.classes
    try:
        import supervision
    except ModuleNotFoundError:
        with pytest.raises(OptionError, match="supervision is not installed; pip install"):
            found.to_supervision()
    else:
        assert isinstance(found.to_supervision(), supervision.Detections)
