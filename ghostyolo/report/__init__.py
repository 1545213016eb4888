"""What a run leaves for people: the table of results, its curve, and one page that shows it all."""

from __future__ import annotations

from ghostyolo.report.page import render, write
from ghostyolo.report.results import curve, write_rows
from ghostyolo.report.run import RunReport, versions

__all__ = ["RunReport", "curve", "render", "versions", "write", "write_rows"]
