"""Data sets for classifiers: a folder of pictures for each class, or Darknet's lists.

A sample has one box, the whole picture, with the class of the picture.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from ghostyolo.data import index, sources
from ghostyolo.data.class_names import (
    class_index,
    encodable,
    given_names,
    read_names,
    unknown_class,
)
from ghostyolo.data.dataset import Dataset
from ghostyolo.data.dataset_builder import DatasetBuilder, Label
from ghostyolo.data.hold_out import read_split
from ghostyolo.data.layouts import LAYOUTS, darknet
from ghostyolo.data.layouts.base import Entry, with_suffix
from ghostyolo.data.paths import image_ids, locate, pictures_below, read_lines, subfolders
from ghostyolo.data.splits import DRAWN, KNOWN, canonical, draw_pictures, find_split, warn_of_drawn
from ghostyolo.errors import DataError, Span

WHOLE = (0.0, 0.0, 1.0, 1.0)  # the box of a sample
UNNAMED, SEVERAL = "no class in the path", "several classes in the path"
HINT = "give a folder with a folder of pictures for each class, or a Darknet .data file"


def open_classification(
    path: str | Path,
    split: str = "train",
    names: str | Path | Sequence[str] | None = None,
    *,
    allow_outside: bool = False,
    no_cache: bool = False,
) -> Dataset:
    """Read one split of a data set for classifiers, recognising its layout.

    path: a folder with SPLIT/CLASS/ pictures or with CLASS/ pictures, or a Darknet .data file.
    names: the classes in their order, or a file that lists them; by default those of the data set.
    A folder without splits is split here, always in the same way, which is logged; so is a data set
    with train but without val, see `hold_out`. allow_outside: as for `open_dataset`; none of these
    layouts refuses pictures outside. no_cache: see `open_dataset`.

    Raises DataError if it has neither layout, lacks the split, or has no usable picture.
    """
    known = given_names(names)
    asked = "classes", str(path), split, known
    return index.opened(lambda: _open(Path(path), split, known), *asked, no_cache=no_cache)


def _open(path: Path, split: str, names: tuple[str, ...] | None) -> Dataset:
    of_boxes = (layout for layout in LAYOUTS if layout != darknet.LAYOUT)
    is_folder = sources.is_folder(path)
    if is_folder and any(layout.find(path) for layout in of_boxes):
        message, hint = "its labels are boxes", "train a detector on it, or cut the boxes out"
        raise DataError(message, span=Span(str(path)), hint=f"{hint} with tools/crops.py")
    lists = with_suffix(path, ".data") if sources.exists(path) else []
    if len(lists) == 1:
        return read_split(lambda name: open_lists(lists[0], name, names), split, by_class=True)
    if is_folder:
        return read_split(lambda name: _open_folders(path, name, names), split, by_class=True)
    message = "is no data set for a classifier" if sources.exists(path) else "does not exist"
    raise DataError(f"it {message}", span=Span(str(path)), hint=HINT)


def is_undivided(path: str | Path) -> bool:
    """Return whether a data set has no splits: it is a folder of a folder for each class."""
    path = Path(path)
    return sources.is_folder(path) and not with_suffix(path, ".data") and not _splits(path)


def open_lists(path: Path, split: str, names: Sequence[str] | None) -> Dataset:
    """Read one split of a Darknet .data file, with the classes that the paths of pictures contain.

    The key `labels` names a file of what paths contain, `names` a file of class names, if they
    differ. The argument `names` renames the classes, or gives the same names in another order,
    which is then the order of the classes.

    Raises DataError if a file or key is missing, or `labels` and `names` do not agree.
    """
    options, span = darknet.read_options(path), Span(str(path))
    key = darknet.split_key(split, options, path)
    folders = (path.parent, path.parent.parent, Path())
    stated = [options[key] for key in ("labels", "names") if key in options]
    files = [read_names(locate(option.value, folders)) for option in stated]
    if names is None and not files:
        raise DataError("no key 'labels'", span=span, hint="add labels = FILE, or give --names")
    labels = files[0] if files else tuple(names or ())
    shown = tuple(names) if names else files[-1]
    darknet.check_count(len(labels), options.get("classes"))
    darknet.check_count(len(shown), Entry(str(len(labels)), span))
    if names and files and sorted(shown) == sorted(set(files[-1])):
        labels = tuple(labels[files[-1].index(name)] for name in shown)
    builder = DatasetBuilder(shown, split, str(path))
    listed = locate(options[key].value, folders)
    _add_listed(builder, listed, folders, labels)
    if builder.listed and builder.defects[UNNAMED] == len(builder.listed):
        message = (
            f"none of {len(builder.listed)} paths contains a class name, such as '{labels[0]}'"
        )
        hint = "put pictures of a class into a folder with its name; boxes are for detectors"
        raise DataError(message, span=Span(listed), hint=hint)
    return builder.finish()


def class_in(entry: str, labels: Sequence[str]) -> tuple[int | None, str]:
    """Return the class whose name a path contains, None unless there is one, and the defect.

    If a path contains several names, the class is the one whose name equals that of a folder or
    file: catfish/1.jpg contains `cat` and `catfish`. If no name or several do, there is no class;
    Darknet would train on all of them at once.
    Source: AlexeyAB/darknet src/data.c fill_truth.
    """
    found = [cls for cls, name in enumerate(labels) if name in entry]
    if len(found) == 1:
        return found[0], ""
    if not found:
        return None, UNNAMED
    path = PurePosixPath(entry.replace("\\", "/"))
    parts = {*path.parts[:-1], path.stem}
    exact = [cls for cls in found if labels[cls] in parts]
    if len(exact) == 1:
        return exact[0], f"{SEVERAL}, taken for the folder's"
    return None, SEVERAL


def _add_listed(
    builder: DatasetBuilder, list_: str, folders: Sequence[Path], labels: Sequence[str]
) -> None:
    """Add the pictures of a list, except those whose path names no class or several."""
    folders = (Path(list_).parent, *folders)
    entries = {n: line for n, line in enumerate(read_lines(list_), 1) if line}
    pictures = {n: locate(line, folders) for n, line in entries.items()}
    ids = image_ids(list(pictures.values()))
    for (number, picture), image_id in zip(pictures.items(), ids, strict=True):
        span = Span(list_, number)
        cls, defect = class_in(entries[number], labels)
        if cls is None:
            builder.leave_out(picture, defect, span)
            continue
        if defect:
            builder.count_defect(defect, span)
        builder.add(picture, image_id, [Label(WHOLE, cls, span, relative=True)])


def _splits(path: Path) -> dict[str, Path]:
    """Return the folders of splits, which have folders of classes, by name."""
    folders = [folder for folder in subfolders(path) if canonical(folder.name) in KNOWN]
    return {folder.name: folder for folder in folders if subfolders(folder)}


def _open_folders(path: Path, split: str, names: Sequence[str] | None) -> Dataset:
    roots = _splits(path)
    own = find_split(split, sorted(roots) or DRAWN, Span(str(path)))
    places = (roots or {"": path}).values()
    found = {encodable(folder.name) for root in places for folder in subfolders(root)}
    if not found:
        raise DataError("no folder of a class in it", span=Span(str(path)), hint=HINT)
    builder = DatasetBuilder(names or sorted(found), split, str(path))
    index = class_index(builder.names)
    whole = 0
    for folder in subfolders(roots.get(own, path)):
        name = encodable(folder.name)
        if name not in index:
            raise unknown_class(name, builder.names, Span(str(folder)))
        pictures = pictures_below(folder)
        whole += len(pictures)
        if not roots:
            pictures = draw_pictures(folder, pictures, own)
        if not pictures:
            builder.count_defect("class without pictures", Span(str(folder)))
        for picture in sorted(pictures, key=Path):
            label = Label(WHOLE, index[name], Span(str(folder)), relative=True)
            builder.add(picture, os.path.relpath(picture, path), [label])
    if not roots:
        warn_of_drawn(path, own, len(builder.listed), whole)
    return builder.finish()
