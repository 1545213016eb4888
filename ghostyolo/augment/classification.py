"""Darknet's augmentation for classifiers: a rotated and stretched crop, other colours, mixtures.

Pure functions from arrays to arrays; all random numbers come from the generator `rng`.
Source: AlexeyAB/darknet src/data.c load_image_augment_paths and load_data_augment, src/image.c
random_augment_image and rotate_crop_image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from ghostyolo.augment import Rng
from ghostyolo.augment.detection import NONE, Augmentation, check_ranges, draw_colours, recolour
from ghostyolo.augment.mosaic import CUT, Picture
from ghostyolo.data.header import Size

PATCH = 0.3, 0.8  # smallest and largest side of the patch of cutmix, over the picture's side
BLURRED = 0.25  # probability of a blur, if the cfg has one
SOFT = 15  # kernel size of the blur for blur=1
MAX_SIDE = 1 << 14  # pixels


@dataclass(frozen=True)
class ClassificationAugmentation:
    """The augmentation of a classifier; by default only a random crop.

    min_crop, max_crop: range in pixels to which the shorter side is resized; a square with the side
    of the input is then cut out. angle: largest rotation in degrees. aspect: largest factor of the
    aspect ratio. mixed: probability that a picture is a mixture of several, by one of `mixtures`,
    drawn each time. blur: kernel size of the Gaussian blur, which one picture in four gets; 1 means
    15. appearance: flip, hue, saturation, exposure.

    Raises OptionError for a value out of range.
    """

    min_crop: int
    max_crop: int
    angle: float = 0.0
    aspect: float = 1.0
    mixed: float = 0.0
    mixtures: tuple[str, ...] = ()
    blur: int = 0
    appearance: Augmentation = NONE

    def __post_init__(self) -> None:
        check_ranges(
            self,
            min_crop=(1, MAX_SIDE),
            max_crop=(self.min_crop, MAX_SIDE),
            angle=(0, 180),
            aspect=(0.1, 10),
            blur=(0, 255),
        )

    def density(self, sizes: np.ndarray, size: Size) -> np.ndarray:
        """Return the least pixels of a picture along a side of a pixel of the input, (n,).

        sizes: (n, 2), (h, w) of n pictures. size: of the input, which does not matter. See `draw`.
        """
        aspect = min(self.aspect, 1 / self.aspect)
        shorter = np.minimum(sizes[:, 0], np.trunc(sizes[:, 1] * aspect))
        return shorter * aspect / self.max_crop


class Mixture(NamedTuple):
    """A picture, uint8 RGB (h, w, 3), and the fraction of it that each of its parts has."""

    image: np.ndarray
    shares: tuple[float, ...]


def compose(
    first: Picture,
    partner: Callable[[], Picture],
    size: Size,
    settings: ClassificationAugmentation,
    rng: Rng,
) -> tuple[np.ndarray, np.ndarray]:
    """Return a changed picture of `size`, and its classes: rows (n, 2) of fraction and class.

    partner: returns another picture at each call. The fractions add up to 1. Whether a picture is a
    mixture is drawn for each; Darknet draws it once for all pictures of a loader.
    """
    pictures, kind = [first], ""
    if settings.mixtures and rng.random() < settings.mixed:
        kind = settings.mixtures[int(rng.integers(len(settings.mixtures)))]
        pictures += [partner() for _ in range(PARTS[kind] - 1)]
    parts = [augment(each.image, size, settings, rng, each.scale.factor) for each in pictures]
    image, shares = MIXTURES[kind](parts, rng) if kind else Mixture(parts[0], (1.0,))
    if settings.blur and rng.random() < BLURRED:
        side = SOFT if settings.blur == 1 else settings.blur // 2 * 2 + 1
        image = cv2.GaussianBlur(image, (side, side), 0)
    classes = [int(picture.classes[0]) for picture in pictures]
    return image, np.column_stack((shares, classes))


def augment(
    image: np.ndarray,
    size: Size,
    settings: ClassificationAugmentation,
    rng: Rng,
    factor: int = 1,
) -> np.ndarray:
    """Return a changed picture of `size` (h, w), uint8 RGB, black beyond the picture's edge.

    As in Darknet, the crop is a square of the larger side and is then resized: pictures are
    stretched if the input is not square. factor: by which the sides of the picture were divided.
    """
    side, (h, w) = max(size), image.shape[:2]
    crop = cut(image, side, draw((h * factor, w * factor), side, settings, rng), factor)
    if settings.appearance.flip and rng.random() < 0.5:
        crop = cv2.flip(crop, 1)
    crop = recolour(crop, *draw_colours(settings.appearance, rng))
    return crop if size == (side, side) else cv2.resize(crop, size[::-1])


class Crop(NamedTuple):
    """The part of a picture that a crop shows: around its centre, moved by (dx, dy) crop pixels.

    angle: in radians. scale: crop pixels per picture pixel along y; along x it is scale / aspect.
    """

    angle: float
    scale: float
    dx: float
    dy: float
    aspect: float


def draw(source: Size, side: int, settings: ClassificationAugmentation, rng: Rng) -> Crop:
    """Draw the part of a picture of `source` (h, w) pixels that becomes a square crop."""
    h, w = source
    factor = 1 + (settings.aspect - 1) * rng.random()
    aspect = factor if rng.random() < 0.5 else 1 / factor
    shorter = int(rng.integers(settings.min_crop, settings.max_crop + 1))
    scale = shorter / max(1, int(min(h, w * aspect)))
    angle = np.deg2rad(rng.uniform(-settings.angle, settings.angle))
    room = max(0.0, (w * scale / aspect - side) / 2), max(0.0, (h * scale - side) / 2)
    dx, dy = (float(rng.uniform(-each, each)) for each in room)
    return Crop(float(angle), scale, dx, dy, aspect)


def cut(image: np.ndarray, side: int, crop: Crop, factor: int = 1) -> np.ndarray:
    """Return the part of a picture that a crop shows, (side, side, 3).

    factor: by which the sides of the picture were divided; the crop is one of the whole picture.
    """
    (h, w), (angle, scale, dx, dy, aspect) = image.shape[:2], crop
    cos, sin = np.cos(angle) / scale / factor, np.sin(angle) / scale / factor
    # maps a pixel of the crop, relative to its centre, into the picture
    matrix = np.array([[cos * aspect, -sin, 0.0], [sin * aspect, cos, 0.0]])
    matrix[:, 2] = (w / 2, h / 2) + matrix[:, :2] @ (dx - side / 2, dy - side / 2)
    matrix[:, 2] += (1 / factor - 1) / 2  # pixels are counted from their centres
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_CONSTANT)


def mixup(parts: Sequence[np.ndarray], rng: Rng) -> Mixture:
    """Return the mean of two pictures."""
    return Mixture(cv2.addWeighted(parts[0], 0.5, parts[1], 0.5, 0), (0.5, 0.5))


def cutmix(parts: Sequence[np.ndarray], rng: Rng) -> Mixture:
    """Copy a rectangle of the second picture into the first, at the same place."""
    h, w = parts[0].shape[:2]
    wide, high = (int(rng.integers(int(n * PATCH[0]), int(n * PATCH[1]) + 1)) for n in (w, h))
    left, top = int(rng.integers(max(1, w - wide))), int(rng.integers(max(1, h - high)))
    image = parts[0].copy()
    image[top : top + high, left : left + wide] = parts[1][top : top + high, left : left + wide]
    share = wide * high / (w * h)
    return Mixture(image, (1 - share, share))


def mosaic(parts: Sequence[np.ndarray], rng: Rng) -> Mixture:
    """Return a picture whose four quarters around a point are those of four pictures."""
    h, w = parts[0].shape[:2]
    x, y = (int(rng.integers(int(n * CUT[0]), int(n * CUT[1]) + 1)) for n in (w, h))
    image = parts[0].copy()
    quarters = np.s_[:y, x:], np.s_[y:, :x], np.s_[y:, x:]
    for quarter, part in zip(quarters, parts[1:], strict=True):
        image[quarter] = part[quarter]
    areas = x * y, (w - x) * y, x * (h - y), (w - x) * (h - y)
    return Mixture(image, tuple(area / (w * h) for area in areas))


MIXTURES: dict[str, Callable[[Sequence[np.ndarray], Rng], Mixture]] = {
    "mixup": mixup,
    "cutmix": cutmix,
    "mosaic": mosaic,
}
PARTS = {"mixup": 2, "cutmix": 2, "mosaic": 4}
