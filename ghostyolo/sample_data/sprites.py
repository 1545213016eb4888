"""What the embedded data set is painted with: things, grounds and distractors, as arrays.

Colours are float32 RGB in [0, 1]. Everything is drawn larger than it will be and averaged down, so
that edges are smooth. Coordinates are continuous: a picture of width w covers 0..w.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

TAU = 2 * np.pi
SHIFT = 6  # fractional bits of the coordinates that go to OpenCV

Rng = np.random.Generator
Outline = Callable[[Rng], list[np.ndarray]]  # polygons (n, 2) around the origin; overlap is a hole
Texture = Callable[[np.ndarray, np.ndarray, Rng], np.ndarray]  # u, v -> share of the second colour


def paint_thing(name: str, size: tuple[int, int], rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Paint a thing, turned by any angle, that touches all four sides of a box of `size` (h, w).

    Returns its coverage (h, w) in [0, 1] and its colour (h, w, 3), the latter also beyond it.
    """
    outline, texture = KINDS[name]
    fine = (4 if max(size) < 64 else 2) * np.array(size)
    turn = _rotation(rng.uniform(0, TAU))
    polygons = [polygon @ turn for polygon in outline(rng)]
    low, high = (extreme(np.concatenate(polygons), 0) for extreme in (np.min, np.max))
    scale = (fine[::-1] / (high - low)).astype(np.float32)
    mask = _fill([(polygon - low) * scale for polygon in polygons], fine)
    x, y = (np.arange(side, dtype=np.float32) + 0.5 for side in fine[::-1])
    x, y = x / scale[0] + low[0], y[:, None] / scale[1] + low[1]
    u, v = (x * turn[axis, 0] + y * turn[axis, 1] for axis in (0, 1))
    first, second = _colours(name, rng)
    share = np.clip(texture(u, v, rng), 0, 1)
    colour = _blend(first, second, share) * _relief(mask)[..., None]
    return _shrink(mask, size), _shrink(colour, size)


def paint_ground(size: tuple[int, int], rng: Rng) -> np.ndarray:
    """Paint a textured background of `size` (h, w) in quiet colours."""
    share = GROUNDS[rng.integers(len(GROUNDS))](size, rng)
    first = _hsv(rng.random(), rng.uniform(0.05, 0.4), rng.uniform(0.35, 0.9))
    second = _hsv(rng.random(), rng.uniform(0.05, 0.4), rng.uniform(0.35, 0.9))
    return np.clip(_blend(first, second, share), 0, 1)


def paint_distractor(canvas: np.ndarray, rng: Rng) -> None:
    """Draw something that is no class on the canvas: a stick, an open arc, or a frame."""
    h, w = canvas.shape[:2]
    colour = _hsv(rng.random(), rng.uniform(0.2, 0.9), rng.uniform(0.2, 1))
    centre = rng.uniform((0, 0), (w, h))
    reach = rng.uniform(0.05, 0.25) * min(h, w)
    kind, turn = rng.integers(3), rng.uniform(0, TAU)
    if kind == 0:
        points = np.array(((-1, 0), (1, 0))) * reach
    elif kind == 1:
        angles = np.linspace(0, rng.uniform(0.2, 0.5) * TAU, 24)
        points = np.stack((np.cos(angles), np.sin(angles)), -1) * reach
    else:
        points = np.array(((-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1))) * reach * 0.6
    points = points @ _rotation(turn) + centre
    line = np.zeros((h, w), np.uint8)  # OpenCV smooths lines on bytes only
    cv2.polylines(line, [_fixed(points)], False, 255, int(rng.integers(1, 5)), cv2.LINE_AA, SHIFT)
    drawn = line > 0
    canvas[drawn] += line[drawn, None] / np.float32(255) * (colour - canvas[drawn])


def noise(size: tuple[int, int], cell: float, rng: Rng) -> np.ndarray:
    """Return smooth noise in [0, 1] whose spots are about `cell` pixels wide."""
    h, w = (max(2, round(side / cell) + 1) for side in size)
    grid = rng.random((h, w), np.float32)
    return cv2.resize(grid, size[::-1], interpolation=cv2.INTER_CUBIC)


def _ring(rng: Rng) -> list[np.ndarray]:
    return [_ellipse(1.0), _ellipse(rng.uniform(0.42, 0.56))]


def _square(rng: Rng) -> list[np.ndarray]:
    return [_star(4, 1.0, np.cos(TAU / 8))]


def _triangle(rng: Rng) -> list[np.ndarray]:
    return [_star(3, 1.0, np.cos(TAU / 6))]


def _cross(rng: Rng) -> list[np.ndarray]:
    a = rng.uniform(0.26, 0.36)
    arm = np.array(((1, -a), (1, a), (a, a)))
    return [np.concatenate([arm @ _rotation(quarter * TAU / 4) for quarter in range(4)])]


def _five_pointed(rng: Rng) -> list[np.ndarray]:
    return [_star(5, 1.0, rng.uniform(0.42, 0.52))]


def _amoeba(rng: Rng) -> list[np.ndarray]:
    angles = np.linspace(0, TAU, 96, endpoint=False)
    radius = np.ones(96)
    for waves in (2, 3, 5):
        radius += rng.uniform(0.06, 0.14) * np.sin(waves * angles + rng.uniform(0, TAU))
    return [np.stack((np.cos(angles), np.sin(angles)), -1) * radius[:, None]]


def _glaze(u: np.ndarray, v: np.ndarray, rng: Rng) -> np.ndarray:
    """Concentric: light where the tube of a ring is highest."""
    return 1 - np.abs(np.hypot(u, v) - 0.75) / 0.27


def _checks(u: np.ndarray, v: np.ndarray, rng: Rng) -> np.ndarray:
    # the square stands on its corner: its sides run along u + v and u - v
    a, b = (np.floor((p + 1) * 2) for p in (u + v, u - v))
    return (a + b) % 2


def _stripes(u: np.ndarray, v: np.ndarray, rng: Rng) -> np.ndarray:
    return _soft(np.sin(u * TAU * 2.2))


def _bare(u: np.ndarray, v: np.ndarray, rng: Rng) -> np.ndarray:
    return 0.25 * (u + v + 1)


def _facets(u: np.ndarray, v: np.ndarray, rng: Rng) -> np.ndarray:
    """Each arm has a lit and a shaded half."""
    return _soft(np.sin(np.arctan2(v, u) * 5))


def _spots(u: np.ndarray, v: np.ndarray, rng: Rng) -> np.ndarray:
    spots = rng.uniform((-0.8, -0.8, 0.1), (0.8, 0.8, 0.24), (9, 3)).astype(np.float32)
    inside = [1 - ((u - x) ** 2 + (v - y) ** 2) / r**2 for x, y, r in spots]
    return _soft(np.max(inside, 0))


KINDS: dict[str, tuple[Outline, Texture]] = {
    "ring": (_ring, _glaze),
    "checker": (_square, _checks),
    "triangle": (_triangle, _stripes),
    "cross": (_cross, _bare),
    "star": (_five_pointed, _facets),
    "blob": (_amoeba, _spots),
}


def _clouds(size: tuple[int, int], rng: Rng) -> np.ndarray:
    octaves = [
        noise(size, max(size) / parts, rng) / 1.6**i for i, parts in enumerate((2, 5, 12, 30))
    ]
    return np.sum(octaves, 0) / 2


def _wood(size: tuple[int, int], rng: Rng) -> np.ndarray:
    across, along = _turned_grid(size, rng)
    wave = noise(size, max(size) / 4, rng) * 3 + noise(size, 12, rng) * 0.7
    grain = noise(size, 2, rng) * 0.3
    return 0.5 + 0.3 * np.sin(across * rng.uniform(8, 20) + wave + along) + grain


def _bokeh(size: tuple[int, int], rng: Rng) -> np.ndarray:
    share = _clouds(size, rng) * 0.6
    for _ in range(24):
        layer = np.zeros(size, np.float32)
        x, y = rng.integers((0, 0), size[::-1])
        cv2.circle(layer, (int(x), int(y)), int(rng.integers(5, 30)), rng.uniform(0.05, 0.3), -1)
        share += layer
    return cv2.blur(share, (5, 5))


def _weave(size: tuple[int, int], rng: Rng) -> np.ndarray:
    across, along = _turned_grid(size, rng) * rng.uniform(60, 130)
    return 0.45 + 0.12 * (np.sin(across) + np.sin(along)) + 0.5 * (_clouds(size, rng) - 0.5)


GROUNDS = (_clouds, _wood, _bokeh, _weave)


def _turned_grid(size: tuple[int, int], rng: Rng) -> np.ndarray:
    """Return two coordinates at right angles, (2, h, w), about 1 across the picture."""
    x, y = (np.arange(side, dtype=np.float32) / max(size) for side in size[::-1])
    turn = _rotation(rng.uniform(0, TAU))
    return np.stack([x * turn[axis, 0] + y[:, None] * turn[axis, 1] for axis in (0, 1)])


def _star(points: int, outer: float, inner: float) -> np.ndarray:
    angles = np.arange(2 * points) * TAU / (2 * points)
    radius = np.where(np.arange(2 * points) % 2, inner, outer)
    return np.stack((np.cos(angles), np.sin(angles)), -1) * radius[:, None]


def _ellipse(radius: float) -> np.ndarray:
    angles = np.linspace(0, TAU, 128, endpoint=False)
    return np.stack((np.cos(angles), np.sin(angles)), -1) * radius


def _rotation(angle: float) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array(((cos, sin), (-sin, cos)), np.float32)


def _colours(name: str, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Return two colours that stand apart: one deep, one light, in random order.

    Each class has its part of the hues, which reaches a little into its neighbours'.
    """
    hue = (list(KINDS).index(name) + rng.uniform(-0.7, 0.7)) / len(KINDS)
    deep = _hsv(hue, rng.uniform(0.65, 0.95), rng.uniform(0.45, 0.75))
    light = _hsv(hue + rng.uniform(-0.12, 0.12), rng.uniform(0.1, 0.5), rng.uniform(0.9, 1))
    return (deep, light) if rng.random() < 0.7 else (light, deep)


def _hsv(hue: float, saturation: float, value: float) -> np.ndarray:
    wheel = np.abs((hue + np.array((0, 2, 1)) / 3) % 1 * 6 - 3) - 1
    return (value * (1 - saturation * (1 - np.clip(wheel, 0, 1)))).astype(np.float32)


def _blend(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Mix two colours by a share (h, w) of the second: (h, w, 3) float32."""
    return cv2.merge(
        [a + (b - a) * share.astype(np.float32) for a, b in zip(first, second, strict=True)]
    )


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


def _fill(polygons: list[np.ndarray], size: np.ndarray) -> np.ndarray:
    mask = np.zeros(tuple(size), np.float32)
    cv2.fillPoly(mask, [_fixed(polygon - 0.5) for polygon in polygons], 1.0, cv2.LINE_8, SHIFT)
    return mask


def _fixed(points: np.ndarray) -> np.ndarray:
    return np.round(points * 2**SHIFT).astype(np.int32)


def _shrink(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
