"""The results of a run as files: tables, plots, pictures, and an HTML page of everything."""

from __future__ import annotations

from ghostyolo.report.grids import batch_files, batch_grid
from ghostyolo.report.page import RunReport, render, write
from ghostyolo.report.results import draw_curve, write_rows

__all__ = [
    "RunReport",
    "batch_files",
    "batch_grid",
    "draw_curve",
    "render",
    "write",
    "write_rows",
]
