"""COCO: a JSON file of boxes for each split, and pictures in one of several usual folders.

Source: cocodataset.org/#format-data (bbox is x, y, width, height in pixels, from 0)."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from ghostyolo.data import sources
from ghostyolo.data.class_names import class_index
from ghostyolo.data.dataset import Dataset
from ghostyolo.data.dataset_builder import MALFORMED, DatasetBuilder, Label
from ghostyolo.data.layouts.base import Layout, with_suffix
from ghostyolo.data.layouts.coco_file import Annotation, Picture, key_of, read_content
from ghostyolo.data.paths import locate
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
CROWD = {None: False, "": False, 0: False, "0": False, 1: True, "1": True}
MIXED_IDS = "id that is text here and a number there"


def find(path: Path) -> list[Path]:
    """Return the path if it is a folder with annotation files of COCO, or a .json file."""
    if sources.is_folder(path):
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
    if sources.is_file(path):
        return {split_of(path): [path]}
    found: dict[str, list[Path]] = defaultdict(list)
    below = [each for each in sources.entries(path) if is_split(each.name)]
    for place in (path / "annotations", path, *below):
        for file in sources.entries(place, "*.json"):
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
        with sources.opened(file) as stream:
            return bool(FIRST_KEY.match(stream.read(256)))
    except OSError:
        return False


def open_coco(path: Path, split: str, names: Sequence[str] | None) -> Dataset:
    """Read one split of a COCO folder or file. Classes are the categories in order of their ids.

    Raises DataError if the file is not COCO's.
    """
    own, file = _chosen(path, split)
    content, span = read_content(file), Span(str(file))
    images, annotations = content.images, content.annotations
    categories = _classes(content.categories, annotations, span)
    found = {key_of(record["id"]): record["name"] for record in categories}
    found = {key: found[key] for key in sorted(found, key=int)}
    if own in DRAWN and not split_of(file):
        whole = len(images)
        images, annotations = _drawn(images, annotations, own)
        warn_of_drawn(file, own, len(images), whole, "make train.json and val.json")
    root = path if sources.is_folder(path) else _folder(file)
    builder = DatasetBuilder(names or tuple(found.values()), split, str(path), root)
    index = class_index(names) if names else {}
    classes = {key: index.get(found[key], -1) if names else i for i, key in enumerate(found)}
    pictures = _whole(images, builder, span)
    text = {key_of(record.id): isinstance(record.id, str) for record in pictures}
    labels: dict[str, list[Label]] = defaultdict(list)
    for record in annotations:
        category = key_of(record.category_id) if record else ""
        image = key_of(record.image_id) if record else ""
        if not (record and category and image):
            builder.count_defect(MALFORMED, span)
            continue
        cls = classes.get(category, -1)
        if cls < 0:
            name = found.get(category, category)
            builder.count_unknown_class(f"'{name}'", span, f" in annotation {record.id}")
            continue
        if text.get(image, False) != isinstance(record.image_id, str) and image in text:
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
    images: list[Picture | None], annotations: list[Annotation | None], split: str
) -> tuple[list[Picture | None], list[Annotation | None]]:
    """Return the pictures of a file that are drawn for a split, and their annotations."""
    names = {key_of(record.id): record.file_name for record in filter(_is_picture, images)}
    mine = set(draw(set(names.values()), split))
    others = {key for key, file in names.items() if file not in mine}
    return (
        [each for each in images if each is None or key_of(each.id) not in others],
        [each for each in annotations if each is None or key_of(each.image_id) not in others],
    )


def _classes(
    categories: list[Record], annotations: list[Annotation | None], span: Span
) -> list[Record]:
    """Return the categories without Roboflow's supercategory of all others, which has no box.

    Source: github.com/roboflow/rf-detr pull request 1303.
    """
    above = [record.get("supercategory") for record in categories]
    for record in categories if above.count("none") == 1 < len(above) else ():
        others, own = [each for each in categories if each is not record], key_of(record["id"])
        if (
            record.get("supercategory") == "none"
            and all(each.get("supercategory") == record["name"] for each in others)
            and not any(each and key_of(each.category_id) == own for each in annotations)
        ):
            message = "%s: '%s', the supercategory of all others, has no box: not taken as a class"
            sources.warn(logger, message, span, record["name"])
            return others
    return categories


def _is_picture(record: Picture | None) -> TypeGuard[Picture]:
    """Return whether an entry of the list images has the required keys."""
    return record is not None and bool(key_of(record.id)) and isinstance(record.file_name, str)


def _whole(records: list[Picture | None], builder: DatasetBuilder, span: Span) -> list[Picture]:
    """Return the pictures that have the required keys, and count the others."""
    for record in records:
        if not _is_picture(record):
            builder.count_defect("malformed entry of a picture", span)
    return [record for record in records if _is_picture(record)]


def _label(record: Annotation, cls: int, builder: DatasetBuilder, span: Span) -> list[Label]:
    """Return the box of an annotation; [], with a defect counted, if it is malformed."""
    box = record.bbox
    try:
        x, y, w, h = map(float, box if isinstance(box, list) else ())
        ignore = CROWD[record.iscrowd]
    except (KeyError, TypeError, ValueError, OverflowError):
        builder.count_defect(MALFORMED, span)
        return []
    return [Label((x, y, x + w, y + h), cls, span, ignore)]


def _add_images(
    builder: DatasetBuilder,
    images: Iterable[Picture],
    labels: dict[str, list[Label]],
    folders: list[Path],
    span: Span,
) -> None:
    ids: set[str] = set()
    for image in images:
        picture = locate(image.file_name, folders)
        key = key_of(image.id)
        if key in ids:  # the boxes could be of either; the first gets them
            builder.leave_out(picture, "picture with the id of another", span)
            continue
        ids.add(key)
        own = labels.pop(key, [])
        h, w = image.height, image.width
        stated = (h, w) if isinstance(h, int) and isinstance(w, int) else None
        builder.add(picture, image.id, own, stated)
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
