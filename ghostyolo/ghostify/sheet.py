"""Ghosts drawn: a map, its best linear image as another, that other, and what is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor, corrcoef

from ghostyolo.errors import OptionError
from ghostyolo.files import replace
from ghostyolo.ghostify.ghosts import LayerGhosts, Pair, image

ROWS = 3  # pairs of a layer
CELL, TITLE, DPI = 2.1, 0.42, 110  # inches, inches, pixels of an inch
COLOURS = "viridis"


def write_sheet(
    path: str | Path,
    layers: Sequence[LayerGhosts],
    maps: Mapping[int, Tensor],
    threshold: float,
    dw: int = 3,
) -> None:
    """Draw pairs of some layers side by side in a .png: of their ghosts those most like the source.

    maps: outputs (1, C, H, W) by node. Raises `OptionError` where the file cannot be written.
    """
    if Path(path).suffix.lower() != ".png":
        raise OptionError(f"--out {path}", hint="name a .png file")
    blocks = [(layer, shown(layer, maps[layer.index], threshold)) for layer in layers]
    rows = sum(len(pairs) for _, pairs in blocks)
    height = rows * CELL * _flatness(maps) + len(blocks) * TITLE
    figure = Figure(figsize=(4 * CELL + 0.4, height + 0.3), dpi=DPI)
    FigureCanvasAgg(figure)
    top = 1.0
    for layer, pairs in blocks:
        share = (len(pairs) * CELL * _flatness(maps) + TITLE) / (height + 0.3)
        _block(figure, layer, pairs, maps[layer.index], (top - share, top), threshold, dw)
        top -= share
    data = BytesIO()
    figure.savefig(data, format="png")
    replace(path, [data.getvalue()])


def shown(layer: LayerGhosts, maps: Tensor, threshold: float) -> list[tuple[int, int, float]]:
    """Return source, map and error of the pairs to draw, the most alike of the ghosts first.

    Ghosts of the smallest error may be inverted or shifted, which the eye takes for another map.
    """
    pairs = list(layer.taken(threshold)) or list(layer.pairs[:ROWS])
    pairs.sort(key=lambda pair: -_likeness(maps, pair))
    return [(pair.source, pair.map, pair.error) for pair in pairs[:ROWS]]


def _likeness(maps: Tensor, pair: Pair) -> float:
    """Return the correlation of a map and its source, pixel by pixel, -1 to 1."""
    both = maps[:, [pair.source, pair.map]].transpose(0, 1).flatten(1)
    return float(corrcoef(both)[0, 1])


def _flatness(maps: Mapping[int, Tensor]) -> float:
    """Return height over width of the first maps, and room for the words above each."""
    h, w = next(iter(maps.values())).shape[2:]
    return min(2.0, max(0.3, h / w)) + 0.14


def _block(
    figure: Figure,
    layer: LayerGhosts,
    pairs: list[tuple[int, int, float]],
    maps: Tensor,
    span: tuple[float, float],
    threshold: float,
    dw: int,
) -> None:
    """Draw one layer's pairs between two heights of the figure."""
    bottom, top = span
    room = TITLE / figure.get_figheight()
    name = f" {layer.name}" if layer.name else ""
    count = f"{layer.ghosts(threshold)} of {layer.maps} maps are ghosts at {threshold:g}"
    figure.text(0.02, top - room * 0.75, f"layer {layer.index}{name}: {count}", fontsize=10)
    grid = figure.add_gridspec(
        max(1, len(pairs)), 4, left=0.02, right=0.98, bottom=bottom, top=top - room * 1.45,
        wspace=0.05, hspace=0.16,
    )  # fmt: skip
    for row, (source, target, error) in enumerate(pairs):
        made = image(maps, source, target, dw)[0].numpy()
        wanted = maps[0, target].numpy()
        low, high = float(wanted.min()), float(wanted.max())
        titles = (f"map {source}", "its image", f"map {target}", f"misses {error:.1%}")
        pictures = (maps[0, source].numpy(), made, wanted, made - wanted)
        for column, (title, picture) in enumerate(zip(titles, pictures, strict=True)):
            axes = figure.add_subplot(grid[row, column])
            axes.set_axis_off()
            axes.set_title(title, fontsize=8, pad=2)
            _draw(axes, picture, column, (low, high))


def _draw(axes: object, picture: np.ndarray, column: int, span: tuple[float, float]) -> None:
    """Draw a map; image and map on one scale of colours, the difference around grey."""
    draw = axes.imshow  # type: ignore[attr-defined]
    low, high = span
    reach = (high - low) or 1.0
    if column == 0:
        draw(picture, cmap=COLOURS)
    elif column == 3:
        draw(picture, cmap="coolwarm", vmin=-reach / 2, vmax=reach / 2)
    else:
        draw(picture, cmap=COLOURS, vmin=low, vmax=high)
