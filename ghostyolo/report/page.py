"""One HTML page of a run that needs no other file and loads nothing.

Every section is made by one function from the values of the run and shown by `templates/page.html`,
which escapes all text. A section that has nothing to show is left out.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from ghostyolo.evaluation.classification import Accuracy
from ghostyolo.evaluation.curves import Sweep, confusion, judge, rank, sweep
from ghostyolo.evaluation.detection import COLUMNS, FOOTNOTE, Metrics
from ghostyolo.files import replace
from ghostyolo.model.detector import THRESH
from ghostyolo.network import dumps, info
from ghostyolo.network.outputs import classifier_output
from ghostyolo.report import classification, plots, tables
from ghostyolo.report.pictures import worst
from ghostyolo.report.run import RunReport

TITLES = {
    "results": "Over the epochs",
    "scores": "Scores",
    "sizes": "By object size",
    "curves": "Precision and recall",
    "confusion": "What is taken for what",
    "pictures": "Pictures, worst first",
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
    template = _environment().get_template("page.html")
    parts = {name: value for name, value in _parts(run).items() if value}
    titles = {"results": TITLES["results"], **classification.TITLES, **TITLES}
    return template.render(
        run=run,
        parts=parts,
        tiles=_tiles(run, parts),
        titles={name: title for name, title in titles.items() if name in parts},
        long_table=LONG_TABLE,
    )


def score(value: float) -> str:
    """Return a number in [0, 1] with three digits; a dash is no number."""
    return "\N{EN DASH}" if math.isnan(value) else f"{value:.3f}"


def duration(seconds: float) -> str:
    """Return seconds as people say them: .5 -> '0.50 s', 75 -> '1 min 15 s'."""
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


def _parts(run: RunReport) -> dict[str, Any]:
    """Return what each section shows, by its name in `TITLES`; empty is left out."""
    if isinstance(run.metrics, Accuracy):
        scored = classification.sections(run.metrics, run.detections or (), run.val)
    else:
        scored = _scored(run) if run.detections is not None else {"scores": {"table": None}}
    return {
        **scored,
        "results": plots.results(run.rows),
        "anchors": _anchors(run),
        "data": tables.data(
            [each for each in (run.train, run.val) if each is not None],
            boxes=classifier_output(run.network) is None,
        ),
        "time": tables.shares(run.seconds),
        "origin": (run.command or run.versions)
        and {"command": shlex.join(run.command), "versions": run.versions},
        "cfg": dumps(run.network),
    }


def _scored(run: RunReport) -> dict[str, Any]:
    """Return the sections that need detections."""
    assert run.val is not None and isinstance(run.metrics, Metrics)
    found: Any = run.detections
    names, samples = run.val.names, run.val.samples
    ranked = rank(found, samples, len(names))
    total = sweep(ranked)
    sought = any(each.truths for each in ranked)
    threshold = float(total.thresholds[total.best]) if total.f1.max() > 0 else THRESH
    sure = [each[each.scores >= threshold] for each in found]
    verdicts = [judge(*pair) for pair in zip(sure, samples, strict=True)]
    matrix = confusion(sure, samples, verdicts, len(names))
    drawn = [plots.precision_recall(ranked, names), plots.thresholds(total)] if sought else []
    return {
        "scores": {"table": _scores(run, [sweep([each]) for each in ranked]), "best": threshold},
        "sizes": tables.sizes(run.metrics.mean, samples) if sought else None,
        "curves": drawn,
        "confusion": {
            **tables.confusion(matrix, names),
            "threshold": threshold,
            "errors": tables.errors(verdicts),
        },
        "pictures": worst(sure, samples, verdicts, names),
    }


def _scores(run: RunReport, sweeps: Sequence[Sweep]) -> dict[str, Any]:
    """Return the table of scores: each class and the mean, with the best F1 of each class."""
    assert isinstance(run.metrics, Metrics)
    keys = {**COLUMNS, **FOOTNOTE}
    keys.pop("truths")
    rows = []
    for name, scores, each in zip(run.metrics.names, run.metrics.classes, sweeps, strict=True):
        values = [getattr(scores, key) for key in keys]
        found = scores.truths and each.f1.max() > 0
        best = (each.f1[each.best], each.thresholds[each.best]) if found else (math.nan, math.nan)
        rows.append((name, scores.truths, [*values, *best]))
    mean = [getattr(run.metrics.mean, key) for key in keys]
    known = [row[2][-2] for row in rows if not math.isnan(row[2][-2])]
    mean += [sum(known) / len(known) if known else math.nan, math.nan]
    return {
        "head": [*keys.values(), "best F1", "at"],
        "rows": rows,
        "mean": (run.metrics.mean.truths, mean),
    }


def _anchors(run: RunReport) -> dict[str, Any] | None:
    """Return the plot of anchors and boxes and how well they fit, if there are both."""
    data = run.train if run.train is not None else run.val
    scales = tables.anchors_by_stride(run.network)
    if data is None or not scales:
        return None
    sizes = tables.box_sizes(data.samples, run.network.options)
    if not len(sizes):
        return None
    rows, overlap = tables.anchor_fit(sizes, scales)
    plot = plots.anchors(sizes, scales)
    return {"plot": plot, "rows": rows, "overlap": overlap, "split": data.split}


def _tiles(run: RunReport, parts: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return what to see first: label, value and a remark of each."""
    tiles = []
    boxes = classifier_output(run.network) is None
    if isinstance(run.metrics, Accuracy) and run.val is not None:
        tiles.append(("top-1", score(run.metrics.top1), "of the first answers are right"))
        tiles.append(("top-5", score(run.metrics.top5), "have a right one among five"))
        tiles.append((run.val.split, f"{len(run.val):,}", "pictures"))
    if isinstance(run.metrics, Metrics) and run.val is not None:
        mean = run.metrics.mean
        tiles.append(("AP", score(mean.ap), "mean over the IoUs .50 to .95"))
        tiles.append(("AP50", score(mean.ap50), "at an IoU of .50"))
        remark = f"pictures, {mean.truths:,} boxes"
        tiles.append((run.val.split, f"{len(run.val):,}", remark))
    if run.train is not None:
        count = sum(len(sample.classes) for sample in run.train.samples)
        remark = f"pictures, {count:,} boxes" if boxes else "pictures"
        tiles.append((run.train.split, f"{len(run.train):,}", remark))
    total = info.totals(info.rows(run.network))
    h, w = run.network.options.size
    millions = total.macs / 1e6
    amount = f"{millions:,.0f}" if millions >= 10 else f"{millions:.2f}"
    remark = f"{amount} M multiply-adds at {w}x{h}"
    tiles.append(("parameters", f"{total.parameters:,}", remark))
    if "time" in parts:
        tiles.append(("time", duration(sum(run.seconds.values())), "all phases"))
    return tiles
