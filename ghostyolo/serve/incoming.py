"""Read the picture and the options of an HTTP request, within limits."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from ghostyolo.data.header import header_size
from ghostyolo.data.images import decode_image
from ghostyolo.errors import DataError
from ghostyolo.serve.tasks import RANGES, Options

MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM")  # JPEG, PNG, BMP: see `header_size`
DRAINED = 2**26  # bytes at most that are read after an error
FORM_FIELDS, FORM_BYTES = 8, 1024  # largest number of form fields, and bytes of each


@dataclass(frozen=True)
class Limits:
    """The limits of a server.

    requests: number that are received, waiting or computed at the same time. bytes, pixels: of one
    picture. seconds: for the body of a request to arrive. head: seconds for the head of a request
    to arrive, and for a client to read an answer. batch: largest batch size.
    """

    requests: int = 32
    bytes: int = 2**24
    pixels: int = 2**25
    seconds: float = 20.0
    head: float = 10.0
    batch: int = 8


class RequestError(Exception):
    """An error of a request: HTTP status, message, and hint."""

    def __init__(self, status: int, message: str, hint: str) -> None:
        super().__init__(message)
        self.status, self.message, self.hint = status, message, hint


async def receive(
    request: Request, body: AsyncGenerator[bytes, None], limit: int
) -> tuple[bytes, dict[str, str]]:
    """Return the bytes of the picture and the options of the query and the form.

    body: the chunks of the request's body. Raises `RequestError` with 400, 413 or 422.
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
        raise RequestError(422, "an option is given twice", "give each option once")
    return data, options


async def drain(body: AsyncGenerator[bytes, None]) -> None:
    """Read the rest of a refused request, up to `DRAINED`.

    Some clients read the answer only after they have sent the whole request.
    """
    seen = 0
    async for chunk in body:
        seen += len(chunk)
        if seen > DRAINED:
            return


def request_options(given: Mapping[str, str], defaults: Options) -> Options:
    """Return the options of a request. Raises `RequestError` with 422."""
    for name in given:
        if name not in defaults._fields:
            hint = f"use {' and '.join(defaults._fields)}"
            raise RequestError(422, f"unknown option '{name[:40]}'", hint)
    kinds = {name: type(value) for name, value in defaults._asdict().items()}
    values: Any = {name: _number(name, text, kinds[name]) for name, text in given.items()}
    return defaults._replace(**values)


def picture(data: bytes, pixels: int) -> np.ndarray:
    """Return the picture, uint8 RGB (H, W, 3). Its size is checked in the header before decoding.

    Raises `RequestError` with 400, 413 or 415.
    """
    if not data:
        raise RequestError(400, "no picture", "send a file as the body or as a part of a form")
    if not data.startswith(MAGIC):
        raise RequestError(415, "not a JPEG, PNG or BMP file", "convert it to one of these")
    size, hint = header_size(BytesIO(data)), "save it again"
    if size is None or min(size) < 1:
        raise RequestError(400, "damaged: its header holds no size", hint)
    if size[0] * size[1] > pixels:
        message = f"{size[1]}x{size[0]} pixels, more than {pixels:,}"
        raise RequestError(413, message, "scale the picture down")
    try:
        return decode_image(data, "picture")
    except DataError as error:
        raise RequestError(400, error.diagnostic.message, hint) from None


async def _form(
    request: Request, chunks: AsyncGenerator[bytes, None]
) -> tuple[bytes, list[tuple[str, str]]]:
    """Return the file of a form, and its fields. Raises `RequestError` with 400."""
    hint = "send one picture as a part with a file name"
    parser = MultiPartParser(
        request.headers, chunks, max_files=1, max_fields=FORM_FIELDS, max_part_size=FORM_BYTES
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise RequestError(400, f"malformed form: {error.message}", hint) from None
    try:
        data, fields = None, []
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                data = await value.read()
            else:
                fields.append((name, value))
        if data is None:
            raise RequestError(400, "no picture in the form", hint)
        return data, fields
    finally:
        await form.close()


async def _bounded(body: AsyncGenerator[bytes, None], limit: int) -> AsyncGenerator[bytes, None]:
    """Yield the chunks of a body. Raises `RequestError` with 413 for more bytes than the limit."""
    seen = 0
    async for chunk in body:
        seen += len(chunk)
        if seen > limit:
            raise _too_large(limit)
        yield chunk


def _too_large(limit: int) -> RequestError:
    return RequestError(413, f"more than {limit / 1e6:.1f} MB", "send a smaller file")


def _number(name: str, text: str, kind: type[float] | type[int]) -> float:
    """Return the value of an option within its range."""
    least, most = RANGES[name]
    try:
        value = kind(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise RequestError(422, f"{name}={text[:40]}", f"give a number from {least:g} to {most:g}")
    return value
