"""What a run leaves for people: the table of results, its curve, and one page that shows it all."""

from __future__ import annotations

from ghostyolo.report.page import render, write
from ghostyolo.report.results import draw_curve, write_rows
from ghostyolo.report.run_report import RunReport, versions

__all__ = ["RunReport", "draw_curve", "render", "versions", "write", "write_rows"]
