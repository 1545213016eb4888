"""The embedded data set: pictures that the program paints itself, in PASCAL VOC's layout.

A scene is a textured ground, things of six classes on it, and distractors that are no class. A
class is known by its shape, its texture and roughly its colour. A thing is painted to fill its
box to the pixel, so the labels are exact. As in VOC a box goes round what the border leaves of a
thing (`truncated`); what a later thing covers of it still counts (`occluded`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np

from ghostyolo.errors import DataError, OptionError, Span
from ghostyolo.sample_data.sprites import KINDS, noise, paint_distractor, paint_ground, paint_thing

NAMES = tuple(KINDS)
COUNTS = {"train": 400, "val": 60, "test": 60}
SMALLEST = 24  # pixels, the longer side of a thing

Box = tuple[int, int, int, int]  # left, top, right, bottom: pixel edges


@dataclass(frozen=True)
class Thing:
    """One object of a scene: its class, the box it shows in, and what hides a part of it."""

    name: str
    box_xyxy_px: Box
    truncated: bool
    occluded: bool
    difficult: bool  # less than two fifths of it can be seen


def write_dataset(
    folder: str | Path,
    counts: Mapping[str, int] | None = None,
    seed: int = 0,
    size: tuple[int, int] = (256, 320),
) -> Path:
    """Write a data set of `counts[split]` pictures of `size` (h, w) to a new or empty folder.

    Makes JPEGImages, Annotations, ImageSets/Main and shapes.names, and returns the folder. The same
    seed gives the same pictures; asking for more of them leaves the first ones as they are.

    Raises DataError if the folder holds anything, OptionError for a seed below 0.
    """
    if seed < 0:
        raise OptionError(f"the seed {seed} is below 0", hint="use 0 or more")
    root = Path(folder)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise DataError(f"{root} exists and is not empty", hint="name a new folder")
    try:
        for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
            (root / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message, hint = f"cannot make it: {error.strerror}", "give a folder that can be written"
        raise DataError(message, span=Span(str(root)), hint=hint) from None
    for split, count in (COUNTS if counts is None else counts).items():
        stems = [f"{split}_{index:05}" for index in range(count)]
        for index, stem in enumerate(stems):
            rng = np.random.default_rng([seed, index, *split.encode()])
            _write_sample(root, stem, *paint_scene(rng, size))
        (root / f"ImageSets/Main/{split}.txt").write_text("".join(f"{stem}\n" for stem in stems))
    (root / "shapes.names").write_text("".join(f"{name}\n" for name in NAMES))
    return root


def paint_scene(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, list[Thing]]:
    """Paint one picture of `size` (h, w): uint8 RGB, and the things on it, the lowest first."""
    canvas = paint_ground(size, rng)
    for _ in range(rng.integers(0, 5)):
        paint_distractor(canvas, rng)
    placed = [(NAMES[rng.integers(len(NAMES))], box) for box in _random_boxes(rng, size)]
    parts = []
    owner = np.full(size, -1)  # which thing shows at a pixel
    for index, (name, (left, top, right, bottom)) in enumerate(placed):
        cover, colour = paint_thing(name, (bottom - top, right - left), rng)
        own_area = np.count_nonzero(cover > 0.5)
        cover, colour = _moved(cover, left, top, size), _moved(colour, left, top, size)
        _lay(canvas, cover, colour, (left, top, right, bottom))
        owner[cover > 0.5] = index
        parts.append((cover > 0.5, own_area))
    things = [
        _describe(*placed[index], own, (owner == index).sum() / area)
        for index, (own, area) in enumerate(parts)
    ]
    return _photograph(canvas, rng), [thing for thing in things if thing]


def _random_boxes(rng: np.random.Generator, size: tuple[int, int]) -> Iterator[Box]:
    """Yield boxes, small and large alike, that cover little of one another."""
    boxes: list[Box] = []
    for _ in range(rng.integers(3, 10)):
        for _ in range(20):
            box = _random_box(rng, size)
            if all(_shared_part(box, other) < 0.4 for other in boxes):
                boxes.append(box)
                yield box
                break


def _random_box(rng: np.random.Generator, size: tuple[int, int]) -> Box:
    """Return a box inside the picture, or now and then across its border."""
    side = np.exp(rng.uniform(np.log(SMALLEST), np.log(min(size) * 0.6)))
    sides = np.array((side, side * rng.uniform(0.75, 1)))
    w, h = rng.permutation(np.round(sides)).astype(int)
    beyond = 0.5 if rng.random() < 0.15 else 0.0
    left = round(rng.uniform(-beyond * w, size[1] - (1 - beyond) * w))
    top = round(rng.uniform(-beyond * h, size[0] - (1 - beyond) * h))
    return left, top, left + int(w), top + int(h)


def _shared_part(a: Box, b: Box) -> float:
    """Return what part of the smaller box lies within the other."""
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return max(w, 0) * max(h, 0) / smaller


def _moved(image: np.ndarray, left: int, top: int, size: tuple[int, int]) -> np.ndarray:
    """Return a black picture of `size` with the image at (left, top), cut at the border."""
    shift = np.array(((1, 0, left), (0, 1, top)), np.float32)
    return cv2.warpAffine(image, shift, size[::-1], flags=cv2.INTER_NEAREST)


def _lay(canvas: np.ndarray, cover: np.ndarray, colour: np.ndarray, box: Box) -> None:
    """Lay a thing and its shadow on the canvas, in place; the light comes from the upper left."""
    left, top, right, bottom = box
    reach = 0.05 * max(right - left, bottom - top)
    margin = round(5 * reach) + 1
    rows = slice(max(top - margin, 0), bottom + margin)
    columns = slice(max(left - margin, 0), right + margin)
    part, cover, colour = (image[rows, columns] for image in (canvas, cover, colour))
    shadow = _moved(cover, round(reach), round(reach), cover.shape)
    part *= 1 - 0.5 * cv2.GaussianBlur(shadow, (0, 0), reach)[..., None]
    part += cover[..., None] * (colour - part)


def _describe(name: str, box: Box, cover: np.ndarray, visible_part: float) -> Thing | None:
    """Label a thing by its pixels (h, w) in the picture; None if hardly any can be seen."""
    if visible_part < 0.15:
        return None
    h, w = cover.shape
    truncated = min(box) < 0 or box[2] > w or box[3] > h
    if truncated:
        (left, right), (top, bottom) = (np.flatnonzero(cover.any(axis))[[0, -1]] for axis in (0, 1))
        box = int(left), int(top), int(right) + 1, int(bottom) + 1
    occluded = bool(visible_part < 0.95 and not truncated)
    return Thing(name, box, truncated, occluded, bool(visible_part < 0.4))


def _photograph(canvas: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Take the picture: uneven light, a lens that may be soft, a sensor with noise."""
    size = canvas.shape[:2]
    light = rng.uniform(0.75, 1.05) + 0.35 * (noise(size, max(size), rng) - 0.5)
    image = canvas * light[..., None]
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 0.9))
    image += rng.uniform(0, 0.03) * rng.standard_normal((*size, 1), np.float32)
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _write_sample(root: Path, stem: str, image: np.ndarray, things: list[Thing]) -> None:
    _, jpeg = cv2.imencode(".jpg", image[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, 92))
    (root / f"JPEGImages/{stem}.jpg").write_bytes(jpeg.tobytes())
    xml = ElementTree.ElementTree(_annotation(f"{stem}.jpg", image.shape, things))
    ElementTree.indent(xml)
    xml.write(root / f"Annotations/{stem}.xml")


def _annotation(filename: str, shape: tuple[int, ...], things: list[Thing]) -> ElementTree.Element:
    """Return VOC's XML for one picture; coordinates are pixel edges, from 0."""
    h, w, depth = shape
    size = {"width": w, "height": h, "depth": depth}
    objects = [
        {
            "name": thing.name,
            "pose": "Unspecified",
            "truncated": int(thing.truncated),
            "occluded": int(thing.occluded),
            "difficult": int(thing.difficult),
            "bndbox": dict(zip(("xmin", "ymin", "xmax", "ymax"), thing.box_xyxy_px, strict=True)),
        }
        for thing in things
    ]
    fields = {
        "folder": "JPEGImages",
        "filename": filename,
        "source": {"database": "ghostyolo synthetic"},
        "size": size,
        "segmented": 0,
        "object": objects,
    }
    return _element("annotation", fields)


def _element(tag: str, content: object) -> ElementTree.Element:
    """Turn nested dicts into XML; a list repeats its tag, anything else is text."""
    element = ElementTree.Element(tag)
    if not isinstance(content, dict):
        element.text = str(content)
        return element
    for key, value in content.items():
        items = value if isinstance(value, list) else [value]
        element.extend(_element(key, item) for item in items)
    return element
