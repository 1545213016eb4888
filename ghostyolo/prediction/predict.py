"""Pictures to detections, annotated pictures and JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np

from ghostyolo.boxes import Detections
from ghostyolo.data.prefetch import batches, mapped
from ghostyolo.drawing import draw
from ghostyolo.errors import DataError, OptionError, Span
from ghostyolo.files import replace
from ghostyolo.prediction.sources import STDIN, Picture, expand, read

Detect = Callable[[list[np.ndarray]], list[Detections]]
READERS = 2  # threads that decode: faster than any network, and OpenCV has threads of its own


@dataclass(frozen=True)
class Found:
    """One picture and what was found in it; frame: its number in a video or stream."""

    path: Path
    image: np.ndarray
    detections: Detections
    frame: int | None = None


def pictures(sources: Sequence[str | Path]) -> list[Path]:
    """Return the picture files that files, folders and patterns name, in their order.

    The folders in a folder count too: a classifier's data has one for each class.

    Raises `DataError` for a source that does not exist or a folder without pictures.
    """
    return expand([str(source) for source in sources], recursive=True).pictures


def predict(
    detector: Detect, paths: Sequence[Path], *, batch: int = 1, stdin: BinaryIO | None = None
) -> Iterator[Found | DataError]:
    """Detect in pictures, which are read ahead; yield the error of one that cannot be read."""
    reader = partial(read, stdin=stdin)
    return detect(detector, mapped(reader, paths, workers=READERS, ahead=batch + READERS), batch)


def detect(
    detector: Detect, items: Iterable[Picture | DataError], batch: int = 1
) -> Iterator[Found | DataError]:
    """Detect in so many pictures at once; errors pass in their turn."""
    for some in batches(items, batch):
        good = [item for item in some if isinstance(item, Picture)]
        found = iter(detector([item.image for item in good]) if good else [])
        for item in some:
            if isinstance(item, Picture):
                yield Found(item.path, item.image, next(found), item.frame)
            else:
                yield item


def write_picture(path: Path, found: Found, names: Sequence[str]) -> None:
    """Write the picture with its boxes, in the format that the path's suffix says."""
    image = cv2.cvtColor(draw(found.image, found.detections, names), cv2.COLOR_RGB2BGR)
    try:
        _, data = cv2.imencode(path.suffix, image)
    except cv2.error:
        hint = "give pictures with a suffix such as .jpg or .png"
        raise DataError("cannot be written", span=Span(str(path)), hint=hint) from None
    replace(path, [data.tobytes()])


def summary(found: Found, names: Sequence[str]) -> str:
    """Return how many of which class were found, in words."""
    counts = Counter(found.detections.classes.tolist())
    parts = [f"{count} {label(cls, names)}" for cls, count in counts.most_common()]
    return ", ".join(parts) or "nothing found"


def label(cls: int, names: Sequence[str]) -> str:
    """Return the name of a class, or its number where it has none."""
    return names[cls] if cls < len(names) else f"class {cls}"


def as_dict(found: Found, names: Sequence[str]) -> dict[str, Any]:
    """Return the detections of a picture for JSON, see `rows`."""
    frame = {} if found.frame is None else {"frame": found.frame}
    return {
        "file": str(found.path),
        **frame,
        "height": found.image.shape[0],
        "width": found.image.shape[1],
        "detections": rows(found.detections, names),
    }


def rows(found: Detections, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return detections for JSON; a box is x, y, width, height in pixels, as in COCO's files."""
    return [
        {
            "class": int(cls),
            "name": label(int(cls), names),
            "score": round(float(score), 5),
            "box": [round(float(v), 2) for v in (x1, y1, x2 - x1, y2 - y1)],
        }
        for (x1, y1, x2, y2), score, cls in zip(
            found.boxes, found.scores, found.classes, strict=True
        )
    ]


def write_json(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write the detections of all pictures."""
    replace(path, [json.dumps(rows, indent=1).encode()])


def target_paths(
    paths: Sequence[Path], folder: Path, suffix: str | None = None
) -> dict[Path, Path]:
    """Return a file of the folder for each picture; equal names get a number.

    suffix: of the files, by default that of each picture where pictures can be written with it.
    Raises `OptionError` where that would overwrite one of the pictures.
    """
    named = [Path("stdin.jpg") if path == STDIN else path for path in paths]
    names = [(own.stem, suffix or _written_suffix(own.suffix)) for own in named]
    targets = [folder / name for name in distinct(names)]
    check_kept(paths, targets)
    return dict(zip(paths, targets, strict=True))


def distinct(names: Iterable[tuple[str, str]]) -> list[str]:
    """Return files' names of stems and suffixes; equal ones get a number."""
    taken: dict[str, None] = {}  # a set that keeps its order
    for stem, suffix in names:
        name, number = f"{stem}{suffix}", 1
        while name in taken:
            number += 1
            name = f"{stem}-{number}{suffix}"
        taken[name] = None
    return list(taken)


def check_kept(sources: Iterable[Path], targets: Iterable[Path]) -> None:
    """Raise `OptionError` where one of the targets is a source."""
    kept = {path.resolve() for path in sources}
    for path in targets:
        if path.resolve() in kept:
            hint = "give another folder with --out"
            raise OptionError("would be overwritten", span=Span(str(path)), hint=hint)


def _written_suffix(suffix: str) -> str:
    return suffix if suffix and cv2.haveImageWriter(f"x{suffix}") else ".jpg"
