"""Which of four layouts a data set has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ghostyolo.data.coco import is_coco, open_coco
from ghostyolo.data.darknet import open_darknet
from ghostyolo.data.sample import Dataset
from ghostyolo.data.voc import is_voc, open_voc
from ghostyolo.data.yolo import open_yolo
from ghostyolo.errors import DataError, Span

Reader = Callable[[Path, str, Sequence[str] | None], Dataset]
READERS: dict[str, Reader] = {".yaml": open_yolo, ".yml": open_yolo, ".data": open_darknet}


def open_dataset(
    path: str | Path, split: str = "train", names: Sequence[str] | None = None
) -> Dataset:
    """Read one split of a data set, recognising its layout.

    path: a folder of PASCAL VOC or of COCO, a YOLO .yaml or a Darknet .data file, or a folder with
    one such file; of several layouts in one folder the first in this order counts.
    names: the classes, instead of those that the data set names.

    Raises DataError if it is none of these, lacks the split, or has nothing that can be used.
    """
    path, names = Path(path), tuple(names) if names else None
    if path.is_dir() and is_voc(path):
        return open_voc(path, split, names)
    if path.is_dir() and is_coco(path):
        return open_coco(path, split, names)
    file, reader = described(path)
    return reader(file, split, names)


def described(path: Path) -> tuple[Path, Reader]:
    """Return the file that describes a data set, its own or its folder's, and what reads that.

    Raises DataError if it is none.
    """
    file = description(path) if path.is_dir() else path
    reader = READERS.get(file.suffix.lower())
    if not file.is_file() or reader is None:
        message = "is not a data set" if path.exists() else "does not exist"
        hint = "give a VOC or COCO folder, a YOLO .yaml or a Darknet .data file"
        raise DataError(f"it {message}", span=Span(str(path)), hint=hint)
    return file, reader


def description(folder: Path) -> Path:
    """Return the file that describes a folder: data.yaml, or the only .yaml, or the only .data."""
    if (folder / "data.yaml").is_file():
        return folder / "data.yaml"
    for suffixes in ((".yaml", ".yml"), (".data",)):
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes)
        if len(files) > 1:
            listed = ", ".join(path.name for path in files)
            raise DataError(
                f"several descriptions: {listed}", span=Span(str(folder)), hint="give one"
            )
        if files:
            return files[0]
    raise DataError(
        "not a data set: no Annotations with ImageSets (VOC), no annotations/instances_*.json "
        "(COCO), no .yaml (YOLO) and no .data (Darknet)",
        span=Span(str(folder)),
        hint="give the folder or file of a data set",
    )
