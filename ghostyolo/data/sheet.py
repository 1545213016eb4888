"""A contact sheet: labelled pictures of a data set on one page, for a look at the labels.

Boxes have the colour of their class. A class is named in the legend, and once in each picture, at
its largest box. Text is drawn by matplotlib, whose font has more alphabets than OpenCV's.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from ghostyolo.data import Dataset, Sample, read_image
from ghostyolo.drawing import class_colour, place_labels, text_colour
from ghostyolo.errors import DataError, OptionError, Span
from ghostyolo.files import replace

FEWEST, MOST = 12, 40  # pictures of a sheet; more than `FEWEST` only to show every class
COLUMNS = 4
CELL, DPI = 4.8, 100  # width of a picture in inches, pixels per inch
LEGEND = 40  # classes in the legend; of more classes the rarest are listed
LEGEND_LETTER, LEGEND_MARK = 11, 75  # pixels of a letter, and of the patch and the gaps beside it
LINE, LETTER = 18, 7  # height of a class name and width of a letter, in pixels
EDGE = 3  # pixels of the background around a class name
SUFFIXES = (".jpg", ".jpeg", ".png")

Colour = tuple[float, float, float]  # red, green, blue from 0 to 1
Picked = tuple[Dataset, Sample]


def pick(datasets: Sequence[Dataset], rng: np.random.Generator) -> list[Picked]:
    """Return pictures that show every class, those of rare classes first.

    Each pick is for the class shown least so far; ties go to the class with the fewest pictures. Of
    the pictures of that class the one with the most classes not shown yet is picked; ties are
    broken at random. Picks `FEWEST` pictures, then rows until every class is shown, `MOST` at most.
    """
    pool = [(data, sample) for data in datasets for sample in data.samples if len(sample.classes)]
    order = rng.permutation(len(pool))
    shows = np.zeros((len(pool), len(datasets[0].names)), bool)
    for row, place in zip(shows, order, strict=True):
        row[pool[place][1].classes] = True
    rarity, seen = shows.sum(0), np.zeros(shows.shape[1], int)
    left = np.ones(len(pool), bool)
    chosen: list[Picked] = []
    while len(chosen) < min(MOST, len(pool)):
        if len(chosen) >= FEWEST and len(chosen) % COLUMNS == 0 and seen[rarity > 0].all():
            break
        open_classes = np.flatnonzero((shows & left[:, None]).any(0))
        cls = min(open_classes, key=lambda cls: (seen[cls], rarity[cls]))
        candidates = np.flatnonzero(left & shows[:, cls])
        row = candidates[shows[candidates][:, seen == 0].sum(1).argmax()]
        left[row] = False
        seen += shows[row]
        chosen.append(pool[order[row]])
    return chosen


def write_sheet(path: str | Path, datasets: Sequence[Dataset], seed: int = 0) -> int:
    """Draw a contact sheet of the splits of a data set; return the number of pictures on it.

    seed: of the choice of pictures. Raises OptionError for a file name that ends in neither .jpg,
    .jpeg nor .png and for a seed below 0, DataError if there are no labelled pictures.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        hint = f"use one of {', '.join(SUFFIXES)}"
        raise OptionError("not a kind of picture", span=Span(str(path)), hint=hint)
    if seed < 0:
        raise OptionError(f"--seed {seed}", hint="use 0 or more")
    chosen = pick(datasets, np.random.default_rng(seed))
    if not chosen:
        hint = "choose another split"
        raise DataError("no labelled picture to draw", span=Span(datasets[0].path), hint=hint)
    page = cv2.cvtColor(draw_sheet(chosen, datasets), cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(suffix, page)
    replace(path, [data.tobytes()])
    return len(chosen)


def draw_sheet(chosen: Sequence[Picked], datasets: Sequence[Dataset]) -> np.ndarray:
    """Draw pictures with their labels and a legend, uint8 RGB (H, W, 3)."""
    columns = min(COLUMNS, len(chosen))
    rows = -(-len(chosen) // columns)
    aspect = float(np.median([sample.size[0] / sample.size[1] for _, sample in chosen]))
    height = CELL * min(max(aspect, 0.4), 2.0) + 0.3
    labels = _legend(datasets)
    longest = max(len(text) for _, text in labels)
    abreast = max(1, int(columns * CELL * DPI / (LEGEND_LETTER * longest + LEGEND_MARK)))
    top = 0.15 + 0.28 * -(-len(labels) // abreast)
    figure = Figure(figsize=(columns * CELL, rows * height + top), dpi=DPI, facecolor="white")
    total = rows * height + top
    for place, (data, sample) in enumerate(chosen):
        row, column = divmod(place, columns)
        low = 1 - (top + (row + 1) * height - 0.03) / total
        box = (column + 0.01) / columns, low, 0.98 / columns, (height - 0.3) / total
        _draw_cell(figure.add_axes(box), data, sample)
    legend = figure.legend(
        [Patch(color=_scaled(class_colour(cls))) for cls, _ in labels],
        [text for _, text in labels],
        loc="upper center",
        ncols=min(abreast, len(labels)),
        frameon=False,
        fontsize=13,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():  # matplotlib warns of letters that the font lacks
        warnings.filterwarnings("ignore", message="Glyph")
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _draw_cell(axes: Axes, data: Dataset, sample: Sample) -> None:
    """Draw one picture with its boxes, and its split and file name above it."""
    axes.set_axis_off()
    title = f"{data.split}: {Path(sample.path).name}, {len(sample.classes)} boxes"
    axes.set_title(_printable(title, 60), fontsize=9, pad=3, parse_math=False)
    try:
        image = read_image(sample.path)
    except DataError as error:
        message = _printable(error.diagnostic.message, 60)
        axes.text(0.5, 0.5, message, ha="center", color="red", parse_math=False)
        return
    h, w = image.shape[:2]
    scale = min(1.0, CELL * DPI / w)
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    axes.imshow(small, extent=(0, w, h, 0))
    sides = sample.boxes_xyxy_px[:, 2:] - sample.boxes_xyxy_px[:, :2]
    order = np.argsort(-sides.prod(1), kind="stable")
    for row in order:
        (x, y), (wide, high), cls = sample.boxes_xyxy_px[row, :2], sides[row], sample.classes[row]
        style, colour = ":" if sample.ignore[row] else "-", _scaled(class_colour(int(cls)))
        for line, width in (((0, 0, 0, 0.35), 2.6), (colour, 1.7)):  # a dark line below it
            axes.add_patch(Rectangle((x, y), wide, high, fill=False, ec=line, lw=width, ls=style))
    _, largest = np.unique(sample.classes[order], return_index=True)
    first = order[np.sort(largest)]
    rest = np.setdiff1d(order, first)
    _write_names(axes, data.names, sample.boxes_xyxy_px[[*first, *rest]], sample.classes[first])


def _write_names(
    axes: Axes, names: Sequence[str], boxes_xyxy_px: np.ndarray, classes: np.ndarray
) -> None:
    """Write the names of classes at the first boxes, beside each other; see `place_labels`."""
    w, h = axes.get_xlim()[1], axes.get_ylim()[0]
    pixel = max(w / axes.bbox.width, h / axes.bbox.height)  # of the sheet, in picture pixels
    texts = [_printable(names[cls], 24) for cls in classes]
    sizes = np.array([(LETTER * len(text) + 2 * EDGE, LINE) for text in texts]).reshape(-1, 2)
    corners, free = place_labels(boxes_xyxy_px, sizes * pixel, (h, w))
    for row in np.flatnonzero(free):
        x, y = corners[row] + EDGE * pixel
        colour = class_colour(int(classes[row]))
        ground = {"facecolor": _scaled(colour), "edgecolor": "none", "pad": 1.5}
        axes.text(
            x, y, texts[row], fontsize=8, color=_scaled(text_colour(colour)), ha="left", va="top",
            bbox=ground, zorder=5, clip_on=True, parse_math=False,
        )  # fmt: skip


def _legend(datasets: Sequence[Dataset]) -> list[tuple[int, str]]:
    """Return each class with its text, rare classes first: boxes in all splits, and the name."""
    names = datasets[0].names
    counts = np.zeros(len(names), int)
    for data in datasets:
        counts += np.bincount(data.columns.classes, minlength=len(names))
    order = [int(cls) for cls in np.argsort(counts, kind="stable") if counts[cls]]
    lines = [(cls, f"{counts[cls]:,} x {_printable(names[cls], 24)}") for cls in order]
    if len(lines) > LEGEND:
        lines[LEGEND - 1 :] = [(order[-1], f"... and {len(lines) - LEGEND + 1} more")]
    return lines


def _scaled(colour: tuple[int, int, int]) -> Colour:
    red, green, blue = colour
    return red / 255, green / 255, blue / 255


def _printable(text: str, most: int) -> str:
    """Shorten a text in its middle, and replace bytes that are not UTF-8, which no font has."""
    text = text.encode("utf-8", "replace").decode()
    half = (most - 3) // 2
    return text if len(text) <= most else f"{text[:half]}...{text[-half:]}"
