"""Plots as SVG in the colours and the font of the page that shows them.

Each colour of `INKS` is replaced by the CSS variable of that name, so that a plot follows the page
from light to dark. The page also shows the legends: they wrap, and all names are escaped.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ghostyolo.evaluation.curves import RankedDetections, ThresholdSweep

SERIES = 8  # number of colours that can be distinguished
INKS = {"ink": "#010101", "muted": "#010102", "line": "#010103"} | {
    f"c{number}": f"#0101{number + 15:02x}" for number in range(1, SERIES + 1)
}
COLOURS = tuple(INKS[f"c{number}"] for number in range(1, SERIES + 1))
STYLE: Any = {  # Any: matplotlib's types list the keys, and the list changes with its version
    "font.size": 9.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "ghostyolo",  # without it the ids in the SVG change with each drawing
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INKS["line"],
    "axes.labelcolor": INKS["muted"],
    "axes.grid": True,
    "grid.color": INKS["line"],
    "grid.linewidth": 0.6,
    "xtick.color": INKS["line"],
    "ytick.color": INKS["line"],
    "xtick.labelcolor": INKS["muted"],
    "ytick.labelcolor": INKS["muted"],
    "lines.linewidth": 1.6,
    "lines.markersize": 3,
    "figure.constrained_layout.use": True,
}
SIZE = (4.2, 2.7)  # inches; a phone shows plots at this size, a desktop 1.5 times as large
UNIT = (-0.02, 1.02)  # limits of an axis from 0 to 1, with a margin for the line width
MARGIN = 1.15  # factor between the outermost box and the frame
PRECISION, ACCURACY = "Precision on val", "Accuracy on val"
RATE = "Learning rate of the cfg, which some losses multiply"
DRAWN_CLASSES, DRAWN_BOXES = 100, 1000  # more would make the page megabytes large


@dataclass(frozen=True)
class Plot:
    """A drawing with its heading, its description in words (alt), and its legend."""

    heading: str
    alt: str
    svg: Markup
    legend: tuple[tuple[str, str], ...] = ()  # CSS variable of the colour, label


def results(rows: Sequence[Mapping[str, float]]) -> list[Plot]:
    """Draw the columns of results.csv over the epochs: losses, scores, learning rate."""
    columns = dict.fromkeys(key for row in rows for key in row)
    groups: dict[str, list[str]] = {"Loss": [], PRECISION: [], ACCURACY: [], RATE: []}
    for key in columns:
        if key in ("iteration", "epoch"):
            continue
        groups[_group(key)].append(key)
    return [_over_epochs(heading, keys, rows) for heading, keys in groups.items() if keys]


def precision_recall(ranked: Sequence[RankedDetections], names: Sequence[str]) -> Plot:
    """Draw the curve of each class, the classes with most truths in colour, and the mean of all."""
    recall = np.linspace(0, 1, 101)
    known = [row for row, own in enumerate(ranked) if own.truths]
    known.sort(key=lambda row: -ranked[row].truths)
    curves = {row: ranked[row].precision_at(recall) for row in known}
    others, drawn = known[SERIES:DRAWN_CLASSES], known[:SERIES]
    with _axes(xlabel="recall", ylabel="precision", xlim=UNIT, ylim=UNIT) as (axes, plot):
        for row in others:
            axes.plot(recall, curves[row], color=INKS["muted"], linewidth=0.5)
        for row, colour in zip(drawn, COLOURS, strict=False):
            axes.plot(recall, curves[row], color=colour, label=names[row])
        if len(known) > 1:
            mean, label = np.mean(list(curves.values()), 0), f"mean of {len(known)} classes"
            axes.plot(recall, mean, color=INKS["ink"], linewidth=2.4, linestyle="--", label=label)
        if others:
            axes.plot([], [], color=INKS["muted"], label=f"other classes ({len(others)})")
        alt = f"Precision against recall of {len(known)} classes at an IoU of 0.5"
        return plot("Precision and recall of each class", alt)


def thresholds(curve: ThresholdSweep) -> Plot:
    """Draw precision, recall and F1 over the confidence threshold, and mark the best F1."""
    best = curve.best
    at, f1 = curve.thresholds[best], curve.f1[best]
    columns = {"precision": curve.precision, "recall": curve.recall, "F1": curve.f1}
    with _axes(xlabel="confidence threshold", xlim=UNIT, ylim=UNIT) as (axes, plot):
        for (name, values), colour in zip(columns.items(), COLOURS, strict=False):
            axes.plot(curve.thresholds, values, color=colour, label=name)
        axes.axvline(at, color=INKS["ink"], linewidth=1, linestyle=":")
        label = f"best F1 {f1:.3f} at {at:.3f}"
        axes.plot([at], [f1], "o", color=INKS["ink"], markersize=5, label=label)
        alt = f"Precision, recall and F1 by confidence threshold; F1 is best, {f1:.3f}, at {at:.3f}"
        return plot("Precision, recall and F1 by confidence threshold", alt)


def anchors(sizes: np.ndarray, scales: Mapping[float, np.ndarray]) -> Plot:
    """Draw boxes and anchors by width and height.

    sizes: (n, 2) as w, h in pixels of the network's input. scales: the anchors, (a, 2), by stride.
    """
    shown = sizes[:: max(1, math.ceil(len(sizes) / DRAWN_BOXES))]
    everything = np.maximum(np.concatenate([shown, *scales.values()]), 1)
    low, high = (
        np.floor(np.log2(everything.min() / MARGIN)),
        np.ceil(np.log2(everything.max() * MARGIN)),
    )
    ticks = 2.0 ** np.arange(low, max(high, low + 1) + 1)
    with _axes(xlabel="width, pixels of the input", ylabel="height") as (axes, plot):
        for axis, scale in ((axes.xaxis, axes.set_xscale), (axes.yaxis, axes.set_yscale)):
            scale("log", base=2)
            axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set(xlim=(ticks[0], ticks[-1]), ylim=(ticks[0], ticks[-1]))
        w, h = np.maximum(shown, 1).T
        label = f"boxes ({len(shown):,} of {len(sizes):,})"
        axes.plot(w, h, ".", color=INKS["muted"], alpha=0.35, markersize=3.5, label=label)
        style: Any = {"markersize": 9, "markeredgecolor": INKS["ink"]}
        for number, (stride, pairs) in enumerate(scales.items()):
            label, colour = f"anchors at stride {stride:g}", COLOURS[number % SERIES]
            axes.plot(*pairs.T, "X", color=colour, label=label, **style)
        alt = f"Width and height of {len(shown)} boxes, and the anchors of {len(scales)} heads"
        return plot("Anchors among the boxes", alt)


def intervals(
    heading: str,
    names: Sequence[str],
    series: Mapping[str, Sequence[tuple[float, float, float]]],
    *,
    zero: bool = False,
) -> Plot:
    """Draw numbers with their intervals, one below the other, and beside each other by series.

    series: value, low and high for each of the names; NaN is left out. zero: whether these are
    differences to a first series, which has the first colour.
    """
    with _axes() as (axes, plot):
        for number, (label, triples) in enumerate(series.items()):
            value, low, high = np.array(triples).T
            y = np.arange(len(names)) + 0.6 * ((number + 0.5) / len(series) - 0.5)
            colour = COLOURS[(number + zero) % SERIES]
            for row in np.flatnonzero(~np.isnan(value)):
                axes.plot([low[row], high[row]], [y[row], y[row]], color=colour, linewidth=2.4)
            axes.plot(value, y, "o", color=colour, markersize=5, label=label)
        if zero:
            axes.axvline(0, color=INKS["ink"], linewidth=1, linestyle=":")
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        alt = f"{', '.join(names)} of {', '.join(series)} with their intervals"
        return plot(heading, alt)


def _group(key: str) -> str:
    """Return the heading of the plot that shows a column of results."""
    if key.startswith("AP") or key in ("VOC", "precision", "recall"):
        return PRECISION
    if key.startswith("top-"):
        return ACCURACY
    return RATE if key == "rate" else "Loss"  # the loss, its terms, that on val


def _over_epochs(heading: str, keys: Sequence[str], rows: Sequence[Mapping[str, float]]) -> Plot:
    epochs = [row.get("epoch", number) for number, row in enumerate(rows, 1)]
    with _axes(xlabel="epoch") as (axes, plot):
        for number, key in enumerate(keys):
            values = [row.get(key, math.nan) for row in rows]
            style = "--" if key == "VOC" else "-"  # it nearly coincides with AP50
            label, colour = key if len(keys) > 1 else None, COLOURS[number % SERIES]
            axes.plot(epochs, values, style, marker="o", color=colour, label=label)
        if heading in (PRECISION, ACCURACY):
            axes.set_ylim(*UNIT)
        else:
            axes.set_ylim(0, 1.04 * axes.get_ylim()[1])
        axes.set_xlim(0, 1.02 * axes.get_xlim()[1])
        alt = f"{', '.join(keys)} over {len(rows)} validations"
        return plot(heading, alt)


@contextmanager
def _axes(**labels: Any) -> Iterator[tuple[Axes, Any]]:
    """Yield empty axes, and a function that returns the axes as a `Plot`."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=SIZE)
        axes = figure.add_subplot(**labels)
        yield axes, lambda heading, alt: Plot(heading, alt, _svg(figure, alt), _legend(axes))


def _legend(axes: Axes) -> tuple[tuple[str, str], ...]:
    """Return the CSS variable of the colour, and the label, of each line that has a label."""
    variables = {colour: name for name, colour in INKS.items()}
    lines = [(variables.get(str(line.get_color())), str(line.get_label())) for line in axes.lines]
    return tuple((name, label) for name, label in lines if name and not label.startswith("_"))


def _svg(figure: Figure, alt: str) -> Markup:
    """Return the figure as an <svg> element."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True)
    text = buffer.getvalue()
    body = text[text.index(">", text.index("<svg")) + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.S)
    body = re.sub(r"<!--.*?-->", "", body, flags=re.S)  # comments repeat the text of each label
    for name, colour in INKS.items():
        body = body.replace(colour, f"var(--{name})")
    prefix = re.sub(r"\W+", "-", alt)
    body = re.sub(r'( id="|url\(#|xlink:href="#)', rf"\g<1>{prefix}-", body)
    w, h = (72 * side for side in figure.get_size_inches())
    opening = Markup('<svg class="plot" role="img" aria-label="{}" viewBox="0 0 {:g} {:g}">')
    return opening.format(alt, w, h) + Markup(re.sub(r"\n\s*", "\n", body))
