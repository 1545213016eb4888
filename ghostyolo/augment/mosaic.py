"""Training pictures from several pictures: Darknet's mosaic of four, and its mixup of two.

Pure functions from arrays to arrays; all random numbers come from the generator `rng`.
Source: AlexeyAB/darknet src/data.c load_data_detection, blend_truth_mosaic and blend_truth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from ghostyolo.augment import Rng
from ghostyolo.augment.detection import Augmentation, augment, cut, draw_crop, finish
from ghostyolo.boxes import xyxy_to_cxcywh
from ghostyolo.data.header import Size

CUT = 0.2, 0.8  # range of the point where the four pictures meet, as fractions of a side


class Picture(NamedTuple):
    """A picture to train on: uint8 RGB (H, W, 3), and its n boxes (n, 4) with classes (n,)."""

    image: np.ndarray
    boxes_xyxy_px: np.ndarray
    classes: np.ndarray


class Quarter(NamedTuple):
    """The place of one of four pictures: two corners and the mosaic's size, (x, y) in pixels."""

    start: np.ndarray
    end: np.ndarray
    net: np.ndarray

    @property
    def length(self) -> np.ndarray:
        """Return width and height."""
        return self.end - self.start

    @property
    def far(self) -> np.ndarray:
        """Return whether the quarter begins where the four meet, along x and along y."""
        return self.start > 0


def compose(
    first: Picture,
    partner: Callable[[], Picture],
    size: Size,
    settings: Augmentation,
    rng: Rng,
) -> tuple[np.ndarray, np.ndarray]:
    """Return a changed picture of `size`, uint8 (h, w, 3), and its boxes with their classes.

    partner: returns another picture at each call, for a mosaic or a mixup, which is drawn for each
    picture; Darknet draws it once for all pictures of a loader. The boxes are rows (k, 5): cxcywh
    relative to the picture, and the class.
    """
    pictures = [first]
    if settings.mosaic and rng.random() < settings.mosaic:
        pictures += [partner() for _ in range(3)]
        turn = int(rng.integers(4))
        pictures = pictures[turn:] + pictures[:turn]
        image, cxcywh, kept = mosaic(pictures, size, settings, rng)
    elif settings.mixup and rng.random() < settings.mixup:
        pictures.append(partner())
        image, cxcywh, kept = mixup(pictures, size, settings, rng)
    else:
        image, cxcywh, kept = augment(first.image, first.boxes_xyxy_px, size, settings, rng)
    classes = np.concatenate([picture.classes for picture in pictures])[kept]
    return image, np.column_stack((cxcywh, classes))


def mixup(
    pictures: Sequence[Picture], size: Size, settings: Augmentation, rng: Rng
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean of two pictures, each augmented by itself, with the boxes of both.

    Returns as `augment` does, with indices among the boxes of the first and then of the second.
    """
    (one, boxes, kept), (two, others, also) = (
        augment(picture.image, picture.boxes_xyxy_px, size, settings, rng) for picture in pictures
    )
    mean = cv2.addWeighted(one, 0.5, two, 0.5, 0)
    indices = np.concatenate((kept, len(pictures[0].boxes_xyxy_px) + also))
    return mean, np.concatenate((boxes, others)), indices


def mosaic(
    pictures: Sequence[Picture], size: Size, settings: Augmentation, rng: Rng
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a picture of four quarters that meet at a random point.

    Each picture is augmented as if it filled the whole, and shows the part next to that point,
    without the margin beyond the picture on that side: the upper left one shows its lower right
    part. As in Darknet, which estimates that margin and may cut off part of the picture, a box may
    reach into the next quarter unless `mosaic_bound` is set; unlike in Darknet, a box is dropped if
    none of it is visible.

    Returns as `augment` does, with indices among the boxes of the upper left, then of the upper
    right, the lower left and the lower right picture.
    """
    net = np.array(size[::-1])
    low, high = (np.trunc(net * share).astype(int) for share in CUT)
    cross = np.clip(rng.integers(low, high, endpoint=True), 1, net - 1)
    canvas = np.empty((*size, 3), np.uint8)
    boxes, indices, first = [], [], 0
    for place, picture in enumerate(pictures):
        far = np.array([place % 2 == 1, place >= 2])
        quarter = Quarter(np.where(far, cross, 0), np.where(far, net, cross), net)
        part, moved, kept = fill(quarter, picture, settings, rng)
        (x1, y1), (x2, y2) = quarter.start, quarter.end
        canvas[y1:y2, x1:x2] = part
        boxes.append(moved)
        indices.append(first + kept)
        first += len(picture.boxes_xyxy_px)
    cxcywh = xyxy_to_cxcywh(np.concatenate(boxes) / np.tile(net, 2))
    return canvas, cxcywh.astype(np.float32), np.concatenate(indices)


def fill(
    quarter: Quarter, picture: Picture, settings: Augmentation, rng: Rng
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the part of a picture that a quarter shows, uint8 RGB, and the boxes in it.

    Returns also the indices of these boxes in the picture. Boxes are xyxy in pixels of the mosaic.
    """
    w, h = quarter.net.tolist()
    crop = draw_crop(picture.image.shape[:2], (h, w), settings, rng)
    flip = settings.flip and rng.random() < 0.5
    sides = np.array(picture.image.shape[1::-1])
    far = quarter.far ^ (flip, False)  # the side of the unflipped picture at the meeting point
    if rng.random() < 0.5:
        crop = _to_corner(crop, sides, far)
    window = _window(crop, sides, quarter, ~far)
    boxes, kept = _place(picture.boxes_xyxy_px, crop, window, flip, quarter, settings)
    local = np.clip(boxes.reshape(-1, 2, 2) - quarter.start, 0, quarter.length).reshape(-1, 4)
    w, h = quarter.length.tolist()
    part = finish(cut(picture.image, window, (h, w)), local, flip, settings, rng)
    return part, boxes, kept


def _to_corner(crop: np.ndarray, sides: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Move a crop to the end of the picture or to its beginning, along x and along y."""
    length = crop[2:] - crop[:2]
    low = np.where(end, sides - length, 0)
    return np.concatenate((low, low + length))


def _window(crop: np.ndarray, sides: np.ndarray, quarter: Quarter, end: np.ndarray) -> np.ndarray:
    """Return the part of a crop that a quarter shows: left, top, right, bottom in whole pixels.

    sides: of the picture. end: whether to take the end of the crop, along x and y. The margin of
    the crop beyond the picture on that side is skipped; its size is that of a crop as large as the
    picture. Rounding to whole pixels moves the part by at most half a pixel, and saves resizing
    pixels that are not shown.
    """
    low, high = crop[:2], crop[2:]
    margin = np.maximum(np.where(end, high - sides, -low), 0) * quarter.net // sides
    margin = np.minimum(margin, quarter.net - quarter.length)
    begin = np.where(end, quarter.net - quarter.length - margin, margin)
    scale = (high - low) / quarter.net
    first = np.rint(low + begin * scale)
    last = np.maximum(np.rint(low + (begin + quarter.length) * scale), first + 1)
    return np.concatenate((first, last)).astype(int)


def _place(
    boxes_xyxy_px: np.ndarray,
    crop: np.ndarray,
    window: np.ndarray,
    flip: bool,
    quarter: Quarter,
    settings: Augmentation,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the boxes in a quarter, in pixels of the mosaic, and their indices."""
    corners = boxes_xyxy_px.reshape(-1, 2, 2).astype(np.float64)
    clipped = np.clip(corners, crop[:2], crop[2:])
    # in width and height, as if the picture filled the mosaic
    fits = _sides(clipped) * quarter.net / (crop[2:] - crop[:2]) >= 1
    scale = quarter.length / (window[2:] - window[:2])
    placed = (clipped - window[:2]) * scale
    if flip:
        placed[..., 0] = quarter.length[0] - placed[:, ::-1, 0]
    placed += quarter.start
    seen = np.clip(placed, quarter.start, quarter.end)
    bounded = seen if settings.mosaic_bound else np.clip(placed, 0, quarter.net)
    large = _sides(bounded) >= 1
    visible = _sides(seen).prod(1) > settings.min_visible * (_sides(corners) * scale).prod(1)
    kept = np.flatnonzero(fits.all(1) & large.all(1) & visible)
    return bounded[kept].reshape(-1, 4), kept


def _sides(corners: np.ndarray) -> np.ndarray:
    """Return width and height of boxes (n, 2, 2)."""
    return corners[:, 1] - corners[:, 0]
