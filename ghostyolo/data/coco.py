"""COCO folders: annotations/instances_SPLIT.json and the pictures wherever people put them.

Source: cocodataset.org/#format-data (bbox is x, y, width, height in pixels, from 0).
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ghostyolo.data.sample import (
    MALFORMED,
    Builder,
    Dataset,
    Label,
    class_index,
    locate,
    missing_split,
)
from ghostyolo.errors import DataError, Span

Record = dict[str, Any]

PREFIX = "instances_"
LISTS: dict[str, dict[str, Any]] = {  # what must be there, and as what
    "images": {"id": (int, str), "file_name": str},
    "annotations": {"image_id": (int, str), "category_id": int},
    "categories": {"id": int, "name": str},
}


def is_coco(folder: Path) -> bool:
    """Say whether a folder is laid out as COCO is."""
    return bool(splits(folder))


def splits(folder: Path) -> list[str]:
    """Return the names of the splits that a folder has annotations of."""
    files = (folder / "annotations").glob(f"{PREFIX}*.json")
    return sorted(path.stem.removeprefix(PREFIX) for path in files)


def open_coco(folder: Path, split: str, names: Sequence[str] | None) -> Dataset:
    """Read one split of a COCO folder. Classes are the categories in the order of their ids.

    Raises DataError if the file is not COCO's.
    """
    spelled = _spelled(folder, split)
    path = folder / "annotations" / f"{PREFIX}{spelled}.json"
    images, annotations, categories = _read(path)
    found = {record["id"]: record["name"] for record in categories}
    found = {key: found[key] for key in sorted(found)}
    builder = Builder(names or tuple(found.values()), split, str(folder))
    index = class_index(names) if names else {}
    classes = {key: index.get(found[key], -1) if names else i for i, key in enumerate(found)}
    labels: dict[int | str, list[Label]] = defaultdict(list)
    span = Span(str(path))
    for record in _whole("annotations", annotations, MALFORMED, builder, span):
        cls = classes.get(record["category_id"], -1)
        if cls < 0:
            name = found.get(record["category_id"], record["category_id"])
            builder.unknown(f"'{name}'", span, f" in annotation {record.get('id')}")
            continue
        labels[record["image_id"]] += _label(record, cls, builder, span)
    whole = _whole("images", images, "malformed entry of a picture", builder, span)
    _add_images(builder, whole, labels, _picture_folders(folder, split, spelled), span)
    return builder.finish()


def _spelled(folder: Path, split: str) -> str:
    """Return the split as the files spell it: itself, or with the latest year (val -> val2017)."""
    present = splits(folder)
    years = [name for name in present if re.fullmatch(re.escape(split) + r"\d{4}", name)]
    if split in present:
        return split
    if not years:
        raise missing_split(split, present, Span(str(folder / "annotations")))
    return max(years)


def _read(path: Path) -> list[list[Record]]:
    """Return the images, annotations and categories of a file; these last are whole."""
    span = Span(str(path))
    try:
        content = json.loads(path.read_bytes())
    except json.JSONDecodeError as error:
        place = Span(str(path), error.lineno)
        raise DataError(f"not JSON: {error.msg}", span=place, hint="repair it") from error
    except (UnicodeDecodeError, RecursionError, OSError) as error:
        raise DataError(f"not JSON: {error}", span=span, hint="repair it") from error
    if not isinstance(content, dict) or not all(isinstance(content.get(n), list) for n in LISTS):
        hint = f"it needs the lists {', '.join(LISTS)}"
        raise DataError("not COCO's", span=span, hint=hint)
    for i, record in enumerate(content["categories"]):
        if not _is_whole("categories", record):
            message = f"categories[{i}] lacks one of: {', '.join(LISTS['categories'])}"
            raise DataError(message, span=span, hint="repair it")
    return [content[name] for name in LISTS]


def _is_whole(name: str, record: Any) -> bool:
    """Say whether a record of one of the lists has what it must."""
    keys = LISTS[name].items()
    return isinstance(record, dict) and all(isinstance(record.get(key), kind) for key, kind in keys)


def _whole(
    name: str, records: list[Any], defect: str, builder: Builder, span: Span
) -> Iterator[Record]:
    """Yield the records that have what they must, and count the others."""
    for record in records:
        if _is_whole(name, record):
            yield record
        else:
            builder.count(defect, span)


def _label(record: Record, cls: int, builder: Builder, span: Span) -> list[Label]:
    """Return the box of an annotation, or count that it has none."""
    try:
        x, y, w, h = map(float, record["bbox"])
    except (KeyError, TypeError, ValueError, OverflowError):
        builder.count(MALFORMED, span)
        return []
    return [Label((x, y, x + w, y + h), cls, bool(record.get("iscrowd")), span)]


def _add_images(
    builder: Builder,
    images: Iterable[Record],
    labels: dict[int | str, list[Label]],
    folders: list[Path],
    span: Span,
) -> None:
    ids: set[int | str] = set()
    for image in images:
        picture = locate(image["file_name"], folders)
        if image["id"] in ids:  # whose the boxes are is unknown; the first has them
            builder.leave_out(picture, "picture with the id of another", span)
            continue
        ids.add(image["id"])
        own = labels.pop(image["id"], [])
        h, w = image.get("height"), image.get("width")
        stated = (h, w) if isinstance(h, int) and isinstance(w, int) else None
        size = builder.size(picture, stated)
        if size is not None:
            builder.add(picture, image["id"], size, own)
    for orphans in labels.values():
        for label in orphans:
            builder.count("box of no listed picture", label.span)


def _picture_folders(folder: Path, split: str, spelled: str) -> list[Path]:
    """Return where the pictures of a split may lie, the likeliest first."""
    named = [place / name for name in (spelled, split) for place in (folder, folder / "images")]
    return [*dict.fromkeys(named), folder / "images", folder / "JPEGImages", folder]
