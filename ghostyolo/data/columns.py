"""The samples of a data set as columns: a few arrays in place of objects for each picture.

118,287 pictures with 860,001 boxes take 35 MB instead of 110, and what is asked of all of them is
computed at once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from ghostyolo.data.header import Size

text_of_id = json.JSONEncoder().encode
id_of_text = json.JSONDecoder().decode


class Row(Protocol):
    """What the columns hold of one picture, see `Sample`."""

    @property
    def path(self) -> str: ...
    @property
    def boxes_xyxy_px(self) -> np.ndarray: ...
    @property
    def classes(self) -> np.ndarray: ...
    @property
    def ignore(self) -> np.ndarray: ...
    @property
    def size(self) -> Size: ...
    @property
    def image_id(self) -> int | str: ...


class Columns(NamedTuple):
    """n pictures with m boxes in all.

    paths, ids: uint8, the bytes of the paths and of the image ids as JSON, one after the other;
    those of picture i are path_ends[i] to path_ends[i + 1]. sizes: (n, 2), (h, w). ends: (n + 1,);
    the boxes of picture i are rows ends[i] to ends[i + 1]. boxes_xyxy_px: (m, 4) float32. classes:
    (m,) int64. ignore: (m,) bool.
    """

    paths: np.ndarray
    path_ends: np.ndarray
    ids: np.ndarray
    id_ends: np.ndarray
    sizes: np.ndarray
    ends: np.ndarray
    boxes_xyxy_px: np.ndarray
    classes: np.ndarray
    ignore: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Columns:
        """Return the columns of samples."""
        paths, path_ends = joined([os.fsencode(row.path) for row in rows])
        ids, id_ends = joined([text_of_id(row.image_id).encode() for row in rows])
        return cls(
            paths=paths,
            path_ends=path_ends,
            ids=ids,
            id_ends=id_ends,
            sizes=np.array([row.size for row in rows], np.int64).reshape(-1, 2),
            ends=_ends(len(row.classes) for row in rows),
            boxes_xyxy_px=np.concatenate(
                [np.zeros((0, 4), np.float32), *(row.boxes_xyxy_px for row in rows)]
            ),
            classes=np.concatenate([np.zeros(0, np.int64), *(row.classes for row in rows)]),
            ignore=np.concatenate([np.zeros(0, bool), *(row.ignore for row in rows)]),
        )

    @property
    def counts(self) -> np.ndarray:
        """Return the number of boxes of each picture, (n,)."""
        return np.diff(self.ends)

    @property
    def owners(self) -> np.ndarray:
        """Return the index of the picture of each box, (m,)."""
        return np.repeat(np.arange(len(self.sizes)), self.counts)

    @property
    def trained(self) -> np.ndarray:
        """Return the number of boxes of each picture that are trained on, (n,)."""
        return np.bincount(self.owners[~self.ignore], minlength=len(self.sizes))

    @property
    def object_side(self) -> float:
        """Return the median side of the boxes that are trained on, 0 if there is none.

        A side is the square root of an area, as a fraction of the picture's.
        """
        corners, pictures = self.boxes_xyxy_px.astype(np.float64), self.sizes[self.owners]
        shares = (corners[:, 2:] - corners[:, :2]).prod(1) / pictures.prod(1)
        trained = shares[~self.ignore]
        return float(np.sqrt(np.median(trained))) if len(trained) else 0.0

    def without_ignored(self) -> Columns:
        """Return the columns without the boxes that are not trained on."""
        if not self.ignore.any():
            return self
        boxes, classes = self.boxes_xyxy_px[~self.ignore], self.classes[~self.ignore]
        ignore, ends = np.zeros(len(classes), bool), _ends(self.trained)
        return self._replace(boxes_xyxy_px=boxes, classes=classes, ignore=ignore, ends=ends)

    def path(self, index: int) -> str:
        """Return the path of a picture."""
        begin, end = self.path_ends[index : index + 2]
        return os.fsdecode(self.paths[begin:end].tobytes())

    def image_id(self, index: int) -> int | str:
        """Return the id of a picture."""
        begin, end = self.id_ends[index : index + 2]
        return id_of_text(self.ids[begin:end].tobytes().decode())

    def all_paths(self) -> list[str]:
        """Return the paths of all pictures."""
        return [os.fsdecode(each) for each in split(self.paths, self.path_ends)]

    def all_ids(self) -> list[int | str]:
        """Return the ids of all pictures."""
        return [id_of_text(each.decode()) for each in split(self.ids, self.id_ends)]

    def take(self, index: np.ndarray) -> Columns:
        """Return the columns of some pictures, copied."""
        paths, path_ends = _taken(self.path_ends, index)
        ids, id_ends = _taken(self.id_ends, index)
        boxes, ends = _taken(self.ends, index)
        return Columns(
            paths=self.paths[paths],
            path_ends=path_ends,
            ids=self.ids[ids],
            id_ends=id_ends,
            sizes=self.sizes[index],
            ends=ends,
            boxes_xyxy_px=self.boxes_xyxy_px[boxes],
            classes=self.classes[boxes],
            ignore=self.ignore[boxes],
        )


def split(content: np.ndarray, ends: np.ndarray) -> list[bytes]:
    """Return the pieces of bytes that lie one after the other."""
    whole, places = content.tobytes(), ends.tolist()
    return [whole[begin:end] for begin, end in zip(places, places[1:], strict=False)]


def joined(pieces: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Return pieces of bytes one after the other, and their ends; see `split`."""
    return np.frombuffer(b"".join(pieces), np.uint8), _ends(map(len, pieces))


def _ends(lengths: Iterable[int]) -> np.ndarray:
    return np.concatenate(([0], np.cumsum(np.fromiter(lengths, np.int64)))).astype(np.int64)


def _taken(ends: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of the items of some groups, and the ends of these groups."""
    lengths = np.diff(ends)[index]
    new = _ends(lengths)
    shift = np.repeat(ends[:-1][index] - new[:-1], lengths)
    return np.arange(new[-1]) + shift, new
