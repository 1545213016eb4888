"""The HTML page of a run: a single file that loads nothing else.

`_parts` computes the values of each section from those of the run; `templates/page.html` shows them
and escapes all text. A section without values is left out.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2

from ghostyolo.data import Dataset
from ghostyolo.evaluation.validation import Validation
from ghostyolo.files import replace
from ghostyolo.network import Network, dumps, info
from ghostyolo.network.outputs import classifier_output
from ghostyolo.report import classification, detection, plots, tables
from ghostyolo.report.pictures import jpeg_uri

TITLES = {
    "results": "Training curves",
    "scores": "Average precision",
    "sizes": "By object size",
    "curves": "Precision and recall",
    "confusion": "Confusion matrix",
    "grids": "Truth and predictions",
    "pictures": "Worst predictions",
    "batches": "Training batches",
    "anchors": "Anchors and boxes",
    "data": "Data set",
    "time": "Time",
    "origin": "Command and versions",
    "cfg": "The cfg",
}
LONG_TABLE = 25  # rows; a longer table has its own scroll bar


@dataclass(frozen=True, eq=False)
class RunReport:
    """The values of the page of a training run or of a validation.

    title: the name of the run. network: as trained, with its `[net]`. command: the words of the
    command line. rows: of results.csv. seconds: by phase, in order. train: the training set.
    validation: of the file `weights`. batches: pictures of training batches, by iteration, see
    `grids`. versions: see `environment.versions`. A section is left out if its values are not
    given.
    """

    title: str
    network: Network
    command: Sequence[str] = ()
    rows: Sequence[Mapping[str, float]] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    train: Dataset | None = None
    validation: Validation | None = None
    weights: str = ""
    batches: Mapping[int, Path] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    date: str = ""

    @property
    def datasets(self) -> list[Dataset]:
        """Return the training set and the validation set, each if it was given."""
        found = [self.train, self.validation.dataset if self.validation else None]
        return [dataset for dataset in found if dataset is not None]

    @cached_property
    def scored(self) -> dict[str, Any]:
        """Return the values of the sections about the validation, by name."""
        if self.validation is None:
            return {"scores": {"table": None}}
        boxes = classifier_output(self.network) is None
        return (detection if boxes else classification).sections(self.validation)


def write(path: str | Path, run: RunReport) -> None:
    """Write the page of a run. Raises `OptionError` if the file cannot be written."""
    replace(path, [render(run).encode()])


def render(run: RunReport) -> str:
    """Return the page of a run as HTML."""
    boxes = classifier_output(run.network) is None
    titles = TITLES if boxes else {**TITLES, "scores": "Accuracy"}
    parts = {name: value for name, value in _parts(run).items() if value}
    return (
        _environment()
        .get_template("page.html")
        .render(
            run=run,
            boxes=boxes,
            parts=parts,
            totals=info.totals(info.rows(run.network)),
            titles={name: title for name, title in titles.items() if name in parts},
            long_table=LONG_TABLE,
        )
    )


def score(value: float) -> str:
    """Return a number in [0, 1] with three decimals, or a dash for NaN."""
    return "\N{EN DASH}" if math.isnan(value) else f"{value:.3f}"


def duration(seconds: float) -> str:
    """Return a duration in seconds, minutes or hours: .5 -> '0.50 s', 75 -> '1 min 15 s'."""
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
    environment.filters |= {
        "score": score,
        "duration": duration,
        "count": "{:,}".format,
        "command_line": shlex.join,
        "jpeg_uri": jpeg_uri,
        "picture_sizes": tables.picture_sizes,
    }
    return environment


def _parts(run: RunReport) -> dict[str, Any]:
    """Return the values of each section, by its name in `TITLES`."""
    return {
        **run.scored,
        "results": plots.results(run.rows),
        "batches": {number: path.read_bytes() for number, path in run.batches.items()},
        "anchors": _anchors(run),
        "data": tables.class_counts(run.datasets),
        "time": run.seconds,
        "origin": run.command or run.versions,
        "cfg": dumps(run.network),
    }


def _anchors(run: RunReport) -> dict[str, Any] | None:
    """Return the plot of anchors and boxes, and their IoU; None without anchors or boxes."""
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
