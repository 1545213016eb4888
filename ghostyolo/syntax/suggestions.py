"""Suggestions for misspelt words."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, choices: Iterable[str], distance: int | None = None) -> str | None:
    """Return the choice with the smallest edit distance to a word, None if it exceeds `distance`.

    distance: the largest edit distance, by default a third of the length of the word.
    """
    limit = max(1, len(word) // 3) if distance is None else distance
    ranked = sorted((edits(word, choice), choice) for choice in choices)
    return ranked[0][1] if ranked and ranked[0][0] <= limit else None


def edits(a: str, b: str) -> int:
    """Return the edit distance: insertions, deletions, substitutions and swaps of neighbours.

    If the lengths differ by more than 3, return the longer length without counting.
    Source: optimal string alignment distance, Damerau 1964.
    """
    if abs(len(a) - len(b)) > 3:
        return max(len(a), len(b))
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        above, before_above = row, before
        row = [i]
        for j, y in enumerate(b, start=1):
            cost = min(above[j] + 1, row[-1] + 1, above[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, before_above[j - 2] + 1)
            row.append(cost)
        before = above
    return row[-1]
