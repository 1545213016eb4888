"""PASCAL VOC's annotations, one XML file of boxes for each picture.

Source: the VOC2012 development kit, section 4 (annotation files; boxes of whole pixels, from 1).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from xml.sax import SAXException, SAXParseException
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import Locator

from defusedxml.common import DefusedXmlException
from defusedxml.sax import parseString

from ghostyolo.data.class_names import class_index
from ghostyolo.data.dataset_builder import MALFORMED, DatasetBuilder, Label
from ghostyolo.data.layouts.base import LabelFormat
from ghostyolo.data.paths import image_ids
from ghostyolo.errors import DataError, Span

PASCAL_DATABASE = re.compile(r"\bVOC ?20\d\d\b|\bPASCAL", re.IGNORECASE)
CORNERS = ("bndbox/xmin", "bndbox/ymin", "bndbox/xmax", "bndbox/ymax")


def add_pictures(
    builder: DatasetBuilder, pictures: Sequence[str], candidates: Callable[[str], list[str]]
) -> None:
    """Add pictures with the boxes of their XML files.

    candidates: picture -> where its file may be. One without a file is left out and counted.
    """
    index = class_index(builder.names)
    for picture, image_id in zip(pictures, image_ids(pictures), strict=True):
        files = candidates(picture)
        file = next(filter(os.path.isfile, files), files[0])
        add_picture(builder, picture, image_id, Path(file), index)


def add_picture(
    builder: DatasetBuilder, picture: str, image_id: str, file: Path, index: dict[str, int]
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


def _labels(
    annotation: Annotation, index: dict[str, int], builder: DatasetBuilder
) -> Iterable[Label]:
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


FOLDERS = ("annotations", "Annotations", "labels")
FORMAT = LabelFormat(".xml", FOLDERS, add_pictures, collect_names)
