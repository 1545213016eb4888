"""The labels of a run as its checkpoint records them, so that a change of them is noticed."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ghostyolo.data import Dataset
from ghostyolo.data.columns import Columns
from ghostyolo.errors import OptionError, Span
from ghostyolo.network.model_files import LAST

MOST_LISTED = 8  # classes in a message

Record = dict[str, Any]

logger = logging.getLogger(__name__)


def record(data: Dataset) -> Record:
    """Return the classes, the number of boxes, and two digests of 64 bits for each picture.

    The first digest is of the picture's id, so that it is the same in a folder of another name; the
    second is of its size, boxes and classes.
    """
    columns = data.columns
    ids = (_digest(repr(each).encode()) for each in columns.all_ids())
    rows = list(zip(ids, map(_digest, _labels(columns)), strict=True))
    return {
        "classes": list(data.names),
        "boxes": len(columns.classes),
        "pictures": torch.tensor(rows, dtype=torch.int64).reshape(-1, 2),
    }


def check(before: Mapping[str, Record] | None, sets: Mapping[str, Dataset], path: Path) -> None:
    """Raise `OptionError` if data sets have other labels than a checkpoint records.

    before: the records by split; None, which is logged, if the checkpoint has none. path: of the
    checkpoint.
    """
    if before is None:
        message = "%s: has no record of its labels, so whether they have changed is not known"
        logger.warning(message, path)
        return
    for split, data in sets.items():
        if split in before and (found := difference(before[split], data)):
            anew = f"start anew from its weights: --weights {path.with_name(LAST)} --name NEW"
            message = f"the labels of {split} have changed ({found})"
            raise OptionError(message, span=Span(str(path)), hint=f"restore them, or {anew}")


def difference(before: Record, data: Dataset) -> str:
    """Return what of a data set differs from a record, "" if nothing does."""
    now = record(data)
    rows = now["pictures"].tolist()
    old, new = dict(before["pictures"].tolist()), dict(rows)
    changed = [place for place, (key, digest) in enumerate(rows) if old.get(key, digest) != digest]
    numbers = {
        "more": len(new.keys() - old.keys()),
        "gone": len(old.keys() - new.keys()),
        f"with other labels, such as {data.samples[changed[0]].path if changed else ''}": len(
            changed
        ),
    }
    pictures = ", ".join(f"{count:,} {what}" for what, count in numbers.items() if count)
    found = [f"pictures: {pictures}"] if pictures else []
    if now["boxes"] != before["boxes"]:
        found.append(f"boxes: {now['boxes']:,} instead of {before['boxes']:,}")
    if now["classes"] != before["classes"]:
        found.append(f"classes: {_listed(data.names)} instead of {_listed(before['classes'])}")
    return "; ".join(found)


def _labels(columns: Columns) -> Iterator[bytes]:
    """Yield the size, boxes and classes of each picture."""
    parts = (columns.boxes_xyxy_px, columns.classes, columns.ignore)
    rows = [(part.tobytes(), part.dtype.itemsize * part[:1].size) for part in parts]
    ends, sizes = columns.ends.tolist(), columns.sizes.tolist()
    for (h, w), begin, end in zip(sizes, ends, ends[1:], strict=False):
        own = [content[begin * length : end * length] for content, length in rows]
        yield b"".join((repr((h, w)).encode(), *own))


def _digest(content: bytes) -> int:
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big", signed=True)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_LISTED]) + (", ..." if len(names) > MOST_LISTED else "")
