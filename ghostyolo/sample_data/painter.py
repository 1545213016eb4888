"""The sample data set: painted pictures with labels, in the layout of PASCAL VOC.

A scene is a textured background with objects of six classes, and distractors of no class. A class
has its shape, its texture and roughly its colour. An object fills its box to the pixel, so the
labels are exact. As in VOC, the box of an object at the border of the picture encloses the part
inside (`truncated`); the box of a covered object encloses all of it (`occluded`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import cv2
import jinja2
import numpy as np

from ghostyolo.errors import DataError, OptionError
from ghostyolo.files import make_folder
from ghostyolo.sample_data import sprites

NAMES = tuple(sprites.KINDS)
COUNTS = {"train": 400, "val": 60, "test": 60}
SMALLEST = 24  # least length in pixels of the longer side of an object
ANNOTATION = jinja2.Template(Path(__file__).with_name("annotation.xml").read_text())

Box = tuple[int, int, int, int]  # left, top, right, bottom: pixel edges, from 0


class Object(NamedTuple):
    """One object of a scene: its class, its box, and whether parts of it are hidden."""

    name: str
    box_xyxy_px: Box
    truncated: bool
    occluded: bool
    difficult: bool  # less than two fifths are visible


def write_dataset(
    folder: str | Path,
    counts: Mapping[str, int] = COUNTS,
    seed: int = 0,
    size: tuple[int, int] = (256, 320),
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Write a data set of `counts[split]` pictures of `size` (h, w) to a new or empty folder.

    Makes JPEGImages, Annotations, ImageSets/Main and shapes.names, and returns the folder. The same
    seed gives the same pictures; larger counts add pictures and leave the others unchanged.
    on_progress: called with the number of painted and of all pictures.

    Raises DataError if the folder is not empty, OptionError if it cannot be made or if the seed is
    below 0.
    """
    if seed < 0:
        raise OptionError(f"the seed {seed} is below 0", hint="use 0 or more")
    root = Path(folder)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise DataError(f"{root} exists and is not empty", hint="name a new folder")
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        make_folder(root / name)
    done, total = 0, sum(counts.values())
    for split, count in counts.items():
        stems = [f"{split}_{index:05}" for index in range(count)]
        for index, stem in enumerate(stems):
            rng = np.random.default_rng([seed, index, *split.encode()])
            _write_sample(root, stem, *paint_scene(rng, size))
            done += 1
            on_progress(done, total)
        (root / f"ImageSets/Main/{split}.txt").write_text("".join(f"{stem}\n" for stem in stems))
    (root / "shapes.names").write_text("".join(f"{name}\n" for name in NAMES))
    return root


def paint_scene(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, list[Object]]:
    """Paint a picture of `size` (h, w), uint8 RGB; return it and its objects, the lowest first."""
    canvas = sprites.paint_background(size, rng)
    for _ in range(rng.integers(0, 5)):
        sprites.paint_distractor(canvas, rng)
    placed = [(NAMES[rng.integers(len(NAMES))], box) for box in _random_boxes(rng, size)]
    masks, areas = [], []
    top_object = np.full(size, -1)  # index of the object that is visible at a pixel
    for index, (name, (left, top, right, bottom)) in enumerate(placed):
        mask, colour = sprites.paint_object(name, (bottom - top, right - left), rng)
        areas.append(np.count_nonzero(mask > 0.5))
        mask, colour = _moved(mask, left, top, size), _moved(colour, left, top, size)
        _composite(canvas, mask, colour, (left, top, right, bottom))
        masks.append(mask > 0.5)
        top_object[masks[-1]] = index
    objects = [
        _label(*placed[index], masks[index], (top_object == index).sum() / area)
        for index, area in enumerate(areas)
    ]
    return _photograph(canvas, rng), [each for each in objects if each]


def _random_boxes(rng: np.random.Generator, size: tuple[int, int]) -> Iterator[Box]:
    """Yield small and large boxes that cover little of each other."""
    boxes: list[Box] = []
    for _ in range(rng.integers(3, 10)):
        for _ in range(20):
            box = _random_box(rng, size)
            if all(_covered_share(box, other) < 0.4 for other in boxes):
                boxes.append(box)
                yield box
                break


def _random_box(rng: np.random.Generator, size: tuple[int, int]) -> Box:
    """Return a box inside the picture, sometimes across its border."""
    side = np.exp(rng.uniform(np.log(SMALLEST), np.log(min(size) * 0.6)))
    sides = np.array((side, side * rng.uniform(0.75, 1)))
    w, h = rng.permutation(np.round(sides)).astype(int)
    beyond = 0.5 if rng.random() < 0.15 else 0.0
    left = round(rng.uniform(-beyond * w, size[1] - (1 - beyond) * w))
    top = round(rng.uniform(-beyond * h, size[0] - (1 - beyond) * h))
    return left, top, left + int(w), top + int(h)


def _covered_share(a: Box, b: Box) -> float:
    """Return the intersection of two boxes over the area of the smaller box."""
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return max(w, 0) * max(h, 0) / smaller


def _moved(image: np.ndarray, left: int, top: int, size: tuple[int, int]) -> np.ndarray:
    """Return a black picture of `size` with the image at (left, top), cut at the border."""
    shift = np.array(((1, 0, left), (0, 1, top)), np.float32)
    return cv2.warpAffine(image, shift, size[::-1], flags=cv2.INTER_NEAREST)


def _composite(canvas: np.ndarray, mask: np.ndarray, colour: np.ndarray, box: Box) -> None:
    """Draw an object and its shadow on the canvas, in place, lit from the upper left."""
    left, top, right, bottom = box
    reach = 0.05 * max(right - left, bottom - top)
    margin = round(5 * reach) + 1
    window = np.s_[max(top - margin, 0) : bottom + margin, max(left - margin, 0) : right + margin]
    part, mask, colour = canvas[window], mask[window], colour[window]
    shadow = _moved(mask, round(reach), round(reach), mask.shape)
    part *= 1 - 0.5 * cv2.GaussianBlur(shadow, (0, 0), reach)[..., None]
    part += mask[..., None] * (colour - part)


def _label(name: str, box: Box, mask: np.ndarray, visible: float) -> Object | None:
    """Label an object by its mask (h, w) in the picture; return None if it is hardly visible.

    visible: the fraction of its pixels that no other object covers.
    """
    if visible < 0.15:
        return None
    h, w = mask.shape
    truncated = min(box) < 0 or box[2] > w or box[3] > h
    if truncated:
        (left, right), (top, bottom) = (np.flatnonzero(mask.any(axis))[[0, -1]] for axis in (0, 1))
        box = int(left), int(top), int(right) + 1, int(bottom) + 1
    return Object(name, box, truncated, visible < 0.95 and not truncated, visible < 0.4)


def _photograph(canvas: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the canvas as uint8, with uneven light, perhaps a blur, and noise."""
    size = canvas.shape[:2]
    light = rng.uniform(0.75, 1.05) + 0.35 * (sprites.noise(size, max(size), rng) - 0.5)
    image = canvas * light[..., None]
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 0.9))
    image += rng.uniform(0, 0.03) * rng.standard_normal((*size, 1), np.float32)
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _write_sample(root: Path, stem: str, image: np.ndarray, objects: list[Object]) -> None:
    path = str(root / f"JPEGImages/{stem}.jpg")
    cv2.imwrite(path, image[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, 92))
    h, w = image.shape[:2]
    xml = ANNOTATION.render(filename=f"{stem}.jpg", width=w, height=h, objects=objects)
    (root / f"Annotations/{stem}.xml").write_text(xml)
