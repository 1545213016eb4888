"""The interface of layouts of data sets, and of formats of label files.

A new layout is a file beside this one that defines a `Layout`, and an entry in `LAYOUTS` in the
folder's `__init__`; data sets are then recognised, and messages and help texts name the layout. A
new format with a label file for each picture is a `LabelFormat` and an entry in
`picture_folders.FORMATS`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ghostyolo.data import sources
from ghostyolo.data.dataset import Dataset
from ghostyolo.data.dataset_builder import DatasetBuilder
from ghostyolo.errors import Span

logger = logging.getLogger(__name__)


class Entry(NamedTuple):
    """A value in a file that describes a data set, with its line."""

    value: Any
    span: Span


class Layout(NamedTuple):
    """One layout of a data set in folders and files.

    name: for help texts and messages. wants: the files that mark the layout, for the help. find:
    takes the path that a user gives, a file or a folder, and returns the
    descriptions of data sets in this layout, the path itself or files in it; [] for another layout.
    splits: takes a description and returns the names of the splits as it spells them, `DRAWN`
    itself for a data set without splits. read: takes a description, a split and class names (None
    for those of the data set), and reads the split.

    splits and read raise DataError for a description that cannot be used.
    """

    name: str
    wants: str
    find: Callable[[Path], list[Path]]
    splits: Callable[[Path], Sequence[str]]
    read: Callable[[Path, str, Sequence[str] | None], Dataset]


class LabelFormat(NamedTuple):
    """A format in which every picture has a label file of its own.

    folders: names of folders of label files, beside a folder of pictures. add: adds pictures to a
    data set; its last argument returns the possible paths of a picture's label file, the likeliest
    first. names: returns the class names in label files, None if they have only numbers.
    """

    suffix: str
    folders: tuple[str, ...]
    add: Callable[[DatasetBuilder, Sequence[str], Callable[[str], list[str]]], None]
    names: Callable[[Iterable[Path]], tuple[str, ...] | None]


def warn_of_key(span: Span, key: str, why: str) -> None:
    """Log once, not for each split, that a key of a description has no effect."""
    sources.warn(logger, "%s: key '%s' %s", span, key, why, once=True)


def with_suffix(path: Path, *suffixes: str) -> list[Path]:
    """Return the file at a path, or the files in a folder, that have one of these suffixes."""
    files = sources.entries(path) if sources.is_folder(path) else [path]
    wanted = (file for file in files if file.suffix.lower() in suffixes)
    return [file for file in wanted if sources.is_file(file)]
