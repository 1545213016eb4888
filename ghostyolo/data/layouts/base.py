"""What every layout of a data set states of itself.

A new layout is a file beside this one that defines a `Layout`, and an entry in `LAYOUTS` in the
folder's `__init__`; recognising it, its splits, the messages and the help texts follow. A new kind
of label file, one for each picture, is a `LabelFormat` and an entry in `picture_folders.FORMATS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ghostyolo.data.dataset import Dataset
from ghostyolo.data.dataset_builder import DatasetBuilder
from ghostyolo.errors import Span


class Entry(NamedTuple):
    """A value in a file that describes a data set, and its line."""

    value: Any
    span: Span


class Layout(NamedTuple):
    """One way to lay out a data set on the disk.

    name: for help texts and messages. wants: what is looked for in a folder, for the message where
    nothing is found. find: takes the path that a user gives, a file or a folder, and returns what
    describes a data set in this layout: the path itself, or files in it; nothing for a path of
    another layout. splits: the names of the splits of one of these, as it spells them. read: reads
    one split of it; without class names, those of the data set count.

    splits and read raise DataError for what cannot be used.
    """

    name: str
    wants: str
    find: Callable[[Path], list[Path]]
    splits: Callable[[Path], list[str]]
    read: Callable[[Path, str, Sequence[str] | None], Dataset]


class LabelFormat(NamedTuple):
    """Label files of which every picture has its own.

    folders: that may hold them, beside a folder of pictures. add: adds pictures to a data set;
    its last argument returns for a picture where its label file may be, the likeliest first. names:
    the classes that label files name, None where they have only numbers.
    """

    suffix: str
    folders: tuple[str, ...]
    add: Callable[[DatasetBuilder, Sequence[str], Callable[[str], list[str]]], None]
    names: Callable[[Iterable[Path]], tuple[str, ...] | None]


def with_suffix(path: Path, *suffixes: str) -> list[Path]:
    """Return a file itself, or the files in a folder, if they end in one of these suffixes."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [file for file in files if file.suffix.lower() in suffixes and file.is_file()]
