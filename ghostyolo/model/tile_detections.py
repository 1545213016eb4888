"""Joins the detections in the tiles of a picture, which come from `data.tiles`.

The detections of each class are joined as follows.

1. A detection that ends at an inner edge of its tile is a fragment: its object may go on there. All
   others are suppressed together by NMS. A detection in the whole picture that would fit into a
   tile is then also dropped if a tile has one with half the IoU threshold: tiles show it larger.
2. A fragment is dropped if more than half of it is in a detection that was kept. An object that is
   no larger than the overlap is whole in another tile.
3. Fragments that are left are parts of one object if their boxes agree, by the IoU threshold, in
   what both tiles show. They become the box around them, with the best of their scores.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ghostyolo.boxes import iou, nms
from ghostyolo.model.detections import Detections

# A box ends at an inner edge of its tile if it is no further from it than this fraction of a side.
EDGE = 0.02
INSIDE = 0.5  # a fragment is in another box if more than this fraction of its area is
PART = 256  # fragments whose pairs with all others are looked at together


def join(
    found: Sequence[Detections],
    tiles: np.ndarray,
    nms_thresh: float,
    diou_exponent: float | None = None,
) -> Detections:
    """Return the detections of a picture, highest score first, from those in its tiles.

    found: in each tile, in its pixels. tiles: (n, 4) as of `Tiles.of`. nms_thresh: the IoU
    threshold of NMS. diou_exponent: see `nms`.
    """
    if len(tiles) == 1:
        return found[0]
    rows, picture = _Rows.of(found, tiles), tiles.max(0)[2:]
    cut = _ends_at_inner_edge(rows, picture)
    fragments, whole = rows.only(cut), rows.only(~cut)
    relative = whole.boxes / np.tile(picture, 2).astype(np.float32)
    kept = nms(relative, whole.scores, whole.classes, nms_thresh, diou_exponent)
    whole = whole.only(kept)
    whole = whole.only(~_shown_larger(whole, tiles, nms_thresh / 2))
    fragments = fragments.only(~_inside(fragments, whole))
    every = _Rows.joined([whole, *_around_parts(fragments, nms_thresh)])
    every = every.only(np.argsort(-every.scores, kind="stable"))
    return Detections(every.boxes, every.scores, every.classes)


@dataclass(frozen=True)
class _Rows:
    """Detections (n) in pixels of the picture, each with the tile in which it was found.

    boxes: (n, 4) float32 xyxy. scores, classes: (n,). tiles: (n, 4) xyxy.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    tiles: np.ndarray

    @classmethod
    def of(cls, found: Sequence[Detections], tiles: np.ndarray) -> _Rows:
        """Return the detections in tiles, given in pixels of the tile."""
        return cls.joined(
            cls(
                each.boxes + np.tile(tile[:2], 2).astype(np.float32),
                each.scores,
                each.classes,
                np.broadcast_to(tile, (len(each), 4)),
            )
            for each, tile in zip(found, tiles, strict=True)
        )

    @classmethod
    def joined(cls, parts: Iterable[_Rows]) -> _Rows:
        columns = zip(*(vars(part).values() for part in parts), strict=True)
        return cls(*map(np.concatenate, columns))

    def only(self, rows: np.ndarray | slice) -> _Rows:
        return _Rows(*(column[rows] for column in vars(self).values()))


def _ends_at_inner_edge(rows: _Rows, picture: np.ndarray) -> np.ndarray:
    """Return which boxes end at an edge of their tile that is inside the picture, of (w, h)."""
    low, high = rows.tiles[:, :2], rows.tiles[:, 2:]
    near = EDGE * (high - low)
    at_low = (rows.boxes[:, :2] - low <= near) & (low > 0)
    at_high = (high - rows.boxes[:, 2:] <= near) & (high < picture)
    return (at_low | at_high).any(1)


def _shown_larger(rows: _Rows, tiles: np.ndarray, thresh: float) -> np.ndarray:
    """Return which rows of the whole picture fit into a tile, where a similar row was found."""
    sides = tiles[:, 2:] - tiles[:, :2]
    result = (rows.tiles[:, 2:] - rows.tiles[:, :2] == sides[-1]).all(1)
    result &= (rows.boxes[:, 2:] - rows.boxes[:, :2] <= sides[0]).all(1)
    some, others = rows.only(result), rows.only(~result)
    similar = _same_class(some, others) & (iou(some.boxes, others.boxes) > thresh)
    result[result] = similar.any(1)
    return result


def _inside(fragments: _Rows, whole: _Rows) -> np.ndarray:
    """Return which fragments are in a detection of their class."""
    found = [np.zeros(0, bool)]
    for some in _in_parts(fragments):
        shared = _areas(_intersection(some.boxes[:, None], whole.boxes[None]))
        inside = shared > INSIDE * _areas(some.boxes)[:, None]
        found.append((inside & _same_class(some, whole)).any(1))
    return np.concatenate(found)


def _around_parts(fragments: _Rows, thresh: float) -> Iterator[_Rows]:
    """Yield for each object the box around its fragments, with the best of their scores."""
    objects = np.arange(len(fragments.scores))  # the first fragment of the object of each
    i, j = _parts_of_one(fragments, thresh)
    while (objects[i] != objects[j]).any():
        np.minimum.at(objects, i, objects[j])
    for first in np.unique(objects):
        parts = fragments.only(objects == first)
        around = np.concatenate((parts.boxes[:, :2].min(0), parts.boxes[:, 2:].max(0)))
        yield replace(parts.only(np.array([parts.scores.argmax()])), boxes=around[None])


def _parts_of_one(fragments: _Rows, thresh: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs of fragments, (m,) each, that agree in what the tiles of both show.

    Their boxes, cut to that, have an IoU above the threshold. Each pair comes in both orders.
    """
    pairs = [np.zeros((2, 0), int)]
    for number, some in enumerate(_in_parts(fragments)):
        shown = _intersection(some.tiles[:, None], fragments.tiles[None])
        one = _intersection(some.boxes[:, None], shown)
        other = _intersection(fragments.boxes[None], shown)
        shared = _areas(_intersection(one, other))
        agree = shared > thresh * (_areas(one) + _areas(other) - shared)
        i, j = np.nonzero(agree & _same_class(some, fragments))
        pairs.append(np.stack((i + number * PART, j)))
    i, j = np.concatenate(pairs, 1)
    return i, j


def _in_parts(rows: _Rows) -> Iterator[_Rows]:
    """Yield `PART` rows at a time, whose pairs with all others fit into the memory."""
    for start in range(0, len(rows.scores), PART):
        yield rows.only(slice(start, start + PART))


def _intersection(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return what boxes (..., 4) have in common; it has no area if its edges are swapped."""
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])
    return np.concatenate((low, high), -1)


def _areas(boxes: np.ndarray) -> np.ndarray:
    """Return the areas of boxes (..., 4)."""
    return (boxes[..., 2:] - boxes[..., :2]).clip(min=0).prod(-1)


def _same_class(a: _Rows, b: _Rows) -> np.ndarray:
    """Return which pairs of rows are of one class, (n, m)."""
    return a.classes[:, None] == b.classes[None]
