"""The metadata and the input shape of an ONNX file, read without a library.

OpenCV reads ONNX files but gives neither of them, onnxruntime gives them only after the dynamic
axes have been fixed, and the `onnx` package is installed only where files are exported. An ONNX
file is a protocol buffer: a message is a list of fields, each with a number and a value, which may
be a message too. Fields that are not needed are skipped, so the file is not loaded into memory.
Source: onnx/onnx onnx/onnx.proto (the numbers of the fields); Protocol Buffers, Encoding.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ghostyolo.errors import DataError, Span
from ghostyolo.network import metadata
from ghostyolo.runtime.backend import FileInfo

# ModelProto.graph and .metadata_props, GraphProto.input
_GRAPH, _PROPERTIES, _INPUT = 7, 14, 11
# The fields that lead from a ValueInfoProto to the axes of its shape:
# type, tensor_type, shape, dim
_DIMS = (2, 1, 2, 1)


def read(path: Path) -> FileInfo:
    """Read a file. Raises `DataError` if it is not ONNX, or was not exported by this program."""
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
    """Return the shape that a ValueInfoProto at this place holds."""
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

    Raises ValueError or IndexError for bytes that are not a message.
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
