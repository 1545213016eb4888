"""Why a folder of pictures is not a data set: labels in other folders, or of other names."""

from __future__ import annotations

import os
from itertools import product
from pathlib import Path

from ghostyolo.data.layouts.picture_folders import FORMATS, NAMES, PICTURES, label_files
from ghostyolo.data.paths import SUFFIXES, subfolders, swap_folder
from ghostyolo.syntax.suggestions import nearest

Cause = tuple[str, str] | None  # a message and a hint
Pictures = dict[Path, list[Path]]  # the folders with pictures, and these


def cause(root: Path) -> Cause:
    """Return why no picture in a folder, or up to two folders below, has labels.

    None if there are no pictures.
    """
    folders = [root, *(below for each in subfolders(root) for below in (each, *subfolders(each)))]
    found = {folder: _files(folder, *SUFFIXES) for folder in folders}
    pictures = {folder: files for folder, files in found.items() if files}
    if not pictures:
        return None
    return (
        _folders_of_other_names(root, pictures)
        or _folder_that_is_missing(root, pictures)
        or _labels_of_other_names(root, pictures)
        or ("its pictures have no label files", _wanted(root, next(iter(pictures.values()))[0]))
    )


def _files(folder: Path, *suffixes: str) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.suffix.lower() in suffixes]


def _wanted(root: Path, picture: Path) -> str:
    files = (label_files(root, str(picture), suffix)[-1] for suffix in FORMATS)
    names = " or ".join(os.path.basename(file) for file in files)
    return f"put {names} beside {picture.name}, and so for each picture"


def _folders_of_other_names(root: Path, pictures: Pictures) -> Cause:
    for folder, other in product(filter(pictures.get, subfolders(root)), subfolders(root)):
        stems = {picture.stem for picture in pictures[folder]}
        for suffix, label_format in FORMATS.items():
            if shared := stems & {path.stem for path in other.glob(f"*{suffix}")}:
                wanted = label_format.folders[0]
                there = f"{len(shared)} pictures in {folder.name} have a {suffix} file in"
                hint = f"rename these folders {PICTURES[0]} and {wanted}"
                return f"{there} {other.name}", hint
    return None


def _folder_that_is_missing(root: Path, pictures: Pictures) -> Cause:
    for folder, old in product(pictures, PICTURES):
        own = folder.relative_to(root).as_posix()
        wanted = Path(swap_folder(f"{own}/x", old, "labels")).parent
        if old not in own.split("/") or (root / wanted).is_dir():
            continue
        above = wanted.parent
        near = nearest(wanted.name, [each.name for each in subfolders(root / above)])
        if near or above.name == "labels":
            there = f" ({above / near} does)" if near else ""
            hint = f"rename it {wanted.name}" if near else "put the labels of its pictures there"
            return f"{own} has pictures, {wanted} does not exist{there}", hint
    return None


def _labels_of_other_names(root: Path, pictures: Pictures) -> Cause:
    lists = {path for pattern in NAMES for path in root.rglob(pattern)}
    for (picture, *_), suffix in product(pictures.values(), FORMATS):
        for wanted in map(Path, label_files(root, str(picture), suffix)):
            there = _files(wanted.parent, suffix) if wanted.parent.is_dir() else []
            if others := [file.name for file in there if file not in lists]:
                like = next((name for name in others if picture.stem in name), others[0])
                message = f"no picture has a {suffix} of its name ({picture.name}: {wanted.name})"
                return message, f"{like} is there: rename the label files"
    return None
