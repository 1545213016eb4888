"""YOLO data sets: a YAML file that names the pictures of each split, and a text file for each.

Source: docs.ultralytics.com/datasets/detect (path, train, val, test, names, nc; images -> labels)
and /datasets/pose (kpt_shape).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ghostyolo.data import sources
from ghostyolo.data.class_names import NoNamesError, encodable
from ghostyolo.data.dataset import Dataset
from ghostyolo.data.dataset_builder import DatasetBuilder
from ghostyolo.data.layouts.base import Entry, Layout, warn_of_key, with_suffix
from ghostyolo.data.layouts.darknet import check_count
from ghostyolo.data.layouts.labels_txt import add_pictures
from ghostyolo.data.layouts.long_rows import KeypointShape
from ghostyolo.data.paths import locate, pictures_below, read_list, read_text, swap_folder
from ghostyolo.data.splits import find_split
from ghostyolo.errors import DataError, Span
from ghostyolo.syntax.suggestions import nearest

SPLITS = ("train", "val", "valid", "validation", "test")
KEYS = ("path", *SPLITS, "names", "nc", "kpt_shape")
# What files by Ultralytics, Roboflow and YOLOv6 also hold; it says nothing about boxes.
# Source: ultralytics/cfg/datasets, the exports of universe.roboflow.com, meituan/YOLOv6 data.
OTHER_KEYS = {"download", "roboflow", "channels", "flip_idx", "kpt_names", "is_coco"}
OTHER_KEYS |= {"author", "date", "description", "license", "url", "version"}
MOST_BYTES, MOST_POINTS = 16 << 20, 1000


def open_yolo(path: Path, split: str, names: Sequence[str] | None) -> Dataset:
    """Read one split of a data.yaml: a folder, a list of pictures, or several of those.

    Paths are relative to the key `path`, which is relative to the YAML file or to the working
    directory; if they do not exist there, they are relative to the YAML file.

    Raises DataError if a file or key is missing, or the names do not fit `nc`.
    """
    entries = read_entries(path)
    key = find_split(split, _present(entries), Span(str(path)))
    names = names or _names(entries, path)
    if "nc" in entries:
        check_count(len(names), Entry(_text(*entries["nc"]), entries["nc"].span))
    root = _text(*entries["path"]) if "path" in entries else "."
    folders = [path.parent / root, Path(root), path.parent]
    builder = DatasetBuilder(names, split, str(path))
    add_pictures(builder, _pictures(entries[key], folders), label_paths, _keypoints(entries))
    return builder.finish()


def splits(path: Path) -> list[str]:
    """Return the splits that a YAML file has. Raises DataError if it cannot be read."""
    return _present(read_entries(path))


def _present(entries: dict[str, Entry]) -> list[str]:
    return [key for key in SPLITS if key in entries]


def read_entries(path: Path) -> dict[str, Entry]:
    """Read the keys that have a value. Raises DataError with the line if it has no such keys."""
    span = Span(str(path))
    try:
        loader = yaml.SafeLoader(read_text(path, MOST_BYTES))
        node = loader.get_single_node()
        keys = [key for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
        content = loader.construct_document(node) if node else None
    except yaml.MarkedYAMLError as error:
        if error.problem_mark:
            span = Span(str(path), error.problem_mark.line + 1)
        raise DataError(f"not YAML: {error.problem}", span=span, hint="repair it") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"not YAML: {reason}", span=span, hint="repair it") from error
    if not isinstance(content, dict) or not isinstance(node, yaml.MappingNode):
        raise DataError("not key: value", span=span, hint="it needs the keys train, val and names")
    _warn_of_keys([(key.value, Span(str(path), key.start_mark.line + 1)) for key in keys])
    lines = {key.value: key.start_mark.line + 1 for key, _ in node.value}
    return {
        key: Entry(value, Span(str(path), lines.get(key, 0)))
        for key, value in content.items()
        if isinstance(key, str) and value is not None
    }


def _warn_of_keys(keys: Sequence[tuple[str, Span]]) -> None:
    """Log each key that has no effect."""
    last = dict(keys)
    for key, span in keys:
        if span != last[key]:
            warn_of_key(span, key, "is set again below, which counts")
        elif key not in KEYS and key not in OTHER_KEYS:
            near = nearest(key, KEYS)
            hint = f"; did you mean {near}?" if near else ""
            if key.lower().startswith(("label", "annotation")):
                hint = "; labels are read from a folder labels beside images, or beside pictures"
            warn_of_key(span, key, f"is unknown: no effect{hint}")


def label_paths(picture: str) -> list[str]:
    """Return possible paths of a picture's label file: in the folder `labels`, then beside it."""
    paths = [swap_folder(picture, old, "labels") for old in ("images", "JPEGImages")]
    stems = [os.path.splitext(path)[0] for path in (*paths, picture)]
    stems.sort(key=os.path.splitext(picture)[0].__eq__)  # stable: the unchanged path goes last
    return [f"{stem}.txt" for stem in dict.fromkeys(stems)]


def _pictures(entry: Entry, folders: Sequence[Path]) -> list[str]:
    """Return all pictures of a split."""
    values = entry.value if isinstance(entry.value, list) else [entry.value]
    pictures: list[str] = []
    for value in values:
        found = locate(_text(value, entry.span), folders)
        if sources.is_folder(found):
            pictures += pictures_below(Path(found))
        elif sources.is_file(found):
            pictures += read_list(found, folders)
        else:
            hint = f"it was looked for at {found}"
            raise DataError(f"'{value}' is not there", span=entry.span, hint=hint)
    return pictures


def _names(entries: dict[str, Entry], path: Path) -> tuple[str, ...]:
    """Return the class names from a list, or from a mapping with the keys 0, 1, 2, ..."""
    if "names" not in entries:
        raise NoNamesError("no key 'names'", span=Span(str(path)), hint="add it, or give --names")
    value, span = entries["names"]
    if isinstance(value, dict):
        if sorted(map(str, value)) != sorted(map(str, range(len(value)))):
            raise DataError("names do not count 0, 1, 2 ...", span=span, hint="number all classes")
        value = [value.get(i, value.get(str(i))) for i in range(len(value))]
    if not isinstance(value, list) or not value:
        raise DataError("names is no list", span=span, hint="write names: [first, second]")
    for i, name in enumerate(value):
        if not isinstance(name, str | int) or isinstance(name, bool):
            raise DataError(f"name {i} is no text", span=span, hint="put it in quotes")
    return tuple(encodable(_text(name, span)) for name in value)


def _keypoints(entries: dict[str, Entry]) -> KeypointShape | None:
    """Return the shape of the keypoints in rows, None if they have none."""
    if "kpt_shape" not in entries:
        return None
    value, span = entries["kpt_shape"]
    whole = isinstance(value, list) and [type(each) for each in value] == [int, int]
    if not whole or not 1 <= value[0] <= MOST_POINTS or value[1] not in (2, 3):
        message = "kpt_shape is not [number of points, 2 or 3]"
        raise DataError(message, span=span, hint="write kpt_shape: [17, 3]")
    return KeypointShape(*value)


def _text(value: Any, span: Span) -> str:
    """Return a word or number as text. Raises DataError for a list, a mapping or a huge number."""
    try:
        if isinstance(value, str | int | float):
            return str(value)
    except ValueError:  # of thousands of digits
        pass
    raise DataError("neither text nor a number stands here", span=span, hint="put it in quotes")


def find(path: Path) -> list[Path]:
    """Return the YAML file at a path; in a folder only data.yaml if it is there, else all."""
    files = with_suffix(path, ".yaml", ".yml")
    return [file for file in files if file.name == "data.yaml"] or files


LAYOUT = Layout("YOLO .yaml", "a .yaml file", find, splits, open_yolo)
