"""What an ONNX file says about itself, read without a library: metadata and its input's shape.

A file is a protocol buffer: fields of a number and a value, one after the other, messages within
messages. Here the few fields that matter are picked out and all others skipped, so that a file of
any size costs next to nothing.
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
# the way from a ValueInfoProto to its sides: type, tensor_type, shape, dim
_DIMS = (2, 1, 2, 1)


class Header(NamedTuple):
    """The metadata of a file, and the sides of its input; a word is a side that is left open."""

    metadata: Metadata
    sides: tuple[int | str, ...]


def read(path: Path) -> Header:
    """Return what a file says. Raises `DataError` if it is none, or was not exported here."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            properties, sides = _parsed(data)
    except OSError as error:
        message, hint = f"cannot read it: {error.strerror}", "give the path of an exported file"
        raise DataError(message, span=Span(str(path)), hint=hint) from None
    except (ValueError, IndexError):
        hint = "export it again"
        raise DataError("is not an ONNX file", span=Span(str(path)), hint=hint) from None
    return Header(metadata.read(properties, str(path)), sides)


def _parsed(data: Any) -> tuple[dict[str, str], tuple[int | str, ...]]:
    properties, inputs = {}, list[Any]()
    for number, value in _fields(data, 0, len(data)):
        if number == _PROPERTIES:
            entry = {key: bytes(data[slice(*text)]).decode() for key, text in _inside(data, value)}
            properties[entry[1]] = entry.get(2, "")
        elif number == _GRAPH:
            inputs += [place for key, place in _inside(data, value) if key == _INPUT]
    return properties, _sides(data, inputs[0]) if len(inputs) == 1 else ()


def _sides(data: Any, place: Any) -> tuple[int | str, ...]:
    """Return the shape in a ValueInfoProto."""
    places = [place]
    for wanted in _DIMS:
        places = [v for at in places for key, v in _inside(data, at) if key == wanted]
    sides: list[int | str] = []
    for dim in places:
        found = dict(_inside(data, dim))  # 1: a number, 2: a word
        word = found.get(2)
        sides.append(bytes(data[slice(*word)]).decode() if word else found.get(1, ""))
    return tuple(sides)


def _inside(data: Any, place: Any) -> Iterator[tuple[int, Any]]:
    return _fields(data, *place)


def _fields(data: Any, at: int, end: int) -> Iterator[tuple[int, Any]]:
    """Yield number and value of each field: an integer, or where the bytes of it begin and end.

    Raises ValueError or IndexError for what is no message.
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
