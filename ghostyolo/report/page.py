"""The HTML page of a run: a single file that loads nothing else.

`_parts` computes the values of each section from those of the run; `templates/page.html` shows
them. A section without values is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ghostyolo.data import Dataset
from ghostyolo.evaluation.validation import Validation
from ghostyolo.files import replace
from ghostyolo.network import Network, dumps, info
from ghostyolo.network.outputs import classifier_output
from ghostyolo.report import classification, detection, plots, tables
from ghostyolo.report.html import LONG_TABLE, environment

TITLES = {
    "results": "Training curves",
    "scores": "Average precision",
    "sizes": "By object size",
    "box_sizes": "Size of the boxes",
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
        environment()
        .get_template("page.html")
        .render(
            title=run.title,
            run=run,
            boxes=boxes,
            parts=parts,
            totals=info.totals(info.rows(run.network)),
            titles={name: title for name, title in titles.items() if name in parts},
            long_table=LONG_TABLE,
        )
    )


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
