"""Data sets for classifiers: a folder of pictures for each class, or Darknet's lists.

A sample has one class, and for a box the whole picture.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from ghostyolo.data import darknet
from ghostyolo.data.coco import is_coco
from ghostyolo.data.sample import (
    SUFFIXES,
    Builder,
    Dataset,
    Label,
    class_index,
    given_names,
    image_ids,
    locate,
    read_lines,
    read_names,
    unknown_class,
)
from ghostyolo.data.splits import DRAWN, HELD_BACK, KNOWN, plain, share, spelled
from ghostyolo.data.voc import is_voc
from ghostyolo.errors import DataError, Span

UNNAMED, SEVERAL = "no class in the path", "several classes in the path"
HINT = "give a folder with a folder of pictures for each class, or a Darknet .data file"

logger = logging.getLogger(__name__)


def open_labelled(
    path: str | Path, split: str = "train", names: str | Path | Sequence[str] | None = None
) -> Dataset:
    """Read one split of a data set for classifiers, recognising its layout.

    path: a folder with SPLIT/CLASS/ pictures or with CLASS/ pictures, or a Darknet .data file.
    names: the classes in their order, or a file that lists them, instead of those that the data
    set names. Folders without splits are split here, the same way each time, and the log tells how.

    Raises DataError if it is neither, lacks the split, or has nothing that can be used.
    """
    path, names = Path(path), given_names(names)
    if path.is_dir() and (is_voc(path) or is_coco(path) or _with(path, ".yaml", ".yml")):
        message, hint = "its labels are boxes", "train a detector on it, or cut the boxes out"
        raise DataError(message, span=Span(str(path)), hint=f"{hint} with tools/crops.py")
    lists = _with(path, ".data") if path.is_dir() else [path]
    if len(lists) == 1 and lists[0].is_file() and lists[0].suffix.lower() == ".data":
        return open_lists(lists[0], split, names)
    if path.is_dir():
        return _open_folders(path, split, names)
    message = "is no data set for a classifier" if path.exists() else "does not exist"
    raise DataError(f"it {message}", span=Span(str(path)), hint=HINT)


def open_lists(path: Path, split: str, names: Sequence[str] | None) -> Dataset:
    """Read one split of a Darknet .data file by the names in the paths of its pictures.

    `labels` holds what the paths contain, `names` what the classes are called, if they differ.
    Given names are new ones, or the same in another order, which is then that of the classes.
    Raises DataError if a file or key is missing, or the two do not agree.
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
    darknet.check_count(len(shown), darknet.Option(str(len(labels)), span))
    if names and files and sorted(shown) == sorted(set(files[-1])):
        labels = tuple(labels[files[-1].index(name)] for name in shown)
    builder = Builder(shown, split, str(path))
    listed = locate(options[key].value, folders)
    _add_listed(builder, listed, folders, labels)
    if builder.listed and builder.defects[UNNAMED] == len(builder.listed):
        message = (
            f"no path of {len(builder.listed)} contains one of the names, such as '{labels[0]}'"
        )
        hint = "put pictures of a class into a folder with its name; boxes are for detectors"
        raise DataError(message, span=Span(listed), hint=hint)
    return builder.finish()


def class_in(entry: str, labels: Sequence[str]) -> tuple[int | None, str]:
    """Return the class whose name a path contains, and the defect that it has or is without.

    Of several it is the one that a folder or file is named exactly, if one alone is: `cat` and
    `catfish` are both in catfish/1.jpg. Without that there is none, where Darknet trains on all of
    them at once.
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
    builder: Builder, list_: str, folders: Sequence[Path], labels: Sequence[str]
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
            builder.count(defect, span)
        _add(builder, picture, image_id, cls, span)


def _open_folders(path: Path, split: str, names: Sequence[str] | None) -> Dataset:
    splits = [folder for folder in _folders(path) if plain(folder.name) in KNOWN]
    roots = {folder.name: folder for folder in splits if _folders(folder)}
    own = spelled(split, sorted(roots) or DRAWN, Span(str(path)))
    found = {folder.name for root in (roots or {"": path}).values() for folder in _folders(root)}
    if not found:
        raise DataError("no folder of a class in it", span=Span(str(path)), hint=HINT)
    builder = Builder(names or sorted(found), split, str(path))
    index = class_index(builder.names)
    for folder in _folders(roots.get(own, path)):
        if folder.name not in index:
            raise unknown_class(folder.name, builder.names, Span(str(folder)))
        pictures = _pictures(folder)
        if not roots:
            pictures = _share(folder, pictures, own)
        if not pictures:
            builder.count("class without pictures", Span(str(folder)))
        for picture in pictures:
            image_id = str(picture.relative_to(path))
            _add(builder, str(picture), image_id, index[folder.name], Span(str(folder)))
    dataset = builder.finish()
    if not roots and own != "all":
        logger.warning(
            "%s: no folders train and val, so one picture in %d of each class, drawn by its name, "
            "is for val: %d pictures for %s",
            path, HELD_BACK, len(dataset), split,
        )  # fmt: skip
    return dataset


def _add(builder: Builder, picture: str, image_id: str, cls: int, span: Span) -> None:
    size = builder.size(picture)
    if size is not None:
        whole = (0.0, 0.0, float(size[1]), float(size[0]))
        builder.add(picture, image_id, size, [Label(whole, cls, False, span)])


def _share(folder: Path, pictures: Iterable[Path], split: str) -> list[Path]:
    """Return the pictures of a class that are for a split, the same whatever holds the folder."""
    paths = {picture.relative_to(folder).as_posix(): picture for picture in pictures}
    return sorted(paths[name] for name in share(paths, split))


def _with(path: Path, *suffixes: str) -> list[Path]:
    return sorted(each for each in path.iterdir() if each.suffix.lower() in suffixes)


def _folders(path: Path) -> list[Path]:
    return sorted(each for each in path.iterdir() if each.is_dir() and each.name[0] != ".")


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
