"""One HTML page of a run that needs no other file and loads nothing.

Every section is made by one function from the values of the run and shown by `templates/page.html`,
which escapes all text. A section that has nothing to show is left out.
"""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import Any

import jinja2

from ghostyolo.evaluation.accuracy import Accuracy
from ghostyolo.evaluation.validation import Validation
from ghostyolo.files import replace
from ghostyolo.network import dumps, info
from ghostyolo.network.outputs import classifier_output
from ghostyolo.report import classification, detection, plots, tables
from ghostyolo.report.run_report import RunReport

TITLES = {
    "results": "Training curves",
    "scores": "Average precision",
    "sizes": "By object size",
    "curves": "Precision and recall",
    "confusion": "Confusion matrix",
    "pictures": "Worst predictions",
    "anchors": "Anchors and boxes",
    "data": "Data set",
    "time": "Time",
    "origin": "Command and versions",
    "cfg": "The cfg",
}
LONG_TABLE = 25  # rows; a longer one scrolls in itself


def write(path: str | Path, run: RunReport) -> None:
    """Write the page of a run. Raises `OptionError` when it cannot be written."""
    replace(path, [render(run).encode()])


def render(run: RunReport) -> str:
    """Return the page of a run as HTML."""
    boxes = classifier_output(run.network) is None
    titles = TITLES if boxes else {**TITLES, "scores": "Accuracy"}
    parts = {name: value for name, value in _parts(run, boxes).items() if value}
    return (
        _environment()
        .get_template("page.html")
        .render(
            run=run,
            boxes=boxes,
            parts=parts,
            tiles=_tiles(run, boxes),
            titles={name: title for name, title in titles.items() if name in parts},
            long_table=LONG_TABLE,
        )
    )


def score(value: float) -> str:
    """Return a number in [0, 1] with three digits; a dash stands for NaN."""
    return "\N{EN DASH}" if math.isnan(value) else f"{value:.3f}"


def duration(seconds: float) -> str:
    """Return a duration in the units of its size: .5 -> '0.50 s', 75 -> '1 min 15 s'."""
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ghostyolo.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"score": score, "duration": duration, "count": "{:,}".format}
    return environment


def _parts(run: RunReport, boxes: bool) -> dict[str, Any]:
    """Return what each section shows, by its name in `TITLES`; empty ones are left out."""
    scored: dict[str, Any] = {"scores": {"table": None}}
    if run.validation is not None:
        scored = (detection if boxes else classification).sections(run.validation)
    origin = {"command": shlex.join(run.command), "versions": run.versions}
    return {
        **scored,
        "results": plots.results(run.rows),
        "anchors": _anchors(run),
        "data": tables.data(run.datasets, boxes=boxes),
        "time": tables.percentages(run.seconds),
        "origin": origin if run.command or run.versions else None,
        "cfg": dumps(run.network),
    }


def _anchors(run: RunReport) -> dict[str, Any] | None:
    """Return the plot of anchors and boxes, and how well they fit, where there are both."""
    scales = tables.anchors_by_stride(run.network)
    if not run.datasets or not scales:
        return None
    data = run.datasets[0]
    sizes = tables.box_sizes(data.samples, run.network.options)
    if not len(sizes):
        return None
    rows, overlap = tables.anchor_fit(sizes, scales)
    plot = plots.anchors(sizes, scales)
    return {"plot": plot, "rows": rows, "overlap": overlap, "split": data.split}


def _tiles(run: RunReport, boxes: bool) -> list[tuple[str, str, str]]:
    """Return the numbers at the top of the page: label, value and remark of each."""
    tiles = [] if run.validation is None else _score_tiles(run.validation)
    if run.train is not None:
        count = sum(len(sample.classes) for sample in run.train.samples)
        remark = f"pictures, {count:,} boxes" if boxes else "pictures"
        tiles.append((run.train.split, f"{len(run.train):,}", remark))
    total = info.totals(info.rows(run.network))
    (h, w), millions = run.network.options.size, total.macs / 1e6
    amount = f"{millions:,.0f}" if millions >= 10 else f"{millions:.2f}"
    remark = f"{amount} M multiply-adds at {w}x{h}"
    tiles.append(("parameters", f"{total.parameters:,}", remark))
    if run.seconds:
        tiles.append(("time", duration(sum(run.seconds.values())), "all phases"))
    return tiles


def _score_tiles(validation: Validation) -> list[tuple[str, str, str]]:
    metrics, data = validation.metrics, validation.dataset
    pictures = data.split, f"{len(data):,}"
    if isinstance(metrics, Accuracy):
        return [
            ("top-1", score(metrics.top1), "most probable class is right"),
            ("top-5", score(metrics.top5), "right class is among the five most probable"),
            (*pictures, "pictures"),
        ]
    return [
        ("AP", score(metrics.mean.ap), "mean over the IoU thresholds .50 to .95"),
        ("AP50", score(metrics.mean.ap50), "at an IoU threshold of .50"),
        (*pictures, f"pictures, {metrics.mean.truths:,} boxes"),
    ]
