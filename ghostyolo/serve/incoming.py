"""From an HTTP request to a picture and what is asked of it, or the reason why not."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from ghostyolo.data.header import header_size
from ghostyolo.data.images import decode_image
from ghostyolo.errors import DataError
from ghostyolo.serve.batcher import Choice

MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM")  # of what `header_size` knows
LEAST_THRESH = 0.01  # below, an untrained network's boxes would hold up everybody else
DRAINED = 2**26  # bytes that are read on after a refusal, so that the client hears of it
FORM_FIELDS, FORM_BYTES = 8, 1024  # what a form may hold beside the picture


@dataclass(frozen=True)
class Limits:
    """What a server takes. places: requests at once, being received, waiting or computed.

    bytes, pixels: of one picture. seconds: in which a request has to have arrived. batch: pictures
    computed at once.
    """

    places: int = 32
    bytes: int = 2**24
    pixels: int = 2**25
    seconds: float = 20.0
    batch: int = 8


class Refused(Exception):
    """A request that is not served: the status, the reason, and what to do about it."""

    def __init__(self, status: int, message: str, hint: str) -> None:
        super().__init__(message)
        self.status, self.message, self.hint = status, message, hint


async def receive(
    request: Request, body: AsyncGenerator[bytes, None], limit: int
) -> tuple[bytes, dict[str, str]]:
    """Return the bytes of the picture and the options of the query and the form.

    body: the chunks of the request's body. Raises `Refused` with 400, 413 or 422.
    """
    given = list(request.query_params.multi_items())
    stated = request.headers.get("content-length", "0")
    if stated.isdecimal() and int(stated) > limit + FORM_FIELDS * FORM_BYTES:
        raise _too_large(limit)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        data, fields = await _form(request, _bounded(body, limit + FORM_FIELDS * FORM_BYTES))
        given += fields
    else:
        data = b"".join([chunk async for chunk in _bounded(body, limit)])
    if len(data) > limit:
        raise _too_large(limit)
    options = dict(given)
    if len(options) < len(given):
        raise Refused(422, "an option is given twice", "give each option once")
    return data, options


async def drain(body: AsyncGenerator[bytes, None]) -> None:
    """Read what else a refused client sends, within bounds: some hear no answer before."""
    seen = 0
    async for chunk in body:
        seen += len(chunk)
        if seen > DRAINED:
            return


def choice(options: Mapping[str, str], default: Choice) -> Choice:
    """Return what a request asks. Raises `Refused` with 422."""
    for name in options:
        if name not in Choice._fields:
            raise Refused(422, f"unknown option '{name[:40]}'", "use thresh and nms")
    least = {"thresh": LEAST_THRESH, "nms": 0.0}
    values = {name: _share(name, text, least[name]) for name, text in options.items()}
    return default._replace(**values)


def picture(data: bytes, pixels: int) -> np.ndarray:
    """Return the picture, uint8 RGB (H, W, 3), once its header has stated a size within bounds.

    Raises `Refused` with 400, 413 or 415.
    """
    if not data:
        raise Refused(400, "no picture", "send a file as the body or as a part of a form")
    if not data.startswith(MAGIC):
        raise Refused(415, "not a JPEG, PNG or BMP file", "convert it to one of these")
    size, hint = header_size(BytesIO(data)), "save it again"
    if size is None or min(size) < 1:
        raise Refused(400, "damaged: its header states no size", hint)
    if size[0] * size[1] > pixels:
        message = f"{size[1]}x{size[0]} pixels, more than {pixels:,}"
        raise Refused(413, message, "scale the picture down")
    try:
        return decode_image(data, "picture")
    except DataError as error:
        raise Refused(400, error.diagnostic.message, hint) from None


async def _form(
    request: Request, chunks: AsyncGenerator[bytes, None]
) -> tuple[bytes, list[tuple[str, str]]]:
    """Return the one file of a form, and its fields."""
    hint = "send one picture as a part with a file name"
    parser = MultiPartParser(
        request.headers, chunks, max_files=1, max_fields=FORM_FIELDS, max_part_size=FORM_BYTES
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Refused(400, f"malformed form: {error.message}", hint) from None
    try:
        data, fields = None, []
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                data = await value.read()
            else:
                fields.append((name, value))
        if data is None:
            raise Refused(400, "no picture in the form", hint)
        return data, fields
    finally:
        await form.close()


async def _bounded(body: AsyncGenerator[bytes, None], limit: int) -> AsyncGenerator[bytes, None]:
    """Yield the chunks of a body. Raises `Refused` with 413 once they are too many bytes."""
    seen = 0
    async for chunk in body:
        seen += len(chunk)
        if seen > limit:
            raise _too_large(limit)
        yield chunk


def _too_large(limit: int) -> Refused:
    return Refused(413, f"more than {limit / 1e6:.1f} MB", "send a smaller file")


def _share(name: str, text: str, least: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= 1:
        raise Refused(422, f"{name}={text[:40]}", f"give a number from {least:g} to 1")
    return value
