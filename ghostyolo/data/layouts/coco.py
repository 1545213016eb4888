"""COCO: a JSON file of boxes for each split, and pictures in one of several usual folders.

Source: cocodataset.org/#format-data (bbox is x, y, width, height in pixels, from 0).
"""

from __future__ import annotations

import json
import logging
import re
import reprlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ghostyolo import files
from ghostyolo.data.class_names import class_index, encodable
from ghostyolo.data.dataset import Dataset
from ghostyolo.data.dataset_builder import MALFORMED, DatasetBuilder, Label
from ghostyolo.data.layouts.base import Layout, with_suffix
from ghostyolo.data.paths import locate, read_text
from ghostyolo.data.splits import (
    ALIASES,
    DRAWN,
    canonical,
    draw,
    find_split,
    is_split,
    warn_of_drawn,
    without_year,
)
from ghostyolo.errors import DataError, Span

Record = dict[str, Any]
logger = logging.getLogger(__name__)

PREFIX = "instances_"
WORDS = {"", "annotation", "annotations", "coco", "instances", "labels", "bbox"}  # not splits
FIRST_KEY = re.compile(
    rb'(\xef\xbb\xbf)?\s*\{\s*"(info|licenses|images|annotations|categories|type)"'
)
LISTS = {"images": ("id",), "annotations": ("image_id", "category_id"), "categories": ()}  # ids
WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}")
CROWD = {None: False, "": False, 0: False, "0": False, 1: True, "1": True}
MIXED_IDS = "id that is text here and a number there"
MOST_BYTES = 8 << 30


def find(path: Path) -> list[Path]:
    """Return the path if it is a folder with annotation files of COCO, or a .json file."""
    if path.is_dir():
        return [path] if annotation_files(path) else []
    return with_suffix(path, ".json")


def splits(path: Path) -> Sequence[str]:
    """Return the splits for which a folder or a file has annotations."""
    found = sorted(annotation_files(path))
    return DRAWN if found == [""] else found


def annotation_files(path: Path) -> dict[str, list[Path]]:
    """Return annotation files by split; the key is "" if no file names a split.

    They are sought in the folder annotations, in the folder itself, and in the folders of splits.
    If `path` is a file, its name or its folder's name gives the split.
    """
    if path.is_file():
        return {split_of(path): [path]}
    found: dict[str, list[Path]] = defaultdict(list)
    below = [each for each in path.iterdir() if is_split(each.name)] if path.is_dir() else []
    for place in (path / "annotations", path, *sorted(below)):
        for file in sorted(place.glob("*.json")):
            if _is_own(file) or (not _other_words(file) and _begins_as_coco(file)):
                found[split_of(file)].append(file)
    return {split: each for split, each in found.items() if split or len(found) == 1}


def split_of(file: Path) -> str:
    """Return the split in a file's name, or else in its folder's name; "" if neither has one."""
    if _is_own(file):
        return file.stem.removeprefix(PREFIX)
    named = [word for word in _words(file) if is_split(word)]
    if len(named) == 1:
        return named[0]
    return file.parent.name if not named and is_split(file.parent.name) else ""


def _is_own(file: Path) -> bool:
    return file.stem.startswith(PREFIX) and file.stem != PREFIX


def _words(file: Path) -> list[str]:
    return re.split(r"[_.\s-]+", file.stem)


def _other_words(file: Path) -> list[str]:
    """Return the words of a file name that name no split or boxes: captions in captions_val2017."""
    return [word for word in _words(file) if word.lower() not in WORDS and not is_split(word)]


def _begins_as_coco(file: Path) -> bool:
    """Return whether the first key of a file is one of COCO's, without parsing all of it."""
    try:
        with files.opened(file) as stream:
            return bool(FIRST_KEY.match(stream.read(256)))
    except OSError:
        return False


def open_coco(path: Path, split: str, names: Sequence[str] | None) -> Dataset:
    """Read one split of a COCO folder or file. Classes are the categories in order of their ids.

    Raises DataError if the file is not COCO's.
    """
    own, file = _chosen(path, split)
    images, annotations, categories = _read(file)
    span = Span(str(file))
    categories = _classes(categories, annotations, span)
    found = {_key(record["id"]): record["name"] for record in categories}
    found = {key: found[key] for key in sorted(found, key=int)}
    if own in DRAWN and not split_of(file):
        whole = len(images)
        images, annotations = _drawn(images, annotations, own)
        warn_of_drawn(file, own, len(images), whole, "make train.json and val.json")
    root = path if path.is_dir() else _folder(file)
    builder = DatasetBuilder(names or tuple(found.values()), split, str(path), root)
    index = class_index(names) if names else {}
    classes = {key: index.get(found[key], -1) if names else i for i, key in enumerate(found)}
    pictures = list(_whole("images", images, "malformed entry of a picture", builder, span))
    text = {_key(record["id"]): isinstance(record["id"], str) for record in pictures}
    labels: dict[str, list[Label]] = defaultdict(list)
    for record in _whole("annotations", annotations, MALFORMED, builder, span):
        category, image = _key(record["category_id"]), _key(record["image_id"])
        cls = classes.get(category, -1)
        if cls < 0:
            name = found.get(category, category)
            builder.count_unknown_class(f"'{name}'", span, f" in annotation {record.get('id')}")
            continue
        if text.get(image, False) != isinstance(record["image_id"], str) and image in text:
            builder.count_defect(MIXED_IDS, span)
        labels[image] += _label(record, cls, builder, span)
    _add_images(builder, pictures, labels, _picture_folders(file, split, own), span)
    return builder.finish()


def _chosen(path: Path, split: str) -> tuple[str, Path]:
    """Return the split as the files spell it (val2017 for val), and its file."""
    found, span = annotation_files(path), Span(str(path))
    own = find_split(split, splits(path), span)
    file, *others = found.get(own) or found[""]
    if others:
        listed = " or ".join(str(each.relative_to(path)) for each in (file, *others))
        raise DataError(f"split '{own}' may be {listed}", span=span, hint="give the file itself")
    return own, file


def _drawn(
    images: list[Any], annotations: list[Any], split: str
) -> tuple[list[Record], list[Record]]:
    """Return the pictures of a file that are drawn for a split, and their annotations."""
    whole = [record for record in images if _is_whole("images", record)]
    names = {_key(record["id"]): record["file_name"] for record in whole}
    mine = set(draw(set(names.values()), split))
    others = {key for key, file in names.items() if file not in mine}

    def kept(record: Any, key: str) -> bool:
        return not (isinstance(record, dict) and _key(record.get(key)) in others)

    return [r for r in images if kept(r, "id")], [r for r in annotations if kept(r, "image_id")]


def _classes(categories: list[Record], annotations: list[Any], span: Span) -> list[Record]:
    """Return the categories without Roboflow's supercategory of all others, which has no box.

    Source: github.com/roboflow/rf-detr pull request 1303.
    """
    used = {_key(record.get("category_id")) for record in annotations if isinstance(record, dict)}
    above = [record.get("supercategory") for record in categories]
    for record in categories if above.count("none") == 1 < len(above) else ():
        others = [each for each in categories if each is not record]
        if (
            record.get("supercategory") == "none"
            and all(each.get("supercategory") == record["name"] for each in others)
            and _key(record["id"]) not in used
        ):
            message = "%s: '%s', the supercategory of all others, has no box: not taken as a class"
            logger.warning(message, span, record["name"])
            return others
    return categories


def _read(path: Path) -> list[list[Record]]:
    """Return the images, annotations and categories of a file; only categories are checked."""
    span, text = Span(str(path)), read_text(path, MOST_BYTES)
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        place = Span(str(path), error.lineno)
        raise DataError(f"not JSON: {error.msg}", span=place, hint="repair it") from error
    except (ValueError, RecursionError) as error:  # such as numbers of thousands of digits
        reason = str(error).partition(";")[0]
        raise DataError(f"not JSON: {reason}", span=span, hint="repair it") from error
    if not isinstance(content, dict) or not all(isinstance(content.get(n), list) for n in LISTS):
        raise DataError("not COCO's", span=span, hint=f"it needs the lists {', '.join(LISTS)}")
    known: dict[str, Any] = {}
    for i, record in enumerate(content["categories"]):
        if problem := _category_problem(record, known):
            raise DataError(f"categories[{i}]: {problem}", span=span, hint="repair it")
        known[_key(record["id"])] = record["name"]
    for record in content["categories"]:
        record["name"] = encodable(str(record["name"]))
    return [content[name] for name in LISTS]


def _category_problem(record: Any, known: Mapping[str, Any]) -> str:
    """Return what is wrong with a category, "" if nothing is. known: names by id before it."""
    if not isinstance(record, dict):
        return f"{reprlib.repr(record)} is no object"
    for key in ("id", "name"):
        if key not in record:
            return f"it has no {key}"
    own, name = _key(record["id"]), record["name"]
    if not WHOLE_NUMBER.fullmatch(own):
        return f"id {reprlib.repr(record['id'])} is not a whole number"
    if isinstance(name, bool) or not isinstance(name, str | int | float):
        return f"name {reprlib.repr(name)} is no text"
    if known.get(own, name) != name:
        return f"id {own} is that of another category"
    return ""


def _key(value: Any) -> str:
    """Return an id as text, the same for 7, 7.0 and "7"; "" if it is no id."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""


def _is_whole(name: str, record: Any) -> bool:
    """Return whether a record of one of the lists has the required keys."""
    if not isinstance(record, dict) or not all(_key(record.get(key)) for key in LISTS[name]):
        return False
    return name != "images" or isinstance(record.get("file_name"), str)


def _whole(
    name: str, records: list[Any], defect: str, builder: DatasetBuilder, span: Span
) -> Iterator[Record]:
    """Yield the records that have the required keys, and count the others."""
    for record in records:
        if _is_whole(name, record):
            yield record
        else:
            builder.count_defect(defect, span)


def _label(record: Record, cls: int, builder: DatasetBuilder, span: Span) -> list[Label]:
    """Return the box of an annotation; [], with a defect counted, if it is malformed."""
    box, crowd = record.get("bbox"), record.get("iscrowd", 0)
    try:
        x, y, w, h = map(float, box if isinstance(box, list) else ())
        ignore = CROWD[crowd]
    except (KeyError, TypeError, ValueError, OverflowError):
        builder.count_defect(MALFORMED, span)
        return []
    return [Label((x, y, x + w, y + h), cls, span, ignore)]


def _add_images(
    builder: DatasetBuilder,
    images: Iterable[Record],
    labels: dict[str, list[Label]],
    folders: list[Path],
    span: Span,
) -> None:
    ids: set[str] = set()
    for image in images:
        picture = locate(image["file_name"], folders)
        key = _key(image["id"])
        if key in ids:  # the boxes could be of either; the first gets them
            builder.leave_out(picture, "picture with the id of another", span)
            continue
        ids.add(key)
        own = labels.pop(key, [])
        h, w = image.get("height"), image.get("width")
        stated = (h, w) if isinstance(h, int) and isinstance(w, int) else None
        builder.add(picture, image["id"], own, stated)
    for orphans in labels.values():
        builder.labels += len(orphans)
        for label in orphans:
            builder.count_defect("box of no listed picture", label.span)


def _folder(file: Path) -> Path:
    """Return the folder of the data set that a file of annotations belongs to."""
    return file.parent.parent if file.parent.name == "annotations" else file.parent


def _picture_folders(file: Path, split: str, own: str) -> list[Path]:
    """Return the folders that may have the pictures of a split, the likeliest first."""
    folder = _folder(file)
    alike = [name for name in ALIASES if canonical(name) == without_year(own)]
    names = dict.fromkeys([own, split, without_year(own), *alike])
    named = [place / name for name in names for place in (folder, folder / "images")]
    others = [folder / name for name in ("images", "JPEGImages", "data")]
    return [*dict.fromkeys(named), *others, folder]


LAYOUT = Layout(
    name="COCO",
    wants="annotations/instances_*.json or SPLIT/_annotations.coco.json",
    find=find,
    splits=splits,
    read=open_coco,
)
