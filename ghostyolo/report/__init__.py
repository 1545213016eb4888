"""The results of a run as files: results.csv, curve.png, and an HTML page of everything."""

from __future__ import annotations

from ghostyolo.report.page import RunReport, render, write
from ghostyolo.report.results import draw_curve, write_rows

__all__ = ["RunReport", "draw_curve", "render", "write", "write_rows"]
