"""results.csv and curve.png of a training run."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ghostyolo.files import replace

SCORES = {"average precision": ("AP", "AP50"), "accuracy": ("top-1", "top-5")}


def write_rows(path: Path, rows: list[dict[str, float]]) -> None:
    """Write the results as CSV, one line for each validation."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(dict.fromkeys(key for row in rows for key in row)))
    writer.writeheader()
    writer.writerows({key: _number(value) for key, value in row.items()} for row in rows)
    replace(path, [buffer.getvalue().encode()])


def _number(value: float) -> str:
    """Return a number of a row; whole ones, such as iterations, keep all digits."""
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def draw_curve(path: Path, rows: list[dict[str, float]]) -> None:
    """Draw both losses and the average precision, or accuracy, over the epochs as a PNG."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    left = figure.add_subplot(xlabel="epoch", ylabel="loss")
    right = left.twinx()
    what = "accuracy" if any("top-1" in row for row in rows) else "average precision"
    right.set(ylabel=f"{what} on val", ylim=(0, 1))
    first, second = SCORES[what]
    lines = (
        (left, "loss", ":", "gray"),
        (left, "val_loss", "--", "gray"),
        (right, first, "-", "blue"),
        (right, second, "-", "orange"),
    )
    epochs = [row["epoch"] for row in rows]
    for axis, key, style, colour in lines:
        values = [row.get(key, float("nan")) for row in rows]
        axis.plot(epochs, values, style, label=key, color=f"tab:{colour}", marker=".")
    left.set_ylim(bottom=0)
    figure.legend(loc="outside upper center", ncols=4)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    replace(path, [buffer.getvalue()])
