"""What a data set holds: how many pictures and boxes, how large, and which pictures twice."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ghostyolo.data.dataset import UNREADABLE, Dataset, Sample
from ghostyolo.data.prefetch import mapped
from ghostyolo.errors import DataError, Span

# Sides of the squares between small, medium and large. Source: cocodataset.org/#detection-eval.
SMALL, MEDIUM = 32, 96
CHUNK = 1 << 20  # bytes read at once
READERS = min(8, os.cpu_count() or 1)  # threads that decode
QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)


@dataclass(frozen=True)
class Summary:
    """One split in numbers.

    boxes, shown: for each class its boxes, and the pictures that show it. ignored: boxes that are
    neither trained on nor counted, which are in no other number. areas: boxes under 32², under 96²
    pixels of the picture, and larger. sides: the `QUANTILES` of the square root of a box's share of
    its picture. crowd: least, median and most boxes of a picture. sizes: pictures by (h, w).
    """

    split: str
    names: tuple[str, ...]
    pictures: int
    empty: int
    boxes: tuple[int, ...]
    shown: tuple[int, ...]
    ignored: int
    areas: tuple[int, int, int]
    sides: tuple[float, ...]
    crowd: tuple[float, float, float]
    sizes: dict[tuple[int, int], int]
    defects: dict[str, int]


class Copy(NamedTuple):
    """A picture of a split whose file has the same bytes as another's."""

    split: str
    path: str


def looked_at(data: Dataset, step: Callable[[int], object] = lambda done: None) -> Dataset:
    """Read all pictures, note what is wrong with them, and leave out those that cannot be read.

    step hears how many are done. Raises DataError if not one can be read.
    """
    kept = []
    looks = mapped(_look, data.samples, workers=READERS, ahead=2 * READERS)
    for done, (sample, found) in enumerate(zip(data.samples, looks, strict=True), 1):
        for defect, message in found.items():
            data.add_defect(sample.path, defect, message)
        if UNREADABLE not in found:
            kept.append(sample)
        step(done)
    if not kept:
        raise data.unreadable()
    return replace(data, samples=tuple(kept))


def _look(sample: Sample) -> dict[str, str]:
    """Return what is wrong with a picture, and let go of it."""
    return sample.read()[1]


def unions(datasets: Sequence[Dataset]) -> dict[str, list[str]]:
    """Return the splits that only put others together, as VOC's trainval does, with those."""
    pictures = {data.split: {sample.path for sample in data.samples} for data in datasets}
    found = {}
    for split, own in pictures.items():
        parts = [other for other, theirs in pictures.items() if theirs < own]
        if len(parts) > 1 and set().union(*(pictures[part] for part in parts)) == own:
            found[split] = parts
    return found


def summarise(data: Dataset) -> Summary:
    """Count what a split holds."""
    count = len(data.names)
    boxes, shown = np.zeros(count, int), np.zeros(count, int)
    sides, shares, crowd = [np.zeros(0)], [np.zeros(0)], []
    for sample in data.samples:
        counted = ~sample.ignore
        box, classes = sample.boxes_xyxy_px[counted].astype(float), sample.classes[counted]
        boxes += np.bincount(classes, minlength=count)
        shown[np.unique(classes)] += 1
        sides.append(np.sqrt((box[:, 2:] - box[:, :2]).prod(1)))
        shares.append(sides[-1] / np.sqrt(sample.size[0] * sample.size[1]))
        crowd.append(len(classes))
    side, share = np.concatenate(sides), np.concatenate(shares)
    small, medium = int((side < SMALL).sum()), int((side < MEDIUM).sum())
    return Summary(
        split=data.split,
        names=data.names,
        pictures=len(data),
        empty=crowd.count(0),
        boxes=tuple(boxes.tolist()),
        shown=tuple(shown.tolist()),
        ignored=sum(int(sample.ignore.sum()) for sample in data.samples),
        areas=(small, medium - small, len(side) - medium),
        sides=tuple(np.quantile(share, QUANTILES).tolist()) if len(share) else (),
        crowd=(min(crowd, default=0), float(np.median(crowd or [0])), max(crowd, default=0)),
        sizes=dict(Counter(sample.size for sample in data.samples).most_common()),
        defects=dict(data.defects),
    )


def copies(datasets: Iterable[Dataset]) -> list[list[Copy]]:
    """Return the groups of pictures whose files have the same bytes, in the order of the splits.

    A file that two splits list is a group too. Only files of equal length are read.
    Raises DataError for one that cannot be.
    """
    by_length: dict[int, list[Copy]] = defaultdict(list)
    for data in datasets:
        for sample in data.samples:
            by_length[os.path.getsize(sample.path)].append(Copy(data.split, sample.path))
    by_content: dict[tuple[int, bytes], list[Copy]] = defaultdict(list)
    for length, group in by_length.items():
        digests: dict[str, bytes] = {}
        for copy in group if len(group) > 1 else ():
            digest = digests.get(copy.path) or _digest(copy.path)
            digests[copy.path] = digest
            by_content[length, digest].append(copy)
    return [group for group in by_content.values() if len(group) > 1]


def warnings(summaries: Sequence[Summary], groups: Iterable[Sequence[Copy]]) -> list[str]:
    """Return what a person should look into: leaks between splits, copies, classes never seen."""
    lines = []
    for (one, other), found in _pairs(groups).items():
        a, b = found[0]
        example = a.path if a.path == b.path else f"{a.path} and {b.path}"
        where = f"in {one} more than once" if one == other else f"in {one} and in {other}"
        why = "" if one == other else "; results on either say less than they seem to"
        s = "s" * (len(found) != 1)
        lines.append(f"{len(found)} picture{s} {where}, byte for byte, such as {example}{why}")
    for summary in summaries:
        missing = [name for name, n in zip(summary.names, summary.boxes, strict=True) if not n]
        if missing:
            listed = ", ".join(missing[:8]) + (", ..." if len(missing) > 8 else "")
            lines.append(f"{summary.split} has no box of {listed}")
    return lines


def _pairs(groups: Iterable[Sequence[Copy]]) -> dict[tuple[str, str], list[tuple[Copy, Copy]]]:
    """Return for each two splits, or one and itself, the pictures that both have."""
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


def _digest(path: str) -> bytes:
    state = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while chunk := file.read(CHUNK):
                state.update(chunk)
    except OSError as error:
        hint = "make it readable or take it out of the data set"
        message = f"cannot read it: {error.strerror}"
        raise DataError(message, span=Span(path), hint=hint) from None
    return state.digest()
