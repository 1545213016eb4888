"""The layouts of data sets, a file for each, and the choice of the one that a data set has."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ghostyolo.data import index, sources
from ghostyolo.data.class_names import given_names
from ghostyolo.data.dataset import Dataset
from ghostyolo.data.hold_out import read_split
from ghostyolo.data.layouts import coco, darknet, near_misses, picture_folders, voc, yolo_yaml
from ghostyolo.data.layouts.base import Layout
from ghostyolo.data.paths import subfolders
from ghostyolo.data.splits import DRAWN, KNOWN, without_year
from ghostyolo.errors import DataError, Span

# Of several layouts that describe a folder or file, the first one counts. COCO takes every .json
# file that is given, so another layout of .json files goes before it.
LAYOUTS = (voc.LAYOUT, coco.LAYOUT, yolo_yaml.LAYOUT, darknet.LAYOUT)
UNDESCRIBED = picture_folders.LAYOUT  # if no file describes the data set
ASK = "ghostyolo data --help tells what it looks for"
DATA_HELP = "folder or file: " + ", ".join(layout.name for layout in (*LAYOUTS, UNDESCRIBED))

logger = logging.getLogger(__name__)


def open_dataset(
    path: str | Path,
    split: str = "train",
    names: str | Path | Sequence[str] | None = None,
    *,
    allow_outside: bool = False,
    no_cache: bool = False,
) -> Dataset:
    """Read one split of a data set, recognising its layout.

    path: a folder of PASCAL VOC, of COCO, or of pictures and labels; a YOLO .yaml, a Darknet .data
    or a COCO .json file, or a folder with such a file. If a folder describes its data in several
    ways, the first in the order VOC, COCO, YOLO, Darknet counts, which is logged.
    split: its name; val, valid and validation are the same. Without val it is a part of train,
    see `hold_out`.
    names: the classes, or a file that lists them; by default those of the data set. allow_outside:
    whether files of COCO and VOC may name pictures outside the folder; Darknet's lists and a .yaml
    always may. no_cache: read the files anew, without the data set's index, see `index`.

    Raises DataError if the path is none of these, lacks the split, can be read in two ways, has no
    usable picture or label, or names pictures outside.

    >>> ghostyolo.open_dataset("DATA", "val").names
    ('ring', 'checker', 'triangle', 'cross', 'star', 'blob')
    """
    known = given_names(names)

    def read() -> Dataset:
        description, layout = recognise(Path(path))

        def read_one(name: str) -> Dataset:
            found = layout.read(description, name, known)
            if found.outside and not allow_outside:
                raise _outside(found, description)
            return found

        return read_split(read_one, split)

    asked = "boxes", str(path), split, known, allow_outside
    return index.opened(read, *asked, no_cache=no_cache)


def _outside(dataset: Dataset, description: Path) -> DataError:
    count, first = len(dataset.outside), dataset.outside[0]
    message = f"pictures outside of the data set's folder: {count}, such as {first}"
    hint = "move them there, or give --allow-outside (allow_outside=True in Python)"
    return DataError(message, span=Span(str(description)), hint=hint)


def splits(path: str | Path) -> list[str]:
    """Return the names of the splits of a data set, in the order train, val, test, others.

    Raises DataError if it is no data set.
    """
    description, layout = recognise(Path(path))
    found = layout.splits(description)
    if not found:
        raise DataError("it has no split", span=Span(str(path)), hint="name its training pictures")
    return sorted(found, key=lambda split: (*KNOWN, without_year(split)).index(without_year(split)))


def is_undivided(path: str | Path) -> bool:
    """Return whether a data set has no splits. Raises DataError if it is no data set."""
    description, layout = recognise(Path(path))
    return layout.splits(description) is DRAWN


def recognise(path: Path) -> tuple[Path, Layout]:
    """Return the file or folder that describes a data set, and the layout that reads it.

    Raises DataError if there is none, or if several files of one layout describe it.
    """
    exists, is_folder = sources.exists(path), sources.is_folder(path)
    special = exists and not (is_folder or sources.is_file(path))
    if not exists or special or not (is_folder or any(each.find(path) for each in LAYOUTS)):
        message = "it is not a data set" if exists else "it does not exist"
        message = "it is a device or pipe, not a file" if special else message
        raise DataError(message, span=Span(str(path)), hint=f"give a {DATA_HELP}; {ASK}")
    found = [(each, layout) for layout in LAYOUTS for each in layout.find(path)]
    found = found or [(each, UNDESCRIBED) for each in UNDESCRIBED.find(path)]
    if not found:
        raise _unrecognised(path)
    description, layout = found[0]
    alike = [each.name for each, other in found if other is layout]
    if len(alike) > 1:
        message = f"several descriptions: {', '.join(alike)}"
        raise DataError(message, span=Span(str(path)), hint="give one")
    others = [each.name if each != path else other.name for each, other in found[1:]]
    if others and is_folder:
        _warn_of_others(path, layout.name, ", ".join(others))
    return description, layout


def _unrecognised(path: Path) -> DataError:
    """Return the error for a folder that is not a data set, with the likeliest cause."""
    nothing = "no pictures, and nothing that describes a data set", ASK
    message, hint = _inside(path) or near_misses.cause(path) or nothing
    return DataError(f"not a data set: {message}", span=Span(str(path)), hint=hint)


def _inside(path: Path) -> near_misses.Cause:
    """Return which folders in a folder are data sets, and that one of them is to be given."""
    found = []
    for folder in subfolders(path):
        with suppress(DataError):
            if splits(folder):
                found.append(folder)
    if not found:
        return None
    names = ", ".join(folder.name for folder in found)
    return f"{names} in it {'are' if found[1:] else 'is'}", f"give {found[0]}"


def _warn_of_others(path: Path, first: str, others: str) -> None:
    """Log once, not for each split, that a folder is described in several ways."""
    hint = "give a file itself to read that one"
    sources.warn(logger, "%s: read as %s; also there: %s; %s", path, first, others, hint, once=True)
