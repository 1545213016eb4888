"""The content of a COCO file, of which its reader needs a small part.

msgspec makes objects only of the keys that are used: the file of train2017, 508 MB, takes it 1.7 s
and 850 MB, json 22 s and 3.4 GB.
"""

from __future__ import annotations

import codecs
import json
import re
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ghostyolo import files
from ghostyolo.data import sources
from ghostyolo.data.class_names import encodable
from ghostyolo.data.paths import read_text
from ghostyolo.errors import DataError, Span

R = TypeVar("R", "Picture", "Annotation")

LISTS = ("images", "annotations", "categories")
WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}")
MOST_BYTES = 8 << 30


class Picture(msgspec.Struct, gc=False):
    """An entry of the list images. Its values may be anything, None if they are missing."""

    id: Any = None
    file_name: Any = None
    height: Any = None
    width: Any = None


class Annotation(msgspec.Struct, gc=False):
    """An entry of the list annotations. Its values may be anything, None if they are missing."""

    id: Any = None
    image_id: Any = None
    category_id: Any = None
    bbox: Any = None
    iscrowd: Any = None


class Content(msgspec.Struct):
    """The lists of a file; None takes the place of a picture or an annotation that is no object."""

    images: list[Picture | None]
    annotations: list[Annotation | None]
    categories: list[Any]


def read_content(path: Path) -> Content:
    """Return what a file holds; only categories are checked."""
    span, content = Span(str(path)), decoded(path) or parsed(path)
    known: dict[str, Any] = {}
    for i, record in enumerate(content.categories):
        if problem := _category_problem(record, known):
            raise DataError(f"categories[{i}]: {problem}", span=span, hint="repair it")
        known[key_of(record["id"])] = record["name"]
    for record in content.categories:
        record["name"] = encodable(str(record["name"]))
    return content


def decoded(path: Path) -> Content | None:
    """Return what a file of strict JSON in UTF-8 holds, None if `parsed` has to read it."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        data = memoryview(sources.read(path, MOST_BYTES))
        for place in range(0, len(data), files.CHUNK):  # msgspec does not look at what it skips
            decoder.decode(data[place : place + files.CHUNK])
        return msgspec.json.decode(data, type=Content)
    except (OSError, ValueError, RecursionError, msgspec.MsgspecError):
        return None


def parsed(path: Path) -> Content:
    """Return what a file holds that has numbers such as NaN, or is in another encoding.

    Raises DataError if it is not JSON, or not COCO's.
    """
    span, text = Span(str(path)), read_text(path, MOST_BYTES)
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        place = Span(str(path), error.lineno)
        raise DataError(f"not JSON: {error.msg}", span=place, hint="repair it") from error
    except (ValueError, RecursionError) as error:  # such as numbers of thousands of digits
        reason = str(error).partition(";")[0]
        raise DataError(f"not JSON: {reason}", span=span, hint="repair it") from error
    if not isinstance(content, dict) or not all(isinstance(content.get(n), list) for n in LISTS):
        raise DataError("not COCO's", span=span, hint=f"it needs the lists {', '.join(LISTS)}")
    images, annotations, categories = (content[name] for name in LISTS)
    return Content(
        [_filled(Picture, each) for each in images],
        [_filled(Annotation, each) for each in annotations],
        categories,
    )


def _filled(kind: type[R], record: Any) -> R | None:
    """Return an entry of a list, None if it is no object."""
    if not isinstance(record, dict):
        return None
    return kind(**{name: record.get(name) for name in kind.__struct_fields__})


def _category_problem(record: Any, known: Mapping[str, Any]) -> str:
    """Return what is wrong with a category, "" if nothing is. known: names by id before it."""
    if not isinstance(record, dict):
        return f"{reprlib.repr(record)} is no object"
    for key in ("id", "name"):
        if key not in record:
            return f"it has no {key}"
    own, name = key_of(record["id"]), record["name"]
    if not WHOLE_NUMBER.fullmatch(own):
        return f"id {reprlib.repr(record['id'])} is not a whole number"
    if isinstance(name, bool) or not isinstance(name, str | int | float):
        return f"name {reprlib.repr(name)} is no text"
    if known.get(own, name) != name:
        return f"id {own} is that of another category"
    return ""


def key_of(value: Any) -> str:
    """Return an id as text, the same for 7, 7.0 and "7"; "" if it is no id."""
    if type(value) is int:
        return str(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
