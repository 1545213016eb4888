"""Training pictures from several pictures: Darknet's mosaic of four, and its mixup of two.

Pure functions from arrays to arrays; all random numbers come from the generator `rng`.
Source: AlexeyAB/darknet src/data.c load_data_detection, blend_truth_mosaic and blend_truth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from ghostyolo.augment import Rng
from ghostyolo.augment.detection import Augmentation, Crop, augment, cut, draw_crop, finish
from ghostyolo.augment.reduction import WHOLE, Scale
from ghostyolo.boxes import xyxy_to_cxcywh
from ghostyolo.data.header import Size

CUT = 0.2, 0.8  # range of the point where the four pictures meet, as fractions of a side


class Picture(NamedTuple):
    """A picture to train on: uint8 RGB (H, W, 3), and its n boxes (n, 4) with classes (n,).

    scale: of the picture; boxes and `size` are in pixels of the whole one.
    """

    image: np.ndarray
    boxes_xyxy_px: np.ndarray
    classes: np.ndarray
    scale: Scale = WHOLE

    @property
    def size(self) -> Size:
        """Return (h, w), see `Scale.whole`."""
        return self.scale.whole(self.image)


class Quarter(NamedTuple):
    """The place of one of four pictures, and the size of all of it, each (x, y) in pixels.

    start, end: two corners of the place. whole: the size at which the picture would be shown whole,
    at least that of its place. net: the mosaic's size.
    """

    start: tuple[int, int]
    end: tuple[int, int]
    whole: tuple[int, int]
    net: tuple[int, int]

    @property
    def length(self) -> tuple[int, int]:
        """Return width and height."""
        return self.end[0] - self.start[0], self.end[1] - self.start[1]

    @property
    def far(self) -> tuple[bool, bool]:
        """Return whether the quarter begins where the four meet, along x and along y."""
        return self.start[0] > 0, self.start[1] > 0


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
        image, cxcywh, kept = augment(*first[:2], size, settings, rng, first.scale)
    classes = np.concatenate([picture.classes for picture in pictures])[kept]
    return image, np.column_stack((cxcywh, classes))


def mixup(
    pictures: Sequence[Picture], size: Size, settings: Augmentation, rng: Rng
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean of two pictures, each augmented by itself, with the boxes of both.

    Returns as `augment` does, with indices among the boxes of the first and then of the second.
    """
    (one, boxes, kept), (two, others, also) = (
        augment(*picture[:2], size, settings, rng, picture.scale) for picture in pictures
    )
    mean = cv2.addWeighted(one, 0.5, two, 0.5, 0)
    indices = np.concatenate((kept, len(pictures[0].boxes_xyxy_px) + also))
    return mean, np.concatenate((boxes, others)), indices


def mosaic(
    pictures: Sequence[Picture], size: Size, settings: Augmentation, rng: Rng
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a picture of four quarters that meet at a random point.

    Each picture is augmented at one size, that of the whole or a smaller one (`mosaic_scale`), and
    shows the part next to that point, without the margin beyond the picture on that side: the upper
    left one shows its lower right part. As in Darknet, which estimates that margin and may cut off
    part of the picture, a box may reach into the next quarter unless `mosaic_bound` is set; unlike
    in Darknet, a box is dropped if none of it is visible.

    Returns as `augment` does, with indices among the boxes of the upper left, then of the upper
    right, the lower left and the lower right picture.
    """
    w, h = net = size[::-1]
    scale = rng.uniform(settings.mosaic_scale, 1) if settings.mosaic_scale < 1 else 1.0
    whole = math.ceil(w * scale), math.ceil(h * scale)
    pairs = list(zip(net, whole, strict=True))
    low = [max(int(side * CUT[0]), side - shown) for side, shown in pairs]
    high = [min(int(side * CUT[1]), shown) for side, shown in pairs]
    drawn = rng.integers(low, high, endpoint=True).tolist()
    x, y = (min(max(place, 1), side - 1) for place, side in zip(drawn, net, strict=True))
    canvas = np.empty((*size, 3), np.uint8)
    corners = ((0, 0), (x, y)), ((x, 0), (w, y)), ((0, y), (x, h)), ((x, y), (w, h))
    views = []
    for (start, end), picture in zip(corners, pictures, strict=True):
        view = draw_view(Quarter(start, end, whole, net), picture.size, settings, rng)
        fill(canvas[start[1] : end[1], start[0] : end[0]], view, picture, settings, rng)
        views.append(view)
    boxes, kept = place([picture.boxes_xyxy_px for picture in pictures], views, settings)
    return canvas, xyxy_to_cxcywh(boxes / (net * 2)).astype(np.float32), kept


class View(NamedTuple):
    """The part of a picture that a quarter shows.

    crop: what would be shown at the size `Quarter.whole`. window: the part of the crop that the
    quarter shows. flip: whether it is shown flipped.
    """

    quarter: Quarter
    crop: Crop
    window: Crop
    flip: bool


def draw_view(quarter: Quarter, source: Size, settings: Augmentation, rng: Rng) -> View:
    """Draw the part of a picture of `source` (h, w) pixels that a quarter shows."""
    sides = source[::-1]
    crop = draw_crop(source, quarter.whole[::-1], settings, rng)
    flip = settings.flip and rng.random() < 0.5
    far = quarter.far[0] ^ flip, quarter.far[1]  # of the unflipped picture, at the meeting point
    if rng.random() < 0.5:
        crop = _to_corner(crop, sides, far)
    return View(quarter, crop, _window(crop, sides, quarter, far), flip)


def fill(
    out: np.ndarray, view: View, picture: Picture, settings: Augmentation, rng: Rng
) -> np.ndarray:
    """Fill the memory of a quarter, uint8 RGB, by its part of a picture, and return it."""
    quarter = view.quarter

    def local() -> np.ndarray:
        boxes, _ = place([picture.boxes_xyxy_px], [view], settings)
        corners = boxes.reshape(-1, 2, 2) - quarter.start
        return np.minimum(np.maximum(corners, 0), quarter.length).reshape(-1, 4)

    target = None if view.flip else out
    part = cut(picture.image, view.window, out.shape[:2], target, picture.scale)
    return finish(part, local, view.flip, settings, rng, out)


def _to_corner(crop: Crop, sides: tuple[int, int], far: tuple[bool, bool]) -> Crop:
    """Move a crop to the end of the picture or to its beginning, along x and along y."""
    left, top, right, bottom = crop
    w, h = right - left, bottom - top
    x, y = sides[0] - w if far[0] else 0, sides[1] - h if far[1] else 0
    return [x, y, x + w, y + h]


def _window(crop: Crop, sides: tuple[int, int], quarter: Quarter, far: tuple[bool, bool]) -> Crop:
    """Return the part of a crop that a quarter shows: left, top, right, bottom in whole pixels.

    sides: of the picture. far: whether to take the beginning of the crop, along x and y, else its
    end. The margin of the crop beyond the picture on that side is skipped; its size is that of a
    crop as large as the picture. Rounding to whole pixels moves the part by at most half a pixel,
    and saves resizing pixels that are not shown.
    """
    window = [0, 0, 0, 0]
    for axis in (0, 1):
        low, high, side = crop[axis], crop[axis + 2], sides[axis]
        whole, length = quarter.whole[axis], quarter.length[axis]
        margin = max(-low if far[axis] else high - side, 0) * whole // side
        margin = min(margin, whole - length)
        begin = margin if far[axis] else whole - length - margin
        scale = (high - low) / whole
        window[axis] = round(low + begin * scale)
        window[axis + 2] = max(round(low + (begin + length) * scale), window[axis] + 1)
    return window


def place(
    boxes_xyxy_px: Sequence[np.ndarray], views: Sequence[View], settings: Augmentation
) -> tuple[np.ndarray, np.ndarray]:
    """Return the boxes of pictures that are seen, in pixels of the mosaic, and their indices.

    boxes_xyxy_px: of the picture of each view. Indices are among those of all of them. For a few
    boxes most of the time goes into calls, so those of all pictures share them.
    """
    counts = [len(boxes) for boxes in boxes_xyxy_px]
    corners = np.concatenate(boxes_xyxy_px).reshape(-1, 2, 2).astype(np.float64)
    if not len(corners):
        return corners.reshape(-1, 4), np.empty(0, int)
    geometry = np.array(
        [(*view.crop, *view.window, *view.quarter[0], *view.quarter[1]) for view in views]
    )
    each = geometry.reshape(-1, 6, 1, 2).repeat(counts, 0).swapaxes(0, 1)
    low, high, begin, stop, start, end = each
    whole, net = views[0].quarter[2:]
    clipped = np.minimum(np.maximum(corners, low), high)
    # in width and height, as if the whole picture were shown
    fits = _sides(clipped) * whole / (high - low)[:, 0] >= 1
    scale = (end - start) / (stop - begin)
    placed = (clipped - begin) * scale
    flip = np.repeat([view.flip for view in views], counts)
    placed[flip, :, 0] = (end - start)[flip, :, 0] - placed[flip, ::-1, 0]
    placed += start
    seen = np.minimum(np.maximum(placed, start), end)
    bounded = seen if settings.mosaic_bound else np.minimum(np.maximum(placed, 0), net)
    fits &= _sides(bounded) >= 1
    visible = _area(seen) > settings.min_visible * _area(corners * scale)
    kept = np.flatnonzero(fits[:, 0] & fits[:, 1] & visible)
    return bounded[kept].reshape(-1, 4), kept


def _sides(corners: np.ndarray) -> np.ndarray:
    """Return width and height of boxes (n, 2, 2)."""
    return corners[:, 1] - corners[:, 0]


def _area(corners: np.ndarray) -> np.ndarray:
    """Return the area of boxes (n, 2, 2)."""
    sides = _sides(corners)
    return sides[:, 0] * sides[:, 1]
