"""Folders of pictures with a label file for each, and no file that describes them.

Source: what labelImg (github.com/HumanSignal/labelImg), CVAT, Label Studio and Roboflow write, and
the folders images and labels of docs.ultralytics.com/datasets/detect.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ghostyolo.data.darknet import add_pictures, read_list, swap_folder
from ghostyolo.data.sample import SUFFIXES, Builder, Dataset, class_index, image_ids, read_names
from ghostyolo.data.splits import DRAWN, is_split, share, spelled, tell_drawn
from ghostyolo.data.voc import add_annotated, collect_names
from ghostyolo.errors import DataError, Span

PICTURES = ("images", "JPEGImages")
LABELS = {".txt": ("labels",), ".xml": ("annotations", "Annotations", "labels")}
NAMES = ("classes.txt", "*.names", "_darknet.labels")  # labelImg's, Darknet's, Roboflow's
NOTHING = (
    "not a data set: no Annotations with ImageSets (VOC, also below VOC2007 ...), no annotations/"
    "instances_*.json or SPLIT/_annotations.coco.json (COCO), no .yaml (YOLO), no .data (Darknet), "
    "and no picture with a .txt or .xml file of boxes beside it, or in labels or annotations "
    "beside its folder images"
)


class Parts(NamedTuple):
    """How a folder can be read.

    pictures: those of each split, or of "" where there are no splits. labelled: the suffix of the
    label files, and the first picture that has one.
    """

    place: str
    pictures: dict[str, list[str]]
    labelled: dict[str, str]


def splits(root: Path) -> list[str]:
    """Return the splits of a folder. Raises DataError if it cannot be read in one way."""
    found = list(parts(root).pictures)
    return list(DRAWN) if found == [""] else found


def open_folders(root: Path, split: str, names: Sequence[str] | None) -> Dataset:
    """Read one split of a folder of pictures; one without splits is split here, which is told.

    Raises DataError if there is no such split, or a box but no name for its class.
    """
    found, span = parts(root), Span(str(root))
    (suffix,) = found.labelled
    everything = [picture for own in found.pictures.values() for picture in own]
    names = names or _names(root, found)
    if suffix == ".xml":
        names = names or collect_names(_xml_files(root, everything))
    if names is None:
        message = f"its classes have no names: no {', '.join(NAMES)} beside pictures or labels"
        raise DataError(message, span=span, hint="give --names FILE, one name a line")
    own = spelled(split, splits(root), span)
    pictures = found.pictures.get(own, everything)
    if "" in found.pictures:
        pictures = _drawn(root, everything, own)
    builder = Builder(names, split, str(root))
    if suffix == ".txt":
        add_pictures(builder, pictures, lambda picture: label_files(root, picture, ".txt"))
    else:
        _add_annotated(builder, root, pictures)
    return builder.finish()


def parts(root: Path) -> Parts:
    """Return how a folder is to be read: by its splits if it has some, else as a whole.

    Raises DataError if it cannot be read at all, or in more ways than one.
    """
    span = Span(str(root))
    readings = _labelled(root, _split_readings(root))
    if not readings and (lists := _lists(root)):
        split, (picture, *_) = next(iter(lists.items()))
        label = label_files(root, picture, ".txt")[0]
        message = "none of its pictures has a label file"
        hint = f"the first was looked for at {picture}, its boxes at {label}"
        raise DataError(message, span=Span(str(root / f"{split}.txt")), hint=hint)
    readings = readings or _labelled(root, _whole_readings(root))
    if not readings:
        raise DataError(NOTHING, span=span, hint="give the folder or file of a data set")
    if len(readings) > 1:
        message = f"its pictures may be those of {' or '.join(each.place for each in readings)}"
        raise DataError(message, span=span, hint="name those meant in a data.yaml")
    (found,) = readings
    if len(found.labelled) > 1:
        txt, xml = found.labelled[".txt"], found.labelled[".xml"]
        message = f"some labels are .txt, as that of {txt}, and some .xml, as that of {xml}"
        raise DataError(message, span=span, hint="move one kind away")
    if "" in found.pictures and is_split(root.name):  # it is one of a data set's folders itself
        return found._replace(pictures={root.name: found.pictures[""]})
    return found


def label_files(root: Path, picture: str, suffix: str) -> list[str]:
    """Return where the label file of a picture may be: in a parallel folder, or beside it."""
    inside = os.path.relpath(picture, root)
    places = [swap_folder(inside, old, new) for old in PICTURES for new in LABELS[suffix]]
    own = os.path.splitext(inside)[0]
    stems = dict.fromkeys([os.path.splitext(place)[0] for place in places])
    stems = dict.fromkeys([*(stem for stem in stems if stem != own), own])
    return [str(root / f"{stem}{suffix}") for stem in stems]


def pictures_below(folder: Path) -> list[str]:
    """Return the pictures in a folder and those below it, by alphabet."""
    return sorted(str(path) for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def _split_readings(root: Path) -> Iterator[tuple[str, dict[str, list[str]]]]:
    lists = _lists(root)
    if lists:
        yield ", ".join(f"{split}.txt" for split in lists), lists
    for folder in (root, *(root / name for name in PICTURES)):
        below = [each for each in _folders(folder) if each.name not in (*PICTURES, "labels")]
        if any(is_split(each.name) for each in below):
            place = ", ".join(str(each.relative_to(root)) for each in below if is_split(each.name))
            yield place, {each.name: pictures_below(_own(each)) for each in below}


def _lists(root: Path) -> dict[str, list[str]]:
    """Return the pictures of train.txt, val.txt ...; the labels of a train.jpg are no such list."""
    files = [path for path in sorted(root.glob("*.txt")) if is_split(path.stem)]
    found = {path.stem: read_list(str(path), [root]) for path in files}
    return {
        split: pictures
        for split, pictures in found.items()
        if pictures and os.path.splitext(pictures[0])[1].lower() in SUFFIXES
    }


def _whole_readings(root: Path) -> Iterator[tuple[str, dict[str, list[str]]]]:
    for name in PICTURES:
        yield name, {"": pictures_below(root / name)}
    beside = sorted(str(path) for path in root.iterdir() if path.suffix.lower() in SUFFIXES)
    yield "the folder itself", {"": beside}


def _labelled(root: Path, readings: Iterable[tuple[str, dict[str, list[str]]]]) -> list[Parts]:
    """Return the readings in which a picture has a label file, with what has one."""
    found = []
    suffixes = [suffix for suffix in LABELS if any(root.rglob(f"*{suffix}"))]
    for place, pictures in readings:
        seen: dict[str, str] = {}
        for split, own in list(pictures.items()):
            has = {suffix: _first_labelled(root, own, suffix) for suffix in suffixes}
            labelled = {suffix: picture for suffix, picture in has.items() if picture}
            if not labelled and not is_split(split):  # some other folder with pictures
                del pictures[split]
            seen = labelled | seen
        if seen:
            found.append(Parts(place, pictures, seen))
    return found


def _first_labelled(root: Path, pictures: Sequence[str], suffix: str) -> str | None:
    for picture in pictures:
        if any(map(os.path.isfile, label_files(root, picture, suffix))):
            return picture
    return None


def _names(root: Path, found: Parts) -> tuple[str, ...] | None:
    """Return the names that lie beside pictures or labels, None if none do.

    Raises DataError if lists of names differ.
    """
    folders = dict.fromkeys(
        [root, root / "labels", *([root.parent] if is_split(root.name) else [])]
    )
    for pictures in found.pictures.values():
        for suffix in found.labelled:
            if picture := _first_labelled(root, pictures, suffix):
                beside = (picture, *label_files(root, picture, suffix))
                folders |= dict.fromkeys(Path(file).parent for file in beside)
    files = [file for folder in folders for name in NAMES for file in sorted(folder.glob(name))]
    lists = {read_names(file): file for file in files}
    if len(lists) > 1:
        one, other, *_ = lists.values()
        message = f"the names in {one} and {other} differ"
        raise DataError(message, span=Span(str(root)), hint="give one of these with --names")
    return next(iter(lists), None)


def _drawn(root: Path, pictures: Iterable[str], split: str) -> list[str]:
    """Return the pictures of a folder without splits that are for one, and tell how many."""
    paths = {Path(os.path.relpath(picture, root)).as_posix(): picture for picture in pictures}
    drawn = sorted(paths[name] for name in share(paths, split))
    tell_drawn(root, split, len(drawn), len(paths))
    return drawn


def _xml_files(root: Path, pictures: Iterable[str]) -> list[Path]:
    places = (label_files(root, picture, ".xml") for picture in pictures)
    return [Path(file) for files in places for file in files if os.path.isfile(file)]


def _add_annotated(builder: Builder, root: Path, pictures: Sequence[str]) -> None:
    index = class_index(builder.names)
    for picture, image_id in zip(pictures, image_ids(pictures), strict=True):
        files = label_files(root, picture, ".xml")
        file = next(filter(os.path.isfile, files), files[0])
        add_annotated(builder, picture, image_id, Path(file), index)


def _own(folder: Path) -> Path:
    """Return where the pictures of a split's folder are: in its folder images, or in itself."""
    return next((folder / name for name in PICTURES if (folder / name).is_dir()), folder)


def _folders(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return sorted(each for each in path.iterdir() if each.is_dir() and each.name[0] != ".")
