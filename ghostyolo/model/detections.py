"""The detections in one picture. No torch is needed."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from ghostyolo.errors import OptionError


@dataclass(frozen=True, eq=False)
class Detections:
    """The detections in one picture: one row for each box and class.

    boxes: (n, 4) float32, xyxy in pixels of the original picture. scores: (n,) float32.
    classes: (n,) int64. Indexing with an array, a mask or a slice selects rows.

    Raises ValueError if the arrays do not have the same number of rows.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray

    def __post_init__(self) -> None:
        for field, dtype in (("boxes", np.float32), ("scores", np.float32), ("classes", np.int64)):
            object.__setattr__(self, field, np.asarray(getattr(self, field), dtype))
        n = len(self.boxes)
        if (self.boxes.shape, self.scores.shape, self.classes.shape) != ((n, 4), (n,), (n,)):
            raise ValueError(
                f"boxes {self.boxes.shape}, scores {self.scores.shape} and classes "
                f"{self.classes.shape} are not (n, 4), (n,) and (n,)"
            )

    @property
    def xyxy(self) -> np.ndarray:
        """Return the boxes, under the name that the library `supervision` uses."""
        return self.boxes

    @property
    def confidence(self) -> np.ndarray:
        """Return the scores, under the name that the library `supervision` uses."""
        return self.scores

    @property
    def class_id(self) -> np.ndarray:
        """Return the classes, under the name that the library `supervision` uses."""
        return self.classes

    def to_supervision(self) -> Any:
        """Return a `supervision.Detections`. Raises `OptionError` without that library."""
        try:
            supervision: Any = importlib.import_module("supervision")
        except ModuleNotFoundError:
            hint = "pip install supervision"
            raise OptionError("supervision is not installed", hint=hint) from None
        return supervision.Detections(self.boxes, confidence=self.scores, class_id=self.classes)

    @classmethod
    def empty(cls) -> Detections:
        return cls(np.zeros((0, 4)), np.zeros(0), np.zeros(0))

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, rows: np.ndarray | slice) -> Detections:
        return Detections(self.boxes[rows], self.scores[rows], self.classes[rows])
