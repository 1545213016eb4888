"""Darknet's `.weights` file: its header, and the order of its tensors.

The tensors follow the header in the order of the sections. This module checks a
file's length against a network and loads neither numpy nor torch; `ghostyolo.model.weights` reads
and writes the tensors.
Source: AlexeyAB/darknet src/parser.c save_weights_upto, load_weights_upto.
"""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

from ghostyolo import files
from ghostyolo.errors import Span, WeightsError
from ghostyolo.layers import count
from ghostyolo.network import Network, Node, run_record

VERSION = (0, 2, 5)  # what AlexeyAB/darknet writes
Item = tuple[Node, str, tuple[int, ...]]  # a stored tensor: its node, name and shape
DIVERGED = (
    "the training has diverged; use weights from before, and train with a lower learning rate"
)
_TRANSPOSED = 1000  # above this major or minor version, [connected] weights are (inputs, outputs)


@dataclass(frozen=True)
class Header:
    """The version of the file, and the number of pictures seen in training."""

    major: int = VERSION[0]
    minor: int = VERSION[1]
    revision: int = VERSION[2]
    seen: int = 0

    @property
    def wide(self) -> bool:
        """Return whether `seen` takes eight bytes; it took four before version 0.2."""
        return self.major * 10 + self.minor >= 2

    @property
    def transposed(self) -> bool:
        """Return whether the matrices of `[connected]` are stored as (inputs, outputs)."""
        return self.major > _TRANSPOSED or self.minor > _TRANSPOSED

    @property
    def size(self) -> int:
        """Return the header's length in bytes."""
        return 20 if self.wide else 16

    def pack(self) -> bytes:
        """Return the bytes of the header."""
        kind = "<iiiQ" if self.wide else "<iiiI"
        return struct.pack(kind, self.major, self.minor, self.revision, self.seen)


class Contents(NamedTuple):
    """The header of a file, and its tensors in their order."""

    header: Header
    items: list[Item]


def file_size(network: Network) -> int:
    """Return the size in bytes of the `.weights` file of a network."""
    return Header().size + 4 * sum(count(stored(network, node)) for node in network)


def stored(network: Network, node: Node) -> list[tuple[str, tuple[int, ...]]]:
    """Return name and shape of a node's stored tensors; shared weights are stored once."""
    if node.shares_with is not None:
        return []
    return node.layer.weights(*network.input_shapes(node))


def cutoff_of(path: str | os.PathLike[str]) -> int | None:
    """Return N for the name of a partial file, `x.conv.N`, which holds the first N layers."""
    match = re.search(r"\.conv\.(\d{1,9})$", str(path))
    return int(match[1]) if match else None


def inspect(
    path: str | os.PathLike[str], network: Network, *, partial: bool | None = None
) -> Contents:
    """Find a network's tensors in a file.

    partial: whether the file may end after any layer; by default whether its name says so, see
    `cutoff_of`.
    Raises `WeightsError` if it has changed since a training run wrote it, see `run_record`, or is
    not a `.weights` file, too long, or too short; the message then names the layer at which it
    ends.
    """
    run_record.check(path)
    header, floats = _measure(path)
    items = [
        (node, name, shape)
        for node in network
        if node.shares_with is None
        for name, shape in node.layer.weights_to_load(*network.input_shapes(node))
    ]
    if partial or (partial is None and cutoff_of(path) is not None):
        items = _whole_layers(items, floats)
    whole = [(node, name, shape) for node in network for name, shape in stored(network, node)]
    if len(items) < len(whole) and floats == _floats(whole):
        items = whole  # written after training, without regard to dontload and dontloadscales
    _check_length(path, header, items, floats)
    return Contents(header, items)


def not_finite(path: str | os.PathLike[str], contents: Contents) -> str:
    """Return which tensor of a file has values that are NaN or infinite, and how many; "" if none.

    If several have, the first is named.
    """
    found = []
    with files.opened(path) as file:
        file.seek(contents.header.size)
        for node, name, shape in contents.items:
            if count := _count_not_finite(file.read(4 * prod(shape))):
                place = f"layer {node.index} [{node.layer.kind}] {name}"
                found.append(f"{place} has {count} of {prod(shape)} values that are not finite")
    others = f", and {len(found) - 1} more tensors" if len(found) > 1 else ""
    return found[0] + others if found else ""


def _count_not_finite(content: bytes) -> int:
    """Return how many little-endian floats are NaN or infinite: all bits of the exponent are 1."""
    third, last = content[2::4], content[3::4]
    return sum(third[match.start()] >> 7 for match in re.finditer(rb"[\x7f\xff]", last))


def _measure(path: str | os.PathLike[str]) -> tuple[Header, int]:
    """Return the header of a file and how many floats follow it."""
    span = Span(str(path))
    try:
        size = os.path.getsize(path)
        with files.opened(path) as file:
            start = file.read(64)
    except OSError as error:
        hint = "give the path of a .weights file"
        raise WeightsError(f"cannot read: {error.strerror}", span=span, hint=hint) from None
    what, hint = files.foreign(start)
    if what:
        raise WeightsError(f"is {what}, not a .weights file", span=span, hint=hint)
    header = _header(start) if len(start) >= 16 else None
    if header is None:
        hint = "give a file that Darknet or ghostyolo wrote"
        raise WeightsError("not a .weights file", span=span, hint=hint)
    if (size - header.size) % 4:
        rest = (size - header.size) % 4
        hint = "the copy is damaged; copy or download the file again"
        raise WeightsError(f"{rest} bytes more than a multiple of 4", span=span, hint=hint)
    return header, (size - header.size) // 4


def _header(start: bytes) -> Header | None:
    major, minor, revision = struct.unpack_from("<iii", start)
    if not (0 <= major < 10_000 and 0 <= minor < 10_000):
        return None
    header = Header(major, minor, revision)
    if len(start) < header.size:
        return None
    (seen,) = struct.unpack_from("<Q" if header.wide else "<I", start, 12)
    return Header(major, minor, revision, seen)


def _whole_layers(items: list[Item], have: int) -> list[Item]:
    """Return the items of the complete layers, or all items if the floats end within a layer."""
    total = 0
    for place, (node, _, shape) in enumerate(items):
        if total == have and (place == 0 or items[place - 1][0] is not node):
            return items[:place]
        total += prod(shape)
    return items


def _floats(items: list[Item]) -> int:
    return sum(prod(shape) for _, _, shape in items)


def _other_header(path: str | os.PathLike[str], header: Header, excess: int) -> int:
    """Return the header's real length if it is not that of the version, else 0.

    Then one float is missing or left over, and in place of the upper half of `seen`, which is 0
    below 4 billion pictures, is a float, or the other way round.
    """
    with files.opened(path) as file:
        upper = file.read(20)[16:]
    if header.wide:
        return 16 if excess == -1 and any(upper) else 0
    return 20 if excess == 1 and not any(upper) else 0


def _check_length(
    path: str | os.PathLike[str], header: Header, items: list[Item], have: int
) -> None:
    need = _floats(items)
    if have == need:
        return
    span, hint = Span(str(path)), "use the cfg that these weights were trained with"
    if other := _other_header(path, header, have - need):
        message = (
            f"has a header of {other} bytes, and version {header.major}.{header.minor}, whose "
            f"header has {header.size}"
        )
        hint = "have the program that wrote it write the version right; the cfg fits"
        raise WeightsError(message, span=span, hint=hint)
    if have > need:
        message = f"holds {have} floats, the cfg needs {need}: {have - need} too many"
        raise WeightsError(message, span=span, hint=hint)
    whole = _whole_layers(items, have)
    if 0 < len(whole) < len(items):
        hint += f", or name it *.conv.{whole[-1][0].index + 1} to load these layers alone"
    total = 0
    for node, name, shape in items:
        total += prod(shape)
        if total > have:
            place = f" ({node.span})" if node.span else ""
            message = (
                f"holds {have} floats, the cfg needs {need}: it ends in layer {node.index} "
                f"[{node.layer.kind}] {name}{place}"
            )
            raise WeightsError(message, span=span, hint=hint)
