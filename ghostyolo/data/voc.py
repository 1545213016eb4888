"""PASCAL VOC folders: Annotations/*.xml, ImageSets/Main/SPLIT.txt, JPEGImages.

Source: the VOC2012 development kit, section 4 (annotation files; boxes of whole pixels, from 1).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from xml.sax import SAXException, SAXParseException
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import Locator

from defusedxml.common import DefusedXmlException
from defusedxml.sax import parseString

from ghostyolo.data.sample import (
    MALFORMED,
    SUFFIXES,
    Builder,
    Dataset,
    Label,
    class_index,
    read_lines,
    read_names,
)
from ghostyolo.data.splits import spelled
from ghostyolo.errors import DataError, Span

PASCAL_DATABASE = re.compile(r"\bVOC ?20\d\d\b|\bPASCAL", re.IGNORECASE)
CORNERS = ("bndbox/xmin", "bndbox/ymin", "bndbox/xmax", "bndbox/ymax")


def is_voc(folder: Path) -> bool:
    """Say whether a folder is laid out as VOC is, or holds the years of a VOCdevkit."""
    return bool(roots(folder))


def roots(folder: Path) -> list[Path]:
    """Return the VOC folders at a place: itself, or VOC2007, VOC2012 ... of a VOCdevkit."""
    years = (folder.glob(pattern) for pattern in ("VOC20??", "VOCdevkit/VOC20??"))
    candidates = [folder, *sorted(year for found in years for year in found)]
    found = [p for p in candidates if (p / "Annotations").is_dir() and (p / "ImageSets").is_dir()]
    return found[:1] if folder in found else found


def splits(folder: Path) -> list[str]:
    """Return the splits of a folder, without the lists of one class (`dog_train`)."""
    lists = (path for root in roots(folder) for path in _main(root).glob("*.txt"))
    stems = {path.stem for path in lists}
    return sorted(s for s in stems if "_" not in s or s.rpartition("_")[2] not in stems)


def open_voc(folder: Path, split: str, names: Sequence[str] | None) -> Dataset:
    """Read one split of a VOC folder. Boxes of PASCAL's own files become continuous edges.

    A split of a VOCdevkit is that of all its years that have it, as the field trains on trainval
    of 2007 and 2012 and tests on test of 2007.

    Raises DataError if there is no such split or no folder of pictures.
    """
    places = roots(folder)
    own = spelled(
        split, splits(folder), Span(str(_main(places[0]) if len(places) == 1 else folder))
    )
    files = (path for root in places for path in sorted((root / "Annotations").glob("*.xml")))
    names = names or _names_file(folder) or collect_names(files)
    index = class_index(names)
    builder = Builder(names, split, str(folder))
    seen: set[str] = set()
    for root in places:
        if not (lists := _main(root) / f"{own}.txt").is_file():
            continue
        pictures = _pictures(root / "JPEGImages")
        for image_id in _image_ids(lists):
            path = pictures.get(image_id, str(root / "JPEGImages" / f"{image_id}.jpg"))
            unique = path if len(places) > 1 and image_id in seen else image_id
            seen.add(image_id)
            add_annotated(builder, path, unique, root / "Annotations" / f"{image_id}.xml", index)
    return builder.finish()


def add_annotated(
    builder: Builder, picture: str, image_id: str, file: Path, index: dict[str, int]
) -> None:
    """Add a picture with the boxes of its XML file; without one it is left out and counted."""
    if not file.exists():
        builder.leave_out(picture, "missing label file", Span(str(file)))
        return
    try:
        annotation = read_annotation(file)
    except DataError as error:
        builder.listed[picture] = None
        builder.unparsed(error)
        return
    size = builder.size(picture, annotation.size)
    if size is not None:
        builder.add(picture, image_id, size, _labels(annotation, index, builder))


class Element(NamedTuple):
    """One <object>: the texts below it by path, as in "bndbox/xmin", and its line."""

    texts: dict[str, str]
    span: Span


@dataclass
class Annotation:
    """One XML file: its texts by path below the root, as in "size/width", and its objects."""

    texts: dict[str, str] = field(default_factory=dict)
    objects: list[Element] = field(default_factory=list)

    @property
    def size(self) -> tuple[int, int] | None:
        try:
            return int(self.texts["size/height"]), int(self.texts["size/width"])
        except (KeyError, ValueError):
            return None

    @property
    def from_one(self) -> bool:
        """Whether the file is one of PASCAL's, whose first pixel is 1; labelImg's is taken as 0."""
        return bool(PASCAL_DATABASE.search(self.texts.get("source/database", "")))


def read_annotation(path: Path) -> Annotation:
    """Parse one XML file. Raises DataError with the line if it is not an annotation."""
    reader = _Reader(str(path))
    try:
        parseString(path.read_bytes(), reader)
    except OSError as error:
        message = f"cannot read it: {(error.strerror or str(error)).lower()}"
        raise DataError(message, span=Span(str(path)), hint="make it readable") from error
    except SAXParseException as error:
        span = Span(str(path), error.getLineNumber() or 0)
        raise DataError(f"not XML: {error.getMessage()}", span=span, hint="repair it") from error
    except (DefusedXmlException, SAXException) as error:
        hint = "remove the entity declarations"
        raise DataError("XML with entities is refused", span=Span(str(path)), hint=hint) from error
    return reader.annotation


class _Reader(ContentHandler):
    """Collects the texts of an annotation by their path."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.file = path
        self.annotation = Annotation()
        self.open: list[str] = []
        self.text = ""

    def setDocumentLocator(self, locator: Locator) -> None:
        self.locator = locator

    def startElement(self, name: str, attrs: object) -> None:
        span = Span(self.file, self.locator.getLineNumber() or 0)
        if not self.open and name != "annotation":
            hint = "remove the file from Annotations"
            raise DataError(f"<{name}> instead of <annotation>", span=span, hint=hint)
        self.open.append(name)
        self.text = ""
        if self.open[1:] == ["object"]:
            self.annotation.objects.append(Element({}, span))

    def characters(self, content: str) -> None:
        self.text += content

    def endElement(self, name: str) -> None:
        key = "/".join(self.open[1:])
        texts = self.annotation.texts
        if key.startswith("object/"):
            key, texts = key.removeprefix("object/"), self.annotation.objects[-1].texts
        texts.setdefault(key, self.text.strip())
        self.open.pop()
        self.text = ""


def _labels(annotation: Annotation, index: dict[str, int], builder: Builder) -> Iterable[Label]:
    first = float(annotation.from_one)
    for texts, span in annotation.objects:
        name = texts.get("name", "")
        if name not in index:
            builder.unknown(f"'{name}'", span)
            continue
        try:
            x1, y1, x2, y2 = (float(texts[corner]) for corner in CORNERS)
        except (KeyError, ValueError):
            builder.count(MALFORMED, span)
            continue
        ignore = texts.get("difficult", "0") == "1"
        yield Label((x1 - first, y1 - first, x2, y2), index[name], ignore, span)


def collect_names(paths: Iterable[Path]) -> tuple[str, ...]:
    """Return the classes of all files by alphabet, which is PASCAL's own order too."""
    found: set[str] = set()
    for path in paths:
        with suppress(DataError):  # it is counted in its split
            found |= {element.texts.get("name", "") for element in read_annotation(path).objects}
    return tuple(sorted(found - {""}))


def _main(root: Path) -> Path:
    return root / "ImageSets" / "Main"


def _names_file(folder: Path) -> tuple[str, ...] | None:
    files = list(folder.glob("*.names"))
    return read_names(files[0]) if len(files) == 1 else None


def _image_ids(path: Path) -> list[str]:
    """Return the ids that a split lists; lists of one class have -1, 0 or 1 after each."""
    return [re.sub(r"\s+(-1|0|1)$", "", line) for line in read_lines(path) if line]


def _pictures(folder: Path) -> dict[str, str]:
    """Return the path of each picture by its id; other files may lie beside it."""
    if not folder.is_dir():
        raise DataError(
            "no folder of pictures", span=Span(str(folder)), hint="put the pictures there"
        )
    files = sorted(entry.path for entry in os.scandir(folder))
    files.sort(key=lambda path: os.path.splitext(path)[1].lower() in SUFFIXES)  # the last counts
    return {os.path.splitext(os.path.basename(path))[0]: path for path in files}
