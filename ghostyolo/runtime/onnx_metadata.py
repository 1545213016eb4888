"""The metadata and the input's shape of an ONNX file, read without a library.

OpenCV reads ONNX files and tells neither, onnxruntime tells them only of a session whose open sides
are already fixed, and the `onnx` package is needed to export alone. A file is a protocol buffer:
fields of a number and a value, messages within messages. The few fields that matter are read and
all others skipped, so that the size of the file does not matter.
Source: onnx/onnx onnx/onnx.proto (the numbers of the fields); Protocol Buffers, Encoding.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ghostyolo.errors import DataError, Span
from ghostyolo.network import metadata
from ghostyolo.network.metadata import Metadata

# ModelProto.graph and .metadata_props, GraphProto.input
_GRAPH, _PROPERTIES, _INPUT = 7, 14, 11
# the fields from a ValueInfoProto to its sides: type, tensor_type, shape, dim
_DIMS = (2, 1, 2, 1)


class FileInfo(NamedTuple):
    """The metadata of a file, and the sides of its input; a name stands for an open side."""

    metadata: Metadata
    input_sides: tuple[int | str, ...]


def read(path: Path) -> FileInfo:
    """Read a file's. Raises `DataError` for another kind of file, or one not exported here."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            properties, sides = _parsed(data)
    except OSError as error:
        message, hint = f"cannot read it: {error.strerror}", "give the path of an exported file"
        raise DataError(message, span=Span(str(path)), hint=hint) from None
    except (ValueError, IndexError):
        hint = "export it again"
        raise DataError("is not an ONNX file", span=Span(str(path)), hint=hint) from None
    return FileInfo(metadata.read(properties, str(path)), sides)


def _parsed(data: Any) -> tuple[dict[str, str], tuple[int | str, ...]]:
    properties, inputs = {}, list[Any]()
    for number, value in _fields(data, 0, len(data)):
        if number == _PROPERTIES:
            entry = {key: bytes(data[slice(*text)]).decode() for key, text in _fields(data, *value)}
            properties[entry[1]] = entry.get(2, "")
        elif number == _GRAPH:
            inputs += [place for key, place in _fields(data, *value) if key == _INPUT]
    return properties, _sides(data, inputs[0]) if len(inputs) == 1 else ()


def _sides(data: Any, place: Any) -> tuple[int | str, ...]:
    """Return the shape in a ValueInfoProto."""
    places = [place]
    for wanted in _DIMS:
        places = [v for at in places for key, v in _fields(data, *at) if key == wanted]
    sides: list[int | str] = []
    for dim in places:
        found = dict(_fields(data, *dim))  # 1: a number, 2: a name
        name = found.get(2)
        sides.append(bytes(data[slice(*name)]).decode() if name else found.get(1, ""))
    return tuple(sides)


def _fields(data: Any, at: int, end: int) -> Iterator[tuple[int, Any]]:
    """Yield each field of a message: its number, and an integer or the bounds of its bytes.

    Raises ValueError or IndexError for bytes that are no message.
    """
    while at < end:
        tag, at = _varint(data, at)
        wire = tag & 7
        value: Any
        if wire == 0:
            value, at = _varint(data, at)
        elif wire == 2:
            size, at = _varint(data, at)
            value, at = (at, at + size), at + size
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            value, at = (at, at + size), at + size
        else:
            raise ValueError(f"wire type {wire}")
        if at > end:
            raise ValueError("a field reaches beyond its message")
        yield tag >> 3, value


def _varint(data: Any, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
