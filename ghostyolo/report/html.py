"""Templates of the pages, and how numbers look on them. All text is escaped."""

from __future__ import annotations

import math
import shlex

import jinja2

from ghostyolo.report import tables
from ghostyolo.report.pictures import jpeg_uri

LONG_TABLE = 25  # rows; a longer table has its own scroll bar


def environment() -> jinja2.Environment:
    """Return the templates with their filters."""
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("ghostyolo.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "score": score,
        "signed": signed,
        "duration": duration,
        "count": "{:,}".format,
        "command_line": shlex.join,
        "jpeg_uri": jpeg_uri,
        "picture_sizes": tables.picture_sizes,
    }
    return found


def score(value: float) -> str:
    """Return a number in [0, 1] with three decimals, or a dash for NaN."""
    return "\N{EN DASH}" if math.isnan(value) else f"{value:.3f}"


def signed(value: float) -> str:
    """Return a difference with its sign and three decimals, or a dash for NaN."""
    return "\N{EN DASH}" if math.isnan(value) else f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")


def duration(seconds: float) -> str:
    """Return a duration in seconds, minutes or hours: .5 -> '0.50 s', 75 -> '1 min 15 s'."""
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
