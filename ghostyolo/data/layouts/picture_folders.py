"""Folders of pictures with a label file for each, without a file that describes the data set.

Source: the output of labelImg (github.com/HumanSignal/labelImg), CVAT, Label Studio and Roboflow,
and the folders images and labels of docs.ultralytics.com/datasets/detect.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ghostyolo.data import sources
from ghostyolo.data.class_names import NoNamesError, read_names
from ghostyolo.data.dataset import Dataset
from ghostyolo.data.dataset_builder import DatasetBuilder
from ghostyolo.data.layouts import labels_txt, labels_xml
from ghostyolo.data.layouts.base import Layout
from ghostyolo.data.paths import (
    SUFFIXES,
    pictures_below,
    read_list,
    subfolders,
    swap_folder,
)
from ghostyolo.data.splits import DRAWN, draw_pictures, find_split, is_split, warn_of_drawn
from ghostyolo.errors import DataError, Span

PICTURES = ("images", "JPEGImages")
FORMATS = {each.suffix: each for each in (labels_txt.FORMAT, labels_xml.FORMAT)}
NAMES = ("classes.txt", "*.names", "_darknet.labels")  # labelImg's, Darknet's, Roboflow's


class Reading(NamedTuple):
    """One way to read a folder.

    place: the folders or lists of the pictures, for messages. pictures: the paths by split, with
    the key "" if there are no splits. labelled: the first picture that has a label file, by the
    suffix of that file.
    """

    place: str
    pictures: dict[str, list[str]]
    labelled: dict[str, str]


def find(path: Path) -> list[Path]:
    """Return the folder if a picture in it has a label file."""
    return [path] if sources.is_folder(path) and readings(path) else []


def splits(root: Path) -> Sequence[str]:
    """Return the splits of a folder. Raises DataError unless it can be read in exactly one way."""
    return _names_of_splits(only_reading(root))


def open_folders(root: Path, split: str, names: Sequence[str] | None) -> Dataset:
    """Read one split of a folder of pictures; a folder without splits is split here and logged.

    Raises DataError if there is no such split, or if the classes have no names.
    """
    found, span = only_reading(root), Span(str(root))
    (suffix,) = found.labelled
    label_format = FORMATS[suffix]
    everything = [picture for own in found.pictures.values() for picture in own]
    names = names or _names(root, found)
    if names is None:
        files = (file for picture in everything for file in label_files(root, picture, suffix))
        names = label_format.names(Path(file) for file in files if sources.is_file(file))
    if names is None:
        message = f"its classes have no names: no {', '.join(NAMES)} beside pictures or labels"
        raise NoNamesError(message, span=span, hint="give --names FILE, one name a line")
    own = find_split(split, _names_of_splits(found), span)
    pictures = found.pictures.get(own, everything)
    if "" in found.pictures:
        pictures = draw_pictures(root, everything, own)
        warn_of_drawn(root, own, len(pictures), len(everything))
    builder = DatasetBuilder(names, split, str(root))
    label_format.add(builder, pictures, lambda picture: label_files(root, picture, suffix))
    return builder.finish()


def readings(root: Path) -> list[Reading]:
    """Return the ways to read a folder: by its splits, or as a whole if it has none.

    Raises DataError if it has lists of pictures, none of which has a label file.
    """
    found = _labelled(root, _split_readings(root))
    if not found and (lists := _lists(root)):
        split, (picture, *_) = next(iter(lists.items()))
        label = label_files(root, picture, ".txt")[0]
        message = "none of its pictures has a label file"
        hint = f"the first was looked for at {picture}, its boxes at {label}"
        raise DataError(message, span=Span(str(root / f"{split}.txt")), hint=hint)
    return found or _labelled(root, _whole_readings(root))


def only_reading(root: Path) -> Reading:
    """Return the only way to read a folder. Raises DataError if there are several."""
    (found, *others), span = readings(root), Span(str(root))
    if others:
        places = " or ".join(each.place for each in (found, *others))
        message = f"its pictures may be those of {places}"
        raise DataError(message, span=span, hint="name those meant in a data.yaml")
    if len(found.labelled) > 1:
        kinds = [f"{suffix}, as that of {found.labelled[suffix]}" for suffix in found.labelled]
        message = f"some labels are {', and some '.join(kinds)}"
        raise DataError(message, span=span, hint="move one kind away")
    if "" in found.pictures and is_split(root.name):  # the folder is itself a split of a data set
        return found._replace(pictures={root.name: found.pictures[""]})
    return found


def _names_of_splits(found: Reading) -> Sequence[str]:
    return DRAWN if list(found.pictures) == [""] else list(found.pictures)


def label_files(root: Path, picture: str, suffix: str) -> list[str]:
    """Return possible paths of a picture's label file: in parallel folders, then beside it."""
    inside = os.path.relpath(picture, root)
    places = [swap_folder(inside, old, new) for old in PICTURES for new in FORMATS[suffix].folders]
    own = os.path.splitext(inside)[0]
    stems = dict.fromkeys([os.path.splitext(place)[0] for place in places])
    stems = dict.fromkeys([*(stem for stem in stems if stem != own), own])
    return [str(root / f"{stem}{suffix}") for stem in stems]


def _split_readings(root: Path) -> Iterator[tuple[str, dict[str, list[str]]]]:
    lists = _lists(root)
    if lists:
        yield ", ".join(f"{split}.txt" for split in lists), lists
    for folder in (root, *(root / name for name in PICTURES)):
        below = [each for each in subfolders(folder) if each.name not in (*PICTURES, "labels")]
        if any(is_split(each.name) for each in below):
            place = ", ".join(str(each.relative_to(root)) for each in below if is_split(each.name))
            yield place, {each.name: pictures_below(_own(each)) for each in below}


def _lists(root: Path) -> dict[str, list[str]]:
    """Return the pictures in train.txt, val.txt ..., unless that is the label file of train.jpg."""
    files = [path for path in sources.entries(root, "*.txt") if is_split(path.stem)]
    found = {path.stem: read_list(str(path), [root]) for path in files}
    return {
        split: pictures
        for split, pictures in found.items()
        if pictures and os.path.splitext(pictures[0])[1].lower() in SUFFIXES
    }


def _whole_readings(root: Path) -> Iterator[tuple[str, dict[str, list[str]]]]:
    for name in PICTURES:
        yield name, {"": pictures_below(root / name)}
    beside = [str(path) for path in sources.entries(root) if path.suffix.lower() in SUFFIXES]
    yield "the folder itself", {"": beside}


def _labelled(root: Path, readings: Iterable[tuple[str, dict[str, list[str]]]]) -> list[Reading]:
    """Return the readings in which at least one picture has a label file."""
    found = []
    below = {os.path.splitext(path)[1] for path in sources.below(root)}
    suffixes = [suffix for suffix in FORMATS if suffix in below]
    for place, pictures in readings:
        seen: dict[str, str] = {}
        for split, own in list(pictures.items()):
            has = {suffix: _first_labelled(root, own, suffix) for suffix in suffixes}
            labelled = {suffix: picture for suffix, picture in has.items() if picture}
            if not labelled and not is_split(split):  # a folder of pictures that is no split
                del pictures[split]
            seen = labelled | seen
        if seen:
            found.append(Reading(place, pictures, seen))
    return found


def _first_labelled(root: Path, pictures: Sequence[str], suffix: str) -> str | None:
    for picture in pictures:
        if any(map(sources.is_file, label_files(root, picture, suffix))):
            return picture
    return None


def _names(root: Path, found: Reading) -> tuple[str, ...] | None:
    """Return the class names in files beside pictures or labels, None if there are no such files.

    Raises DataError if the names in these files differ.
    """
    folders = dict.fromkeys(
        [root, root / "labels", *([root.parent] if is_split(root.name) else [])]
    )
    for pictures in found.pictures.values():
        for suffix in found.labelled:
            if picture := _first_labelled(root, pictures, suffix):
                beside = (picture, *label_files(root, picture, suffix))
                folders |= dict.fromkeys(Path(file).parent for file in beside)
    files = [file for folder in folders for name in NAMES for file in sources.entries(folder, name)]
    lists = {read_names(file): file for file in files}
    if len(lists) > 1:
        one, other, *_ = lists.values()
        message = f"the names in {one} and {other} differ"
        raise DataError(message, span=Span(str(root)), hint="give one of these with --names")
    return next(iter(lists), None)


def _own(folder: Path) -> Path:
    """Return the folder with the pictures of a split: its folder images, or itself without one."""
    return next((folder / name for name in PICTURES if sources.is_folder(folder / name)), folder)


LAYOUT = Layout(
    name="pictures and labels",
    wants=f"a picture with a {' or '.join(FORMATS)} file of boxes beside it, or in labels or "
    "annotations beside its folder images",
    find=find,
    splits=splits,
    read=open_folders,
)
