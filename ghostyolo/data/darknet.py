"""Darknet's data sets: a .data file, lists of pictures, and a text file of boxes for each.

Source: AlexeyAB/darknet src/option_list.c read_data_cfg, src/utils.c replace_image_to_label,
src/data.c read_boxes.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ghostyolo.boxes import cxcywh_to_xyxy
from ghostyolo.data.header import Size
from ghostyolo.data.sample import (
    MALFORMED,
    Builder,
    Dataset,
    Label,
    image_ids,
    locate,
    read_lines,
    read_names,
)
from ghostyolo.data.splits import spelled
from ghostyolo.errors import DataError, Span

SPLITS = {"train": "train", "val": "valid", "test": "test"}  # ours -> the key
KEYS = {"classes", "names", "labels", "backup", "results", "eval", "difficult", "map", "top"}
KEYS |= {"saveweights", "savelast", *SPLITS.values()}
YEARS = ("train2017", "val2017", "train2014", "val2014")

logger = logging.getLogger(__name__)


class Option(NamedTuple):
    """The value of a key in a .data file, and where it stands."""

    value: str
    span: Span


def open_darknet(path: Path, split: str, names: Sequence[str] | None) -> Dataset:
    """Read one split of a .data file; `val` is the key `valid`.

    Paths are sought beside the file that names them, then beside the .data file, in the folder
    above it, and (as Darknet does) in the working directory.

    Raises DataError if a file or key is missing, or the names do not fit `classes`.
    """
    options = read_options(path)
    key = split_key(split, options, path)
    folders = (path.parent, path.parent.parent, Path())
    names = names or _names(options, folders, Span(str(path)))
    check_count(len(names), options.get("classes"))
    builder = Builder(names, split, str(path))
    pictures = read_list(locate(options[key].value, folders), folders)
    add_pictures(builder, pictures, lambda picture: [label_path(picture)])
    return builder.finish()


def splits(path: Path) -> list[str]:
    """Return the splits that a file names. Raises DataError if it cannot be read."""
    return _present(read_options(path))


def split_key(split: str, options: Mapping[str, Option], path: Path) -> str:
    """Return the key of a split. Raises DataError if the file does not have it."""
    return SPLITS[spelled(split, _present(options), Span(str(path)))]


def _present(options: Mapping[str, Option]) -> list[str]:
    return [ours for ours, key in SPLITS.items() if key in options]


def read_options(path: Path) -> dict[str, Option]:
    """Read key = value lines; of equal keys the first counts, as in Darknet, with a warning."""
    options: dict[str, Option] = {}
    for number, line in enumerate(read_lines(path), 1):
        if not line or line[0] in "#;":
            continue
        span = Span(str(path), number)
        key, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not value:
            raise DataError(f"'{line}' is not key = value", span=span, hint="write it so")
        if key in options or key not in KEYS:
            why = (
                "is set twice; the first counts"
                if key in options
                else "is unknown and has no effect"
            )
            logger.warning("%s: key '%s' %s", span, key, why)
        options.setdefault(key, Option(value, span))
    return options


def check_count(names: int, stated: Option | None) -> None:
    """Raise DataError if a file states another number of classes than there are names."""
    if stated and stated.value != str(names):
        message = f"{stated.value} classes, but there are {names} names"
        raise DataError(message, span=stated.span, hint="make the two agree")


def label_path(picture: str) -> str:
    """Return where Darknet looks for the boxes of a picture: beside it, but for these folders."""
    for year in YEARS:
        picture = swap_folder(picture, f"images/{year}", f"labels/{year}")
    picture = swap_folder(picture, "JPEGImages", "labels")
    return os.path.splitext(picture)[0] + ".txt"


def swap_folder(path: str, old: str, new: str) -> str:
    """Replace the last folder of this name in a path; the path itself if there is none."""
    head, found, tail = f"/{Path(path).as_posix()}".rpartition(f"/{old}/")
    return f"{head}/{new}/{tail}"[1:] if found else path


def read_list(path: str, folders: Iterable[Path]) -> list[str]:
    """Return the pictures that a text file lists, one a line, sought beside it first."""
    folders = (Path(path).parent, *folders)
    return [locate(line, folders) for line in read_lines(path) if line]


def add_pictures(
    builder: Builder, pictures: Sequence[str], candidates: Callable[[str], Sequence[str]]
) -> None:
    """Add pictures whose boxes lie in text files; one without such a file shows no object.

    candidates: picture -> where its file may be. Raises DataError if not one picture has a file.
    """
    missing = "missing label file"
    for picture, image_id in zip(pictures, image_ids(pictures), strict=True):
        size = builder.size(picture)
        if size is None:
            continue
        files = candidates(picture)
        file = next(filter(os.path.isfile, files), None)
        if file is None:
            builder.count(missing, Span(files[0]))
        builder.add(picture, image_id, size, read_labels(file, size, builder) if file else ())
    if builder.samples and builder.defects[missing] == len(builder.samples):
        picture = builder.samples[0].path
        hint = f"put it at {candidates(picture)[0]}"
        raise DataError("no picture has a label file", span=Span(picture), hint=hint)


def read_labels(path: str, size: Size, builder: Builder) -> Iterable[Label]:
    """Yield the boxes of a text file: class, then cx, cy, w, h over the picture's size.

    A longer line is a polygon (class x y x y ...), of which the enclosing box is taken.
    """
    h, w = size
    try:
        lines = read_lines(path)
    except DataError as error:
        builder.unparsed(error)
        return
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        span = Span(path, number)
        cls, values = _numbers(line)
        if cls is None:
            builder.count(MALFORMED, span)
            continue
        if not 0 <= cls < len(builder.names):
            builder.unknown(str(cls), span)
            continue
        if len(values) == 4:
            with np.errstate(invalid="ignore"):  # infinite sides, which are counted
                x1, y1, x2, y2 = cxcywh_to_xyxy(values)
        else:
            builder.count("polygon taken as its box", span)
            (x1, x2), (y1, y2) = ((side.min(), side.max()) for side in (values[::2], values[1::2]))
        yield Label((x1 * w, y1 * h, x2 * w, y2 * h), cls, False, span)


def _numbers(line: str) -> tuple[int | None, np.ndarray]:
    """Split a label line into its class and its coordinates; no class if it is malformed."""
    try:
        cls, *values = map(float, line.split())
    except ValueError:
        return None, np.zeros(0)
    polygon = len(values) >= 6 and len(values) % 2 == 0
    whole = cls.is_integer() and (len(values) == 4 or polygon)
    return int(cls) if whole else None, np.array(values)


def _names(options: dict[str, Option], folders: Sequence[Path], span: Span) -> tuple[str, ...]:
    option = options.get("names") or options.get("labels")
    if option is None:
        raise DataError("no key 'names'", span=span, hint="add names = FILE, or give --names")
    return read_names(locate(option.value, folders))
