"""The detections in one picture, as arrays and one by one, and drawn on it. No torch is needed."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, overload

import cv2
import numpy as np

from ghostyolo.data.any_picture import as_rgb
from ghostyolo.data.images import encode_image, write_image
from ghostyolo.drawing import class_name, draw
from ghostyolo.errors import GhostyoloError, OptionError, counted, printable

MOST_LISTED = 10  # detections in a text
SHOWN = 1280  # pixels of the longer side of a picture in a notebook


class Detection(NamedTuple):
    """One detection.

    box: left, top, right, bottom in pixels of the picture. score: in [0, 1]. cls: the number of its
    class, from 0. name: of the class, or "class 3" if class 3 has no name.

    >>> found = ghostyolo.Detections([(10, 20, 110, 220)], [0.9], [0], ("dog", "cat"))
    >>> found[0]
    Detection(box=(10.0, 20.0, 110.0, 220.0), score=0.9, cls=0, name='dog')
    >>> left, top, right, bottom = found[0].box
    """

    box: tuple[float, float, float, float]
    score: float
    cls: int
    name: str

    def __repr__(self) -> str:
        box = tuple(round(edge, 1) for edge in self.box)
        rest = f"score={round(self.score, 3)}, cls={self.cls}, name={self.name!r}"
        return f"Detection(box={box}, {rest})"

    def __str__(self) -> str:
        """Return it as 'dog 0.93 at 123.1, 222.9, 310.0, 541.4'."""
        place = ", ".join(f"{edge:.1f}" for edge in self.box)
        return f"{printable(self.name)} {self.score:.2f} at {place}"


@dataclass(frozen=True, eq=False, repr=False)
class Detections:
    """The detections in one picture: one row for each box and class.

    boxes: (n, 4) float32, xyxy in pixels of the original picture. scores: (n,) float32.
    classes: (n,) int64. class_names: of all classes, () if they are not known. picture: the path of
    the picture, or the picture as uint8 RGB (H, W, 3); None if it was not kept.

    An integer index and iteration give a `Detection`; an array, a mask or a slice selects rows.
    Raises ValueError if the arrays do not have the same number of rows.

    >>> found = ghostyolo.Detections([(10, 20, 110, 220)], [0.9], [0], ("dog", "cat"))
    >>> found
    1 detection: 1 dog
      dog 0.90 at 10.0, 20.0, 110.0, 220.0
    >>> found[found.scores > 0.95]
    no detections
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    class_names: Sequence[str] = ()
    picture: str | Path | np.ndarray | None = None

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
    def names(self) -> list[str]:
        """Return the class name of each detection."""
        return [class_name(cls, self.class_names) for cls in self.classes.tolist()]

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

    def draw(self, path: str | Path | None = None) -> np.ndarray:
        """Return the picture with the detections drawn on it, uint8 RGB; write it to `path` too.

        Raises `OptionError` if the picture was not kept or the file cannot be written, `DataError`
        if the picture's file is gone.
        """
        if self.picture is None:
            hint = "set it: dataclasses.replace(found, picture=picture)"
            raise OptionError("these detections have no picture to draw on", hint=hint)
        drawn = draw(as_rgb(self.picture), self, self.class_names)
        if path is not None:
            write_image(path, drawn)
        return drawn

    def to_supervision(self) -> Any:
        """Return a `supervision.Detections`, with `class_name` in its data.

        Raises `OptionError` without that library.
        """
        try:
            supervision: Any = importlib.import_module("supervision")
        except ModuleNotFoundError:
            hint = "pip install supervision"
            raise OptionError("supervision is not installed", hint=hint) from None
        return supervision.Detections(
            self.boxes,
            confidence=self.scores,
            class_id=self.classes,
            data={"class_name": np.array(self.names, str)},
        )

    @classmethod
    def empty(cls) -> Detections:
        return cls(np.zeros((0, 4)), np.zeros(0), np.zeros(0))

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[Detection]:
        rows = zip(self.boxes.tolist(), self.scores.tolist(), strict=True)
        rest = zip(rows, self.classes.tolist(), self.names, strict=True)
        return (Detection(tuple(box), score, cls, name) for (box, score), cls, name in rest)

    @overload
    def __getitem__(self, rows: int | np.integer) -> Detection: ...

    @overload
    def __getitem__(self, rows: slice | np.ndarray | list[int]) -> Detections: ...

    def __getitem__(self, rows: Any) -> Detection | Detections:
        if isinstance(rows, int | np.integer):
            return next(iter(self[[int(rows)]]))
        picked = (self.boxes[rows], self.scores[rows], self.classes[rows])
        return Detections(*picked, self.class_names, self.picture)

    def __repr__(self) -> str:
        """Return the number of each class, and the first detections, a line for each."""
        if not len(self):
            return "no detections"
        head = f"{counted(len(self), 'detection')}: {in_words(self, self.class_names)}"
        rest = len(self) - MOST_LISTED
        more = [f"  and {rest} more"] if rest > 0 else []
        lines = [f"  {each}" for each in self[:MOST_LISTED]]
        return "\n".join([head, *lines, *more])

    def _repr_jpeg_(self) -> bytes | None:
        """Return the drawn picture for a notebook, None if there is no picture any more."""
        try:
            drawn = self.draw()
        except GhostyoloError:
            return None
        scale = min(1, SHOWN / max(drawn.shape))
        size = [max(1, round(side * scale)) for side in drawn.shape[1::-1]]
        return encode_image(cv2.resize(drawn, size, interpolation=cv2.INTER_AREA), "shown.jpg")


def in_words(found: Detections, names: Sequence[str]) -> str:
    """Return the number of detections of each class, such as '2 dog, 1 cat'."""
    counts = Counter(found.classes.tolist())
    parts = [f"{count} {printable(class_name(cls, names))}" for cls, count in counts.most_common()]
    return ", ".join(parts) or "nothing found"
