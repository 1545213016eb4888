"""Scores as text and as JSON. NaN is a score that cannot be computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ghostyolo.errors import printable


def text(value: float | str) -> str:
    """Return an integer or a text as it is, a score with three decimals, NaN as '-'."""
    if value != value:
        return "-"
    return str(value) if isinstance(value, int | str) else f"{value:.3f}"


def aligned(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return rows of a name and numbers or texts as aligned text, below a header."""
    cells = [head, *([printable(name), *map(text, numbers)] for name, *numbers in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join((name.ljust(widths[0]), *map(str.rjust, numbers, widths[1:])))
        for name, *numbers in cells
    )


def json_values(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Return scores for JSON, with None (null) for NaN."""
    return {key: None if value != value else value for key, value in scores.items()}
