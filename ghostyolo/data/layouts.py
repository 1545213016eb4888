"""Which layout a data set has."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ghostyolo.data import coco, darknet, folders, voc, yolo
from ghostyolo.data.sample import Dataset, given_names
from ghostyolo.errors import DataError, Span

logger = logging.getLogger(__name__)


class Layout(NamedTuple):
    """One way to lay out a data set: what splits a path has, and what reads one of them."""

    name: str
    splits: Callable[[Path], list[str]]
    read: Callable[[Path, str, Sequence[str] | None], Dataset]


VOC = Layout("PASCAL VOC", voc.splits, voc.open_voc)
COCO = Layout("COCO", coco.splits, coco.open_coco)
YOLO = Layout("YOLO .yaml", yolo.splits, yolo.open_yolo)
DARKNET = Layout("Darknet .data", darknet.splits, darknet.open_darknet)
FOLDERS = Layout("pictures and labels", folders.splits, folders.open_folders)
FILES = {".json": COCO, ".yaml": YOLO, ".yml": YOLO, ".data": DARKNET}


def open_dataset(
    path: str | Path, split: str = "train", names: str | Path | Sequence[str] | None = None
) -> Dataset:
    """Read one split of a data set, recognising its layout.

    path: a folder of PASCAL VOC, of COCO, or of pictures and labels; a YOLO .yaml, a Darknet .data
    or a COCO .json file, or a folder with such a file. Where a folder describes its data in several
    ways, the first in the order VOC, COCO, .yaml, .data counts, and the log says so.
    split: its name, for which val, valid and validation are the same.
    names: the classes, or a file that lists them, instead of those that the data set names.

    Raises DataError if it is none of these, lacks the split, could be read in two ways, or has
    nothing that can be used.
    """
    place, layout = recognised(Path(path))
    return layout.read(place, split, given_names(names))


def recognised(path: Path) -> tuple[Path, Layout]:
    """Return the file or folder that describes a data set, and the layout that reads it.

    Raises DataError if there is none, or if several files describe it alike.
    """
    if not path.is_dir():
        layout = FILES.get(path.suffix.lower())
        if layout is None or not path.is_file():
            message = "is not a data set" if path.exists() else "does not exist"
            hint = "give a VOC or COCO folder, one of pictures and labels, a .yaml, .data or .json"
            raise DataError(f"it {message}", span=Span(str(path)), hint=hint)
        return path, layout
    found = _descriptions(path)
    if not found:
        return path, FOLDERS
    place, layout = found[0]
    alike = [each.name for each, other in found if other is layout]
    if len(alike) > 1:
        message = f"several descriptions: {', '.join(alike)}"
        raise DataError(message, span=Span(str(path)), hint="give one")
    if others := [each.name if each != path else other.name for each, other in found[1:]]:
        _tell(path, layout.name, ", ".join(others))
    return place, layout


@cache
def _tell(path: Path, first: str, others: str) -> None:
    """Log, once for all splits, that a folder is described in several ways."""
    hint = "give a file itself to read that one"
    logger.warning("%s: read as %s; also there: %s; %s", path, first, others, hint)


def _descriptions(folder: Path) -> list[tuple[Path, Layout]]:
    """Return what describes the data of a folder: itself or files, the first to count first."""
    found = [(folder, VOC)] if voc.is_voc(folder) else []
    found += [(folder, COCO)] if coco.is_coco(folder) else []
    files = sorted(path for path in folder.iterdir() if path.is_file())
    named = [path for path in files if path.name == "data.yaml"]
    yamls = named or [path for path in files if path.suffix.lower() in (".yaml", ".yml")]
    found += [(path, YOLO) for path in yamls]
    return found + [(path, DARKNET) for path in files if path.suffix.lower() == ".data"]
