"""Paint the objects, backgrounds and distractors of the sample data set.

Colours are float32 RGB in [0, 1]. Objects are drawn two or four times as large and averaged down,
so that edges are smooth. Coordinates are continuous: a picture of width w covers 0..w.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

TAU = 2 * np.pi
SHIFT = 6  # fractional bits of the coordinates that go to OpenCV

Rng = np.random.Generator
Outline = Callable[[Rng], list[np.ndarray]]  # polygons (n, 2) around 0; overlaps are holes
Texture = Callable[
    [np.ndarray, np.ndarray, Rng], np.ndarray
]  # u, v -> fraction of the second colour


def paint_object(name: str, size: tuple[int, int], rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Paint an object, rotated at random, that touches all four sides of a box of `size` (h, w).

    Returns its mask (h, w) in [0, 1], and its colours (h, w, 3), also outside the mask.
    """
    outline, texture = KINDS[name]
    fine = (4 if max(size) < 64 else 2) * np.array(size)
    turn = _rotation(rng.uniform(0, TAU))
    polygons = [polygon @ turn for polygon in outline(rng)]
    low, high = (extreme(np.concatenate(polygons), 0) for extreme in (np.min, np.max))
    scale = (fine[::-1] / (high - low)).astype(np.float32)
    mask = np.zeros(tuple(fine), np.float32)
    corners = [_fixed((polygon - low) * scale - 0.5) for polygon in polygons]
    cv2.fillPoly(mask, corners, 1.0, cv2.LINE_8, SHIFT)
    x, y = (np.arange(side, dtype=np.float32) + 0.5 for side in fine[::-1])
    u, v = _turned(x / scale[0] + low[0], y / scale[1] + low[1], turn)
    first, second = _class_colours(name, rng)
    colour = _blend(first, second, np.clip(texture(u, v, rng), 0, 1)) * _relief(mask)[..., None]
    return _shrunk(mask, size), _shrunk(colour, size)


def paint_background(size: tuple[int, int], rng: Rng) -> np.ndarray:
    """Paint a textured background of `size` (h, w) in colours of low saturation."""
    pattern = BACKGROUNDS[rng.integers(len(BACKGROUNDS))](size, rng)
    first = _random_colour(rng, (0.05, 0.4), (0.35, 0.9))
    second = _random_colour(rng, (0.05, 0.4), (0.35, 0.9))
    return np.clip(_blend(first, second, pattern), 0, 1)


def paint_distractor(canvas: np.ndarray, rng: Rng) -> None:
    """Draw a distractor on the canvas: a stick, an open arc or a frame."""
    h, w = canvas.shape[:2]
    colour = _random_colour(rng, (0.2, 0.9), (0.2, 1))
    centre = rng.uniform((0, 0), (w, h))
    reach = rng.uniform(0.05, 0.25) * min(h, w)
    kind, turn = rng.integers(3), rng.uniform(0, TAU)
    if kind == 0:
        points = np.array(((-1, 0), (1, 0))) * reach
    elif kind == 1:
        points = _polar(np.linspace(0, rng.uniform(0.2, 0.5) * TAU, 24), reach)
    else:
        points = np.array(((-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1))) * reach * 0.6
    points = points @ _rotation(turn) + centre
    line = np.zeros((h, w), np.uint8)  # OpenCV draws smooth lines only on bytes
    cv2.polylines(line, [_fixed(points)], False, 255, int(rng.integers(1, 5)), cv2.LINE_AA, SHIFT)
    drawn = line > 0
    canvas[drawn] += line[drawn, None] / np.float32(255) * (colour - canvas[drawn])


def noise(size: tuple[int, int], cell: float, rng: Rng) -> np.ndarray:
    """Return smooth noise in [0, 1] with spots about `cell` pixels wide."""
    h, w = (max(2, round(side / cell) + 1) for side in size)
    grid = rng.random((h, w), np.float32)
    return cv2.resize(grid, size[::-1], interpolation=cv2.INTER_CUBIC)


def _polar(angles: np.ndarray, radius: np.ndarray | float) -> np.ndarray:
    """Return points (n, 2) at angles in radians."""
    return np.stack((np.cos(angles), np.sin(angles)), -1) * np.reshape(radius, (-1, 1))


def _around(radius: np.ndarray) -> np.ndarray:
    """Return a polygon with a corner at each radius, at equal angles."""
    return _polar(np.linspace(0, TAU, len(radius), endpoint=False), radius)


def _star(points: int, inner: float) -> list[np.ndarray]:
    return [_around(np.tile((1.0, inner), points))]


def _ring(rng: Rng) -> list[np.ndarray]:
    return [_around(np.full(128, radius)) for radius in (1.0, rng.uniform(0.42, 0.56))]


def _cross(rng: Rng) -> list[np.ndarray]:
    a = rng.uniform(0.26, 0.36)
    arm = np.array(((1, -a), (1, a), (a, a)))
    return [np.concatenate([arm @ _rotation(quarter * TAU / 4) for quarter in range(4)])]


def _blob(rng: Rng) -> list[np.ndarray]:
    angles = np.linspace(0, TAU, 96, endpoint=False)
    radius = np.ones(96)
    for waves in (2, 3, 5):
        radius += rng.uniform(0.06, 0.14) * np.sin(waves * angles + rng.uniform(0, TAU))
    return [_polar(angles, radius)]


def _rings(u: np.ndarray, v: np.ndarray, rng: Rng) -> np.ndarray:
    """Return concentric rings, light in the middle of the ring's tube."""
    return 1 - np.abs(np.hypot(u, v) - 0.75) / 0.27


def _checks(u: np.ndarray, v: np.ndarray, rng: Rng) -> np.ndarray:
    # the square stands on a corner: its sides are along u + v and u - v
    return (np.floor((u + v + 1) * 2) + np.floor((u - v + 1) * 2)) % 2


def _stripes(u: np.ndarray, v: np.ndarray, rng: Rng) -> np.ndarray:
    return _soft(np.sin(u * TAU * 2.2))


def _gradient(u: np.ndarray, v: np.ndarray, rng: Rng) -> np.ndarray:
    return 0.25 * (u + v + 1)


def _facets(u: np.ndarray, v: np.ndarray, rng: Rng) -> np.ndarray:
    """Return a light and a dark half for each arm."""
    return _soft(np.sin(np.arctan2(v, u) * 5))


def _spots(u: np.ndarray, v: np.ndarray, rng: Rng) -> np.ndarray:
    spots = rng.uniform((-0.8, -0.8, 0.1), (0.8, 0.8, 0.24), (9, 3)).astype(np.float32)
    return _soft(np.max([1 - ((u - x) ** 2 + (v - y) ** 2) / r**2 for x, y, r in spots], 0))


KINDS: dict[str, tuple[Outline, Texture]] = {
    "ring": (_ring, _rings),
    "checker": (lambda rng: _star(4, np.cos(TAU / 8)), _checks),
    "triangle": (lambda rng: _star(3, np.cos(TAU / 6)), _stripes),
    "cross": (_cross, _gradient),
    "star": (lambda rng: _star(5, rng.uniform(0.42, 0.52)), _facets),
    "blob": (_blob, _spots),
}


def _clouds(size: tuple[int, int], rng: Rng) -> np.ndarray:
    cells = (max(size) / parts for parts in (2, 5, 12, 30))
    return np.sum([noise(size, cell, rng) / 1.6**i for i, cell in enumerate(cells)], 0) / 2


def _wood(size: tuple[int, int], rng: Rng) -> np.ndarray:
    across, along = _turned_grid(size, rng)
    wave = noise(size, max(size) / 4, rng) * 3 + noise(size, 12, rng) * 0.7
    grain = noise(size, 2, rng) * 0.3
    return 0.5 + 0.3 * np.sin(across * rng.uniform(8, 20) + wave + along) + grain


def _bokeh(size: tuple[int, int], rng: Rng) -> np.ndarray:
    pattern = _clouds(size, rng) * 0.6
    for _ in range(24):
        disc = np.zeros(size, np.float32)
        x, y = rng.integers((0, 0), size[::-1]).tolist()
        cv2.circle(disc, (x, y), int(rng.integers(5, 30)), rng.uniform(0.05, 0.3), -1)
        pattern += disc
    return cv2.blur(pattern, (5, 5))


def _weave(size: tuple[int, int], rng: Rng) -> np.ndarray:
    across, along = _turned_grid(size, rng) * rng.uniform(60, 130)
    return 0.45 + 0.12 * (np.sin(across) + np.sin(along)) + 0.5 * (_clouds(size, rng) - 0.5)


BACKGROUNDS = (_clouds, _wood, _bokeh, _weave)


def _turned_grid(size: tuple[int, int], rng: Rng) -> np.ndarray:
    """Return two coordinates at right angles, (2, h, w), about 1 across the picture."""
    x, y = (np.arange(side, dtype=np.float32) / max(size) for side in size[::-1])
    return _turned(x, y, _rotation(rng.uniform(0, TAU)))


def _turned(x: np.ndarray, y: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Return the coordinates of the pixels at x (w,), y (h,) on turned axes, (2, h, w)."""
    return np.stack([x * along_x + y[:, None] * along_y for along_x, along_y in turn])


def _rotation(angle: float) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array(((cos, sin), (-sin, cos)), np.float32)


def _class_colours(name: str, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Return two colours of high contrast, a deep and a light one, in random order.

    Each class has its range of hues, which overlaps a little with those of its neighbours.
    """
    hue = (list(KINDS).index(name) + rng.uniform(-0.7, 0.7)) / len(KINDS)
    deep = _hsv(hue, rng.uniform(0.65, 0.95), rng.uniform(0.45, 0.75))
    light = _hsv(hue + rng.uniform(-0.12, 0.12), rng.uniform(0.1, 0.5), rng.uniform(0.9, 1))
    return (deep, light) if rng.random() < 0.7 else (light, deep)


def _random_colour(
    rng: Rng, saturation: tuple[float, float], value: tuple[float, float]
) -> np.ndarray:
    return _hsv(rng.random(), rng.uniform(*saturation), rng.uniform(*value))


def _hsv(hue: float, saturation: float, value: float) -> np.ndarray:
    """Return a colour as RGB; hue: fraction of the full circle."""
    wheel = np.abs((hue + np.array((0, 2, 1)) / 3) % 1 * 6 - 3) - 1
    return (value * (1 - saturation * (1 - np.clip(wheel, 0, 1)))).astype(np.float32)


def _blend(first: np.ndarray, second: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Mix two colours, by the fraction (h, w) of the second: (h, w, 3) float32."""
    return first + (second - first) * part.astype(np.float32)[..., None]


def _soft(wave: np.ndarray) -> np.ndarray:
    return np.clip(0.5 + 3 * wave, 0, 1)


def _relief(mask: np.ndarray) -> np.ndarray:
    """Return the brightness (h, w) of a shape whose edge is rounded, lit from the upper left."""
    rounding = max(2.0, 0.07 * max(mask.shape))
    border = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    depth = cv2.distanceTransform((border > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
    height = cv2.GaussianBlur(np.minimum(depth, rounding), (0, 0), rounding / 3)
    slope = cv2.Sobel(height, cv2.CV_32F, 1, 0) + cv2.Sobel(height, cv2.CV_32F, 0, 1)
    return np.clip(0.92 + 0.06 * slope, 0.45, 1.35)[1:-1, 1:-1]


def _fixed(points: np.ndarray) -> np.ndarray:
    """Return points in the fixed-point format of OpenCV's drawing functions."""
    return np.round(points * 2**SHIFT).astype(np.int32)


def _shrunk(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
