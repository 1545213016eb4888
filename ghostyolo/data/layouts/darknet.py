"""Darknet's data sets: a .data file, lists of pictures, and a text file of boxes for each.

Source: AlexeyAB/darknet src/option_list.c read_data_cfg, src/utils.c replace_image_to_label.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ghostyolo.data.class_names import NoNamesError, read_names
from ghostyolo.data.dataset import Dataset
from ghostyolo.data.dataset_builder import DatasetBuilder
from ghostyolo.data.layouts.base import Entry, Layout, warn_of_key, with_suffix
from ghostyolo.data.layouts.labels_txt import add_pictures
from ghostyolo.data.paths import locate, read_lines, read_list, swap_folder
from ghostyolo.data.splits import find_split
from ghostyolo.errors import DataError, Span

SPLITS = {"train": "train", "val": "valid", "test": "test"}  # name of a split -> key
KEYS = {"classes", "names", "labels", "backup", "results", "eval", "difficult", "map", "top"}
KEYS |= {"saveweights", "savelast", *SPLITS.values()}
YEARS = ("train2017", "val2017", "train2014", "val2014")


def open_darknet(path: Path, split: str, names: Sequence[str] | None) -> Dataset:
    """Read one split of a .data file; `val` is the key `valid`.

    Paths are sought beside the file that names them, then beside the .data file, in its parent
    folder, and, as Darknet does, in the working directory.

    Raises DataError if a file or key is missing, or the names do not fit `classes`.
    """
    options = read_options(path)
    key = split_key(split, options, path)
    folders = (path.parent, path.parent.parent, Path())
    names = names or _names(options, folders, Span(str(path)))
    check_count(len(names), options.get("classes"))
    builder = DatasetBuilder(names, split, str(path))
    pictures = read_list(locate(options[key].value, folders), folders)
    add_pictures(builder, pictures, lambda picture: [label_path(picture)])
    return builder.finish()


def splits(path: Path) -> list[str]:
    """Return the splits that a .data file has. Raises DataError if it cannot be read."""
    return _present(read_options(path))


def split_key(split: str, options: Mapping[str, Entry], path: Path) -> str:
    """Return the key of a split. Raises DataError if the file does not have it."""
    return SPLITS[find_split(split, _present(options), Span(str(path)))]


def _present(options: Mapping[str, Entry]) -> list[str]:
    return [ours for ours, key in SPLITS.items() if key in options]


def read_options(path: Path) -> dict[str, Entry]:
    """Read key = value lines; the first of equal keys counts, as in Darknet, with a warning.

    Raises DataError for a line of another form.
    """
    options: dict[str, Entry] = {}
    for number, line in enumerate(read_lines(path), 1):
        if not line or line[0] in "#;":
            continue
        span = Span(str(path), number)
        key, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not value:
            raise DataError(f"'{line}' is not key = value", span=span, hint="write it so")
        if key in options or key not in KEYS:
            why = "is set twice; the first counts" if key in options else "is unknown: no effect"
            warn_of_key(span, key, why)
        options.setdefault(key, Entry(value, span))
    return options


def check_count(names: int, stated: Entry | None) -> None:
    """Raise DataError if a file states a number of classes other than the number of names."""
    if stated and stated.value != str(names):
        message = f"{stated.value} classes, but there are {names} names"
        raise DataError(message, span=stated.span, hint="make the two agree")


def label_path(picture: str) -> str:
    """Return the label file of a picture as Darknet does: beside it, or in a parallel folder."""
    for year in YEARS:
        picture = swap_folder(picture, f"images/{year}", f"labels/{year}")
    picture = swap_folder(picture, "JPEGImages", "labels")
    return os.path.splitext(picture)[0] + ".txt"


def _names(options: dict[str, Entry], folders: Sequence[Path], span: Span) -> tuple[str, ...]:
    option = options.get("names") or options.get("labels")
    if option is None:
        raise NoNamesError("no key 'names'", span=span, hint="add names = FILE, or give --names")
    return read_names(locate(option.value, folders))


LAYOUT = Layout(
    name="Darknet .data",
    wants="a .data file",
    find=lambda path: with_suffix(path, ".data"),
    splits=splits,
    read=open_darknet,
)
