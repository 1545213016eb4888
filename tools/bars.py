"""Rows of figures with bars, as the benchmarks print them. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


def row(
    name: str, value: float, unit: str, bar: float = 0.0, *, at_least: bool = False
) -> dict[str, Any]:
    """Return a line of the table; a bar of 0 is none."""
    good = not bar or (value >= bar if at_least else value <= bar)
    return {"name": name, "value": value, "unit": unit, "bar": bar, "good": good}


def show(rows: Sequence[dict[str, Any]], *, as_json: bool) -> int:
    """Print the table; return 1 when a figure is on the wrong side of its bar."""
    if as_json:
        print(json.dumps(rows))
    else:
        for each in rows:
            bar = f"(bar {each['bar']})" if each["bar"] else ""
            print(f"{each['name']:<58} {each['value']:8.3f} {each['unit']} {bar}")
    return int(not all(each["good"] for each in rows))
