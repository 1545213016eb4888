"""A figure of ghosts: the source, its linear image, the ghost itself, and their difference."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import corrcoef

from ghostyolo.errors import OptionError
from ghostyolo.files import replace
from ghostyolo.ghostify.ghost_maps import GhostMaps, LayerGhosts, MapPair, linear_image

ROWS = 3  # pairs of a layer
CELL, TITLE, DPI = 2.1, 0.42, 110  # inches, inches, pixels per inch
COLOURS = "viridis"


def write_figure(path: str | Path, found: GhostMaps) -> None:
    """Draw for each layer shown the ghosts that look most like their sources; write a .png file.

    Raises `OptionError` if the file cannot be written.
    """
    if Path(path).suffix.lower() != ".png":
        raise OptionError(f"--out {path}", hint="name a .png file")
    h, w = next(iter(found.outputs.values())).shape[2:]
    row = CELL * (min(2.0, max(0.3, h / w)) + 0.14)  # with room for the titles above
    pairs = [pairs_to_draw(layer, found) for layer in found.shown]
    inches = [len(some) * row + TITLE for some in pairs]
    height = sum(map(len, pairs)) * row + len(pairs) * TITLE + 0.3
    figure = Figure(figsize=(4 * CELL + 0.4, height), dpi=DPI)
    FigureCanvasAgg(figure)
    top = 1.0
    for layer, some, tall in zip(found.shown, pairs, inches, strict=True):
        bottom = top - tall / height
        _draw_layer(figure, found, layer, some, bottom, top)
        top = bottom
    data = BytesIO()
    figure.savefig(data, format="png")
    replace(path, [data.getvalue()])


def pairs_to_draw(layer: LayerGhosts, found: GhostMaps) -> list[MapPair]:
    """Return the ghosts to draw, the most similar to their sources first; else the best pairs.

    Ghosts with the smallest error may be inverted or shifted, and look like another map.
    """
    pairs = layer.ghost_pairs(found.threshold) or list(layer.pairs[:ROWS])
    maps = found.outputs[layer.index].transpose(0, 1).flatten(1)
    pairs.sort(key=lambda pair: -float(corrcoef(maps[[pair.source, pair.map]])[0, 1]))
    return pairs[:ROWS]


def _draw_layer(
    figure: Figure,
    found: GhostMaps,
    layer: LayerGhosts,
    pairs: list[MapPair],
    bottom: float,
    top: float,
) -> None:
    """Draw one layer's pairs between two heights of the figure."""
    maps = found.outputs[layer.index]
    room = TITLE / figure.get_figheight()
    name = f" {layer.name}" if layer.name else ""
    count = f"{layer.ghosts(found.threshold)} of {layer.maps} maps are ghosts"
    title = f"layer {layer.index}{name}: {count} at {found.threshold:g}"
    figure.text(0.02, top - room * 0.75, title, fontsize=10)
    grid = figure.add_gridspec(
        max(1, len(pairs)), 4, left=0.02, right=0.98, bottom=bottom, top=top - room * 1.45,
        wspace=0.05, hspace=0.16,
    )  # fmt: skip
    for row, pair in enumerate(pairs):
        made = linear_image(maps, pair.source, pair.map, found.dw)[0].numpy()
        source, wanted = maps[0, pair.source].numpy(), maps[0, pair.map].numpy()
        low, high = float(wanted.min()), float(wanted.max())
        around = ((high - low) or 1.0) / 2  # no difference is grey
        for column, (text, picture, colours, *limits) in enumerate(
            (
                (f"map {pair.source}", source, COLOURS, None, None),
                ("its image", made, COLOURS, low, high),
                (f"map {pair.map}", wanted, COLOURS, low, high),
                (f"misses {pair.error:.1%}", made - wanted, "coolwarm", -around, around),
            )
        ):
            axes = figure.add_subplot(grid[row, column])
            axes.set_axis_off()
            axes.set_title(text, fontsize=8, pad=2)
            axes.imshow(picture, cmap=colours, vmin=limits[0], vmax=limits[1])
