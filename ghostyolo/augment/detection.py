"""Darknet's augmentation of one picture: a jittered crop, a flip, other colours, blur and noise.

Pure functions from arrays to arrays; all random numbers come from the generator `rng`.
Source: AlexeyAB/darknet src/data.c load_data_detection and correct_boxes, src/image_opencv.cpp
image_data_augmentation. For mosaics and mixups see `mosaic`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from ghostyolo.augment import Rng
from ghostyolo.augment.reduction import WHOLE, Scale
from ghostyolo.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from ghostyolo.data.header import Size
from ghostyolo.errors import OptionError

Crop = list[int]  # left, top, right, bottom: in whole pixels of the picture, also beyond it
HUES = 180  # of an 8-bit HSV picture in OpenCV
LEVELS = np.arange(256.0)[:, None]
TURNED = np.arange(-HUES, 256 + HUES, dtype=np.int64) % HUES  # levels of hue turned by whole steps
RARE, DRAWS = 0.02, 3000  # the part of crops that are smaller, and how many are drawn to know it
BACKGROUND = 17  # kernel size of the blur of the background
SHARPEST = 8  # least ratio of the smallest side of a box to the kernel size of a whole blur


@dataclass(frozen=True)
class Augmentation:
    """The augmentation of a detector; the defaults change nothing. Fields are keys of the cfg.

    jitter: largest shift of each edge of the crop, as a fraction of the side. resize: largest
    factor by which the picture is enlarged or shrunk. hue: largest shift, as a fraction of the full
    circle. saturation, exposure: largest factors. letter_box: keep the aspect ratio. mosaic:
    probability of a mosaic of four pictures. mosaic_scale: the sides of each of the four, as a
    fraction of the mosaic's, are drawn from here to 1; Darknet's are 1. mosaic_bound: clip the
    boxes of a mosaic to their quarters. mixup: probability that another picture is the mean of two.
    blur: kernel size in pixels of a blur: one picture in three is blurred as a whole, one in three
    around its objects (by 17 pixels); 1: around objects only. gaussian_noise: standard deviation in
    levels, in one picture of two. min_visible: a box is kept if more than this fraction of its area
    is in the crop.

    Darknet makes mosaics and mixups with probability 0.5, and keeps boxes as with min_visible=0.

    Raises OptionError for a value out of range.
    """

    jitter: float = 0.0
    resize: float = 1.0
    flip: bool = False
    hue: float = 0.0
    saturation: float = 1.0
    exposure: float = 1.0
    letter_box: bool = False
    mosaic: float = 0.0
    mosaic_scale: float = 1.0
    mosaic_bound: bool = False
    mixup: float = 0.0
    blur: int = 0
    gaussian_noise: float = 0.0
    min_visible: float = 0.0

    def __post_init__(self) -> None:
        check_ranges(
            self,
            jitter=(0, 0.49),
            resize=(0.25, 4),
            hue=(0, 1),
            saturation=(0.01, 100),
            exposure=(0.01, 100),
            mosaic=(0, 1),
            mosaic_scale=(0.5, 1),
            mixup=(0, 1),
            blur=(0, 255),
            gaussian_noise=(0, 127),
            min_visible=(0, 0.99),
        )

    def density(self, sizes: np.ndarray, size: Size) -> np.ndarray:
        """Return the pixels of a picture along a side of a pixel of the input, (n,).

        All but `RARE` of crops have so many; a letterbox may have more. sizes: (n, 2), (h, w) of n
        pictures. size: (h, w) of the input.
        """
        settings, rng, side = replace(self, letter_box=False), np.random.default_rng(0), 10_000
        drawn = [draw_crop((side, side), (side, side), settings, rng) for _ in range(DRAWS)]
        crops = np.array(drawn)
        usual = np.quantile((crops[:, 2:] - crops[:, :2]).min(1), RARE) / side
        return (sizes * usual / size).min(1)


def check_ranges(settings: Any, **ranges: tuple[float, float]) -> None:
    """Raise OptionError for a setting outside its range (low, high)."""
    for name, (low, high) in ranges.items():
        value = getattr(settings, name)
        if not low <= value <= high:
            raise OptionError(f"{name}={value} is not in {low}..{high}", hint=f"change {name}")


NONE = Augmentation()


def augment(
    image: np.ndarray,
    boxes_xyxy_px: np.ndarray,
    size: Size,
    settings: Augmentation,
    rng: Rng,
    scale: Scale = WHOLE,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a changed picture of `size`, its boxes, and their indices among the given boxes.

    image: uint8 RGB (H, W, 3). size: (h, w) of the network's input. scale: of the picture, see
    `cut`. Returns uint8 (h, w, 3); cxcywh (k, 4) float32 relative to
    it, clipped; and k indices. A box of less than a pixel in width or height is always left out.
    """
    crop = draw_crop(scale.whole(image), size, settings, rng)
    flip = settings.flip and rng.random() < 0.5
    cxcywh, kept = move_boxes(boxes_xyxy_px, crop, flip, size, settings.min_visible)

    def pixels() -> np.ndarray:
        return cxcywh_to_xyxy(cxcywh) * (*size[::-1], *size[::-1])

    part = cut(image, crop, size, scale=scale)
    return finish(part, pixels, flip, settings, rng), cxcywh, kept


def finish(
    part: np.ndarray,
    boxes_xyxy_px: Callable[[], np.ndarray],
    flip: bool,
    settings: Augmentation,
    rng: Rng,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Flip a part of a picture if asked, and draw and apply colours, blur and noise.

    part: uint8 RGB, not yet flipped. boxes_xyxy_px: returns its boxes after the flip; only a blur
    asks for them. out: memory for the result.
    """
    part = cv2.flip(part, 1) if flip else part
    done = recolour(part, *draw_colours(settings, rng), out)
    if settings.blur:
        done = blur(done, boxes_xyxy_px(), settings.blur, int(rng.integers(3)))
    if settings.gaussian_noise and rng.random() < 0.5:
        done = add_noise(done, settings.gaussian_noise, rng)
    if out is None or done is out:
        return done
    out[...] = done
    return out


def draw_crop(source: Size, size: Size, settings: Augmentation, rng: Rng) -> Crop:
    """Draw a crop: left, top, right, bottom in whole pixels of the picture, also beyond it.

    source, size: (h, w) of the picture and of the network's input.
    """
    draws = rng.random(6).tolist()  # with single numbers this is ten times as fast as with arrays
    smaller, larger = sorted((settings.resize, 1 / settings.resize))
    out, into = (1 - 1 / smaller) / 2, (1 - 1 / larger) / 2  # fractions of a side; out < 0 < into
    span = -out if settings.resize < 1 else into - out
    low, high = [], []
    for axis, near, far in ((1, draws[0], draws[2]), (0, draws[1], draws[3])):
        side, jitter = source[axis], int(source[axis] * settings.jitter)
        begin = int(2 * jitter * near - jitter) + int(side * (out + span * draws[4]))
        end = int(2 * jitter * far - jitter) + int(side * (out + span * draws[5]))
        if settings.letter_box:
            scale = max(source[0] / size[0], source[1] / size[1])
            missing = int((scale * size[axis] - side) / 2)
            begin, end = begin - missing, end - missing
        low.append(begin)
        high.append(max(side - end, begin + 1))
    return low + high


def draw_colours(settings: Augmentation, rng: Rng) -> tuple[float, float, float]:
    """Draw the shift of the hue, the factor of the saturation and that of the exposure."""
    hue, *draws = rng.random(5).tolist()
    largest = settings.saturation, settings.exposure
    factors = [1 + (most - 1) * draw for most, draw in zip(largest, draws[:2], strict=True)]
    saturation, exposure = (
        factor if draw < 0.5 else 1 / factor
        for factor, draw in zip(factors, draws[2:], strict=True)
    )
    return 2 * settings.hue * hue - settings.hue, saturation, exposure


def cut(
    image: np.ndarray,
    crop: Crop,
    size: Size,
    out: np.ndarray | None = None,
    scale: Scale = WHOLE,
) -> np.ndarray:
    """Resize a crop of a picture to (h, w); beyond the picture it has the mean colour.

    out: memory for the result. scale: of the picture; the crop is in pixels of the whole one, and a
    finer one is taken for a small crop.
    """
    density = min((crop[2] - crop[0]) / size[1], (crop[3] - crop[1]) / size[0])
    image, factor = scale.enough(image, density)
    if factor > 1:
        return _cut_divided(image, crop, size, out, factor)
    h, w = image.shape[:2]
    left, top, right, bottom = crop
    x1, x2 = min(max(left, 0), w), min(max(right, 0), w)
    y1, y2 = min(max(top, 0), h), min(max(bottom, 0), h)
    part = image[y1:y2, x1:x2]
    beyond = abs(top - y1), abs(bottom - y2), abs(left - x1), abs(right - x2)
    if any(beyond):
        mean = np.rint(cv2.mean(image)).tolist()
        part = cv2.copyMakeBorder(part, *beyond, cv2.BORDER_CONSTANT, value=mean)
    return cv2.resize(part, size[::-1], dst=out, interpolation=cv2.INTER_LINEAR)


def _cut_divided(
    image: np.ndarray, crop: Crop, size: Size, out: np.ndarray | None, factor: int
) -> np.ndarray:
    """Do what `cut` does where the edges of the crop may lie between pixels."""
    matrix = np.zeros((2, 3))  # from the centres of pixels of the result to those of the picture
    for axis in (0, 1):
        step = (crop[axis + 2] - crop[axis]) / size[1 - axis] / factor
        matrix[axis, axis] = step
        matrix[axis, 2] = crop[axis] / factor + (step - 1) / 2
    mean = np.rint(cv2.mean(image)).tolist()
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, matrix, size[::-1], dst=out, flags=flags, borderValue=mean)


def recolour(
    image: np.ndarray,
    hue: float,
    saturation: float,
    exposure: float,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Shift the hue by a fraction of the full circle, scale saturation and value, in 8-bit HSV.

    As in a Darknet built with OpenCV, but hues below red wrap around, where Darknet's become red.
    out: memory for the result, which may be that of the picture; no change returns the picture.
    """
    if (hue, saturation, exposure) == (0, 1, 1):
        return image
    table = np.empty((1, 256, 3), np.uint8)
    turn = HUES + round(hue * HUES)
    table[0, :, 0] = TURNED[turn : turn + 256]
    table[0, :, 1:] = np.rint(np.minimum(LEVELS * (saturation, exposure), 255))
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    done = cv2.cvtColor(cv2.LUT(hsv, table, dst=hsv), cv2.COLOR_HSV2RGB, dst=out)
    return done if out is None else out


def blur(image: np.ndarray, boxes_xyxy_px: np.ndarray, side: int, extent: int) -> np.ndarray:
    """Blur nothing (extent 0), all but the boxes (1), or the whole picture (2).

    side: kernel size of the blur of a whole picture; 1 means all but the boxes. As in Darknet it is
    at most an eighth of the smallest side of a box, and a picture without boxes is not blurred.
    """
    sides = boxes_xyxy_px[:, 2:] - boxes_xyxy_px[:, :2]
    if extent == 2 and side > 1:
        side = min(side, int(sides.min() / SHARPEST) if len(sides) else 0)
    if extent == 0 or side == 0:
        return image
    if extent == 2 and side > 1:
        return cv2.GaussianBlur(image, (side // 2 * 2 + 1,) * 2, 0)
    blurred = cv2.GaussianBlur(image, (BACKGROUND, BACKGROUND), 0)
    for x1, y1, x2, y2 in boxes_xyxy_px.round().clip(0).astype(int):
        blurred[y1:y2, x1:x2] = image[y1:y2, x1:x2]
    return blurred


def add_noise(image: np.ndarray, deviation: float, rng: Rng) -> np.ndarray:
    """Add normal noise to each value. Darknet adds bytes, so noise below 0 is lost there."""
    noise = rng.standard_normal(image.shape, np.float32) * np.float32(deviation)
    return cv2.add(image, noise, dtype=cv2.CV_8U)


def move_boxes(
    boxes_xyxy_px: np.ndarray, crop: Crop, flip: bool, size: Size, min_visible: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes as cxcywh relative to the crop and clipped to it, and the indices of those kept.

    min_visible: a box is kept if more than this fraction of its area is in the crop.
    """
    low, high = np.array(crop[:2]), np.array(crop[2:])
    corners = (boxes_xyxy_px.reshape(-1, 2, 2).astype(np.float64) - low) / (high - low)
    if flip:
        corners[..., 0] = 1 - corners[:, ::-1, 0]
    xyxy = np.clip(corners, 0, 1).reshape(-1, 4)
    cxcywh = xyxy_to_cxcywh(xyxy)
    left = cxcywh[:, 2] * cxcywh[:, 3] > min_visible * (corners[:, 1] - corners[:, 0]).prod(1)
    kept = np.flatnonzero((cxcywh[:, 2:] * size[::-1] >= 1).all(1) & left)
    return cxcywh[kept].astype(np.float32), kept
