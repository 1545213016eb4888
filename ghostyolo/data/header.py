"""The size of a picture from the first bytes of its file, without decoding it.

Knows JPEG, PNG and BMP, and the EXIF orientation of the first two, since `read_image` turns such
pictures upright. Sources: ITU-T T.81 annex B, the PNG specification parts 5 and 11, EXIF 2.3 4.6.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

Size = tuple[int, int]

FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # SOF markers; the three others are tables
ORIENTATION = 0x0112
SIDEWAYS = range(5, 9)  # orientations that swap height and width
MAX_CHUNKS = 100_000  # a file of more is hostile


def stated_size(file: BinaryIO) -> Size | None:
    """Return (h, w) of the upright picture as the file's header states it, None if it does not."""
    try:
        magic = file.read(8)
        if magic.startswith(b"\xff\xd8"):
            return _jpeg(file)
        if magic == b"\x89PNG\r\n\x1a\n":
            return _png(file)
        return _bmp(file) if magic.startswith(b"BM") else None
    except struct.error:  # the file ends too early
        return None


def _jpeg(file: BinaryIO) -> Size | None:
    file.seek(2)
    sideways = False
    while True:
        (byte,) = _unpack(file, "B")
        if byte != 0xFF:
            return None
        while byte == 0xFF:  # any number of fill bytes may stand before a marker
            (byte,) = _unpack(file, "B")
        if byte in (0xD9, 0xDA):  # the data begins, or the file ends, before any frame
            return None
        (length,) = _unpack(file, ">H")
        if byte in FRAMES:
            _, h, w = _unpack(file, ">BHH")
            return (w, h) if sideways else (h, w)
        payload = file.read(max(length - 2, 0))
        if byte == 0xE1 and payload.startswith(b"Exif\0\0"):
            sideways = _orientation(payload[6:]) in SIDEWAYS


def _png(file: BinaryIO) -> Size | None:
    _, w, h = _unpack(file, ">8sII")
    file.seek(33)
    for _ in range(MAX_CHUNKS):
        length, kind = _unpack(file, ">I4s")
        if kind == b"IEND":
            break
        if kind == b"eXIf" and _orientation(file.read(length)) in SIDEWAYS:
            return w, h
        file.seek(length + 4 if kind != b"eXIf" else 4, 1)
    return h, w


def _bmp(file: BinaryIO) -> Size:
    file.seek(18)
    w, h = _unpack(file, "<ii")
    return abs(h), w  # a negative height means that the rows go down


def _orientation(tiff: bytes) -> int:
    """Return the orientation that an EXIF block states, 1 (upright) if it states none."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (offset,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, offset)
        for entry in range(offset + 2, offset + 2 + 12 * count, 12):
            tag, _, _, value = struct.unpack_from(order + "HHIH", tiff, entry)
            if tag == ORIENTATION:
                return int(value)
    except struct.error:  # a damaged block says nothing
        pass
    return 1


def _unpack(file: BinaryIO, layout: str) -> tuple[int, ...]:
    return struct.unpack(layout, file.read(struct.calcsize(layout)))
