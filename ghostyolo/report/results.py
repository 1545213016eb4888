"""The table of results as CSV and its curve as PNG, for programs and for a quick look."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from ghostyolo.files import replace

_LEFT = ("loss",)
_RIGHT = {"average precision": ("AP", "AP50"), "accuracy": ("top-1", "top-5")}
_COLOURS = ("tab:blue", "tab:orange")


def write_rows(path: Path, rows: list[dict[str, float]]) -> None:
    """Write the results as CSV, a line per validation."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(dict.fromkeys(key for row in rows for key in row)))
    writer.writeheader()
    writer.writerows({key: f"{value:.6g}" for key, value in row.items()} for row in rows)
    replace(path, [buffer.getvalue().encode()])


def draw_curve(path: Path, rows: list[dict[str, float]]) -> None:
    """Draw loss and average precision, or accuracy, over the epochs as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    left = figure.add_subplot(xlabel="epoch", ylabel="loss")
    right = left.twinx()
    what = "accuracy" if any("top-1" in row for row in rows) else "average precision"
    right.set(ylabel=f"{what} on val", ylim=(0, 1))
    epochs = [row["epoch"] for row in rows]
    colours = ("tab:gray",), _COLOURS
    drawn = ((left, _LEFT, ":"), (right, _RIGHT[what], "-"))
    for (axis, keys, style), inks in zip(drawn, colours, strict=True):
        for key, colour in zip(keys, inks, strict=True):
            values = [row.get(key, float("nan")) for row in rows]
            axis.plot(epochs, values, style, label=key, color=colour, marker=".")
    left.set_ylim(bottom=0)
    figure.legend(loc="outside upper center", ncols=3)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    replace(path, [buffer.getvalue()])
