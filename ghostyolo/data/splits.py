"""The names of splits, and the split of a data set that has none."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ghostyolo.data import sources
from ghostyolo.errors import DataError, Span

KNOWN = ("train", "val", "test")
ALIASES = {"valid": "val", "validation": "val"}
DRAWN = ("train", "val", "all")  # the splits of a data set that has none, and is split here
HELD_BACK = 5  # one picture in five is for validation where a data set has no splits

logger = logging.getLogger(__name__)


class MissingSplit(DataError):
    """A data set does not have the split that was asked for. present: those that it has."""

    present: Sequence[str] = ()


def canonical(name: str) -> str:
    """Return train, val or test for any spelling of these, and other names unchanged."""
    lower = name.lower()
    lower = ALIASES.get(lower, lower)
    return lower if lower in KNOWN else name


def without_year(name: str) -> str:
    """Return the canonical name of a split without its year: valid2017 is val."""
    return canonical(re.sub(r"(?<=[a-z])(19|20)\d\d$", "", name, flags=re.IGNORECASE))


def is_split(name: str) -> bool:
    """Return whether a file or folder of this name is a split: train, Valid, test2017 ..."""
    return without_year(name) in KNOWN


def find_split(split: str, present: Iterable[str], span: Span) -> str:
    """Return the one of the present splits that `split` names, in any spelling or with a year.

    Raises MissingSplit if there is none, DataError if there is more than one.
    """
    present = list(present)
    if split in present:
        return split
    for normalise in (canonical, without_year):
        found = [name for name in present if normalise(name) == canonical(split)]
        if len(found) == 1:
            return found[0]
        if found:
            message = f"split '{split}' may be {' or '.join(found)}"
            raise DataError(message, span=span, hint="give one with --split")
    hint = f"use one of: {', '.join(present)} (--split)" if present else "it has no splits"
    missing = MissingSplit(f"there is no split '{split}'", span=span, hint=hint)
    missing.present = present
    raise missing


def draw(names: Iterable[str], split: str) -> list[str]:
    """Return the names that are drawn for `train`, `val` or `all` of a data set without splits.

    One in `HELD_BACK` is drawn for val, by a hash: always the same ones, whatever their order.
    """
    drawn = sorted(names, key=lambda name: hashlib.sha256(name.encode(errors="replace")).digest())
    held = len(drawn) // HELD_BACK or int(len(drawn) > 1)
    return drawn if split == "all" else drawn[:held] if split == "val" else drawn[held:]


def draw_pictures(root: Path, pictures: Iterable[str], split: str) -> list[str]:
    """Return the pictures that `draw` draws for a split by their paths below `root`, sorted."""
    paths = {Path(os.path.relpath(picture, root)).as_posix(): picture for picture in pictures}
    return sorted(paths[name] for name in draw(paths, split))


def warn_of_drawn(
    path: str | Path, split: str, count: int, whole: int, remedy: str = "make folders train and val"
) -> None:
    """Log that pictures of a data set without splits were drawn, unless `split` is all of them.

    count: pictures drawn for the split. whole: pictures of the data set. remedy: how to split it.
    """
    if split != "all":
        held = count if split == "val" else whole - count
        warn_of_val(str(path), "no splits", held, f"its {whole} pictures", whole - held, remedy)


def warn_of_val(path: str, why: str, held: int, whole: str, rest: int, remedy: str) -> None:
    """Log once, not for each split, that pictures were drawn for val."""
    sources.warn(
        logger,
        "%s: %s, so val is %d of %s, chosen by their names, and training uses the other %d; "
        "to choose yourself, %s (train --val-split none uses all)",
        path, why, held, whole, rest, remedy, once=True,
    )  # fmt: skip
