"""Annotations of PASCAL VOC: one XML file of boxes for each picture.

Source: the VOC2012 development kit, section 4 (annotation files; boxes of whole pixels, from 1).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element, ParseError, TreeBuilder
from xml.parsers.expat import ErrorString

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from ghostyolo.data import sources
from ghostyolo.data.class_names import class_index
from ghostyolo.data.dataset_builder import MALFORMED, MISSING, DatasetBuilder, Label
from ghostyolo.data.layouts.base import LabelFormat
from ghostyolo.data.paths import cannot_read, decode, image_ids
from ghostyolo.errors import DataError, Span

PASCAL_DATABASE = re.compile(r"\bVOC ?20\d\d\b|\bPASCAL", re.IGNORECASE)
CORNERS = ("bndbox/xmin", "bndbox/ymin", "bndbox/xmax", "bndbox/ymax")
ENCODING = re.compile(
    rb"""(?:\xef\xbb\xbf)?\s*<\?xml[^>]{0,100}?encoding\s*=\s*["']([\w.:-]{1,40})["']"""
)
MOST_BYTES, MOST_DEPTH = 256 << 20, 64
LINE = "line"  # the attribute with the line where an element begins


def add_pictures(
    builder: DatasetBuilder, pictures: Sequence[str], candidates: Callable[[str], list[str]]
) -> None:
    """Add pictures with the boxes of their XML files.

    candidates: returns the possible paths of a picture's file, the likeliest first. A picture
    without a file is left out and counted.
    """
    index = class_index(builder.names)
    for picture, image_id in zip(pictures, image_ids(pictures), strict=True):
        likely = candidates(picture)
        file = next(filter(sources.is_file, likely), likely[0])
        add_picture(builder, picture, image_id, Path(file), index)


def add_picture(
    builder: DatasetBuilder, picture: str, image_id: str, file: Path, index: dict[str, int]
) -> None:
    """Add a picture with the boxes of its XML file; without a file it is left out and counted."""
    if not sources.exists(file):
        builder.leave_out(picture, MISSING, Span(str(file)))
        return
    try:
        annotation = sources.parse_once(file, read_annotation)
    except DataError as error:
        builder.listed[picture] = None
        builder.count_unreadable_labels(error)
        return
    if annotation.replaced:
        builder.count_defect("bytes that do not fit the encoding", Span(str(file)))
    labels = _labels(annotation, file, index, builder)
    builder.add(picture, image_id, labels, annotation.size)


class Item(NamedTuple):
    """An object of an annotation: its corners as texts, and the line where it begins."""

    name: str
    corners: tuple[str, ...]
    difficult: bool
    line: int


class Annotation(NamedTuple):
    """What one XML file says. size: (h, w) if it has one. replaced: whether bytes did not fit."""

    size: tuple[int, int] | None
    database: str
    items: list[Item]
    replaced: bool


class DeepError(Exception):
    """Elements are nested deeper than in any annotation. Its argument is the line."""


class _LineBuilder(TreeBuilder):
    """Builds elements with an attribute `LINE`, the line where each begins."""

    parser: Any

    depth = 0

    def start(self, tag: Any, attrs: dict[Any, Any], /) -> Element:
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise DeepError(self.parser.CurrentLineNumber)
        return super().start(tag, attrs | {LINE: str(self.parser.CurrentLineNumber)})

    def end(self, tag: Any, /) -> Element:
        self.depth -= 1
        return super().end(tag)


def read_annotation(path: Path) -> Annotation:
    """Parse one XML file. Raises DataError with the line if it is no annotation.

    It may be in any encoding that it declares and Python knows; bytes that do not fit are replaced.
    """
    builder = _LineBuilder()
    parser = DefusedXMLParser(target=builder)
    builder.parser = parser.parser
    try:
        text = _decoded(sources.read(path, MOST_BYTES), Span(str(path)))
        parser.feed(text)
        root = parser.close()
    except OSError as error:
        raise cannot_read(path, error) from error
    except DeepError as error:
        message, span = f"more than {MOST_DEPTH} elements deep", Span(str(path), error.args[0])
        raise DataError(message, span=span, hint="it is no annotation, remove it") from None
    except ParseError as error:
        span = Span(str(path), error.position[0])
        message = f"not XML: {ErrorString(error.code)}"
        raise DataError(message, span=span, hint="repair it") from error
    except DefusedXmlException as error:
        hint = "remove the entity declarations"
        raise DataError("XML with entities is refused", span=Span(str(path)), hint=hint) from error
    finally:
        del builder.parser, parser  # a cycle of references, which only the collector would free
    if root.tag != "annotation":
        message, hint = f"<{root.tag}> instead of <annotation>", "remove the file from Annotations"
        raise DataError(message, span=Span(str(path), int(root.get(LINE, 0))), hint=hint)
    items = [
        Item(
            name=_text(item, "name"),
            corners=tuple(_text(item, corner) for corner in CORNERS),
            difficult=_text(item, "difficult") == "1",
            line=int(item.get(LINE, 0)),
        )
        for item in root.findall("object")
    ]
    return Annotation(_size(root), _text(root, "source/database"), items, "\ufffd" in text)


def _decoded(content: bytes, span: Span) -> str:
    """Return the text of an XML file."""
    declared = ENCODING.match(content)
    if not declared:
        return decode(content)[0]
    encoding = declared[1].decode()
    try:
        return content.decode(encoding, "replace").removeprefix("\ufeff")
    except LookupError:
        hint = "save it as UTF-8"
        raise DataError(f"unknown encoding '{encoding}'", span=span, hint=hint) from None


def _text(element: Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _size(annotation: Element) -> tuple[int, int] | None:
    with suppress(ValueError):
        return int(_text(annotation, "size/height")), int(_text(annotation, "size/width"))
    return None


def _labels(
    annotation: Annotation, path: Path, index: dict[str, int], builder: DatasetBuilder
) -> Iterable[Label]:
    """Yield the boxes. PASCAL's own files count pixels from 1; all others are read from 0."""
    first = float(bool(PASCAL_DATABASE.search(annotation.database)))
    for item in annotation.items:
        span = Span(str(path), item.line)
        if item.name not in index:
            builder.count_unknown_class(f"'{item.name}'", span)
            continue
        try:
            x1, y1, x2, y2 = map(float, item.corners)
        except ValueError:
            builder.count_defect(MALFORMED, span)
            continue
        box = (x1 - first, y1 - first, x2, y2)
        yield Label(box, index[item.name], span, item.difficult)


def collect_names(paths: Iterable[Path]) -> tuple[str, ...]:
    """Return the class names in all files, sorted, as PASCAL orders them."""
    found: set[str] = set()
    for path in paths:
        with suppress(DataError):  # counted when its split is read
            found |= {item.name for item in sources.parse_once(path, read_annotation).items}
    return tuple(sorted(found - {""}))


FOLDERS = ("annotations", "Annotations", "labels")
FORMAT = LabelFormat(".xml", FOLDERS, add_pictures, collect_names)
