"""Find pictures whose files have the same bytes, within a split or across splits."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ghostyolo import files
from ghostyolo.data.dataset import Dataset
from ghostyolo.data.paths import cannot_read
from ghostyolo.errors import counted


class Copy(NamedTuple):
    """A picture of a split whose file has the same bytes as another's."""

    split: str
    path: str


def copies(datasets: Iterable[Dataset]) -> list[list[Copy]]:
    """Return the groups of pictures whose files have the same bytes, in the order of the splits.

    One file that two splits list is a group too. Only files of equal length are read.
    Raises DataError for a file that cannot be read.
    """
    by_length: dict[int, list[Copy]] = defaultdict(list)
    for data in datasets:
        for path in data.columns.all_paths():
            by_length[length_of(path)].append(Copy(data.split, path))
    by_content: dict[tuple[int, str], list[Copy]] = defaultdict(list)
    for length, group in by_length.items():
        digests: dict[str, str] = {}
        for copy in group if len(group) > 1 else ():
            digest = digests.get(copy.path) or _digest(copy.path)
            digests[copy.path] = digest
            by_content[length, digest].append(copy)
    return [group for group in by_content.values() if len(group) > 1]


def copy_warnings(groups: Iterable[Sequence[Copy]]) -> list[str]:
    """Return a warning for each pair of splits, or split and itself, that share pictures."""
    lines = []
    for (one, other), found in _pairs(groups).items():
        a, b = found[0]
        example = a.path if a.path == b.path else f"{a.path} and {b.path}"
        where = f"in {one} more than once" if one == other else f"in {one} and in {other}"
        why = "" if one == other else "; scores on either split are too optimistic"
        pictures = counted(len(found), "picture")
        lines.append(f"{pictures} {where}, byte for byte, such as {example}{why}")
    return lines


def _pairs(groups: Iterable[Sequence[Copy]]) -> dict[tuple[str, str], list[tuple[Copy, Copy]]]:
    """Return the shared pictures of each pair of splits, or of a split and itself."""
    pairs: dict[tuple[str, str], list[tuple[Copy, Copy]]] = defaultdict(list)
    for group in groups:
        first: dict[str, Copy] = {}
        for copy in group:
            if copy.split in first:
                pairs[copy.split, copy.split].append((first[copy.split], copy))
                continue
            for other in first.values():
                pairs[other.split, copy.split].append((other, copy))
            first[copy.split] = copy
    return pairs


def length_of(path: str) -> int:
    """Return the number of bytes of a picture's file. Raises DataError if it is gone."""
    try:
        return os.path.getsize(path)
    except OSError as error:
        raise cannot_read(path, error, "the picture") from None


def _digest(path: str) -> str:
    try:
        return files.digest(path)
    except OSError as error:
        raise cannot_read(path, error, "the picture") from None
