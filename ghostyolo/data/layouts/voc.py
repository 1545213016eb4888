"""PASCAL VOC folders: Annotations/*.xml, ImageSets/Main/SPLIT.txt, JPEGImages.

Source: the VOC2012 development kit, section 3 (folders and lists of pictures).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ghostyolo.data import sources
from ghostyolo.data.class_names import class_index, read_names
from ghostyolo.data.dataset import Dataset
from ghostyolo.data.dataset_builder import DatasetBuilder
from ghostyolo.data.layouts.base import Layout
from ghostyolo.data.layouts.labels_xml import add_picture, collect_names
from ghostyolo.data.paths import SUFFIXES, read_lines
from ghostyolo.data.splits import find_split
from ghostyolo.errors import DataError, Span


def roots(folder: Path) -> list[Path]:
    """Return the VOC folders at a path: the path itself, or VOC2007, VOC2012 ... of a VOCdevkit."""
    years = (sources.entries(place, "VOC20??") for place in (folder, folder / "VOCdevkit"))
    candidates = [folder, *sorted(year for found in years for year in found)]
    needed = "Annotations", "ImageSets"
    found = [p for p in candidates if all(sources.is_folder(p / name) for name in needed)]
    return found[:1] if folder in found else found


def splits(folder: Path) -> list[str]:
    """Return the splits of a folder; lists of a single class such as `dog_train` are no splits."""
    lists = (path for root in roots(folder) for path in sources.entries(_main(root), "*.txt"))
    stems = {path.stem for path in lists}
    return sorted(s for s in stems if "_" not in s or s.rpartition("_")[2] not in stems)


def open_voc(folder: Path, split: str, names: Sequence[str] | None) -> Dataset:
    """Read one split of a VOC folder. Boxes of PASCAL's own files become continuous edges.

    A split of a VOCdevkit is the union of that split of all years: it is usual to train on trainval
    of 2007 and 2012, and to test on test of 2007.

    Raises DataError if there is no such split or no folder of pictures.
    """
    places = roots(folder)
    own = find_split(
        split, splits(folder), Span(str(_main(places[0]) if len(places) == 1 else folder))
    )
    files = (path for root in places for path in sources.entries(root / "Annotations", "*.xml"))
    names = names or _names_file(folder) or collect_names(files)
    index = class_index(names)
    builder = DatasetBuilder(names, split, str(folder), folder)
    seen: set[str] = set()
    for root in places:
        if not sources.is_file(lists := _main(root) / f"{own}.txt"):
            continue
        pictures = _pictures(root / "JPEGImages")
        for line in filter(None, read_lines(lists)):
            image_id, *shows = line.rsplit(maxsplit=1)  # in a list of one class: whether it shows
            if shows and shows[0] not in ("-1", "0", "1"):
                image_id = line
            path = pictures.get(image_id, str(root / "JPEGImages" / f"{image_id}.jpg"))
            unique = path if len(places) > 1 and image_id in seen else image_id
            seen.add(image_id)
            add_picture(builder, path, unique, root / "Annotations" / f"{image_id}.xml", index)
    return builder.finish()


def _main(root: Path) -> Path:
    return root / "ImageSets" / "Main"


def _names_file(folder: Path) -> tuple[str, ...] | None:
    files = sources.entries(folder, "*.names")
    return read_names(files[0]) if len(files) == 1 else None


def _pictures(folder: Path) -> dict[str, str]:
    """Return the path of each picture by its id; the folder may have other files too."""
    if not sources.is_folder(folder):
        hint = "put the pictures there"
        raise DataError("no folder of pictures", span=Span(str(folder)), hint=hint)
    files = list(map(str, sources.entries(folder)))
    files.sort(key=lambda path: os.path.splitext(path)[1].lower() in SUFFIXES)  # pictures last
    return {os.path.splitext(os.path.basename(path))[0]: path for path in files}


LAYOUT = Layout(
    name="PASCAL VOC",
    wants="Annotations with ImageSets, also below VOC2007 ...",
    find=lambda path: [path] if roots(path) else [],
    splits=splits,
    read=open_voc,
)
