"""Read pictures from files as RGB, and make them inputs of networks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

import cv2
import numpy as np

from ghostyolo.data.header import (
    SIDEWAYS,
    Header,
    Size,
    header_size,
    is_plain_jpeg,
    overlong_chunk,
    read_header,
)
from ghostyolo.data.paths import cannot_read
from ghostyolo.errors import DataError, Span
from ghostyolo.files import opened, replace

MAX_PIXELS = 2**28  # 768 MB of RGB; a header that states more is hostile or wrong
JPEG = b"\xff\xd8"  # what its files begin with
START = 4096  # bytes of a file; most headers are shorter
GREY = 0.5  # the border that Darknet's letterbox leaves around a picture
# How OpenCV is told to let libjpeg write RGB, with the sides divided by a factor.
AS_RGB = {
    1: cv2.IMREAD_COLOR_RGB,
    2: cv2.IMREAD_COLOR_RGB | cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_COLOR_RGB | cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_COLOR_RGB | cv2.IMREAD_REDUCED_GRAYSCALE_8,
}


def read_image(path: str | Path) -> np.ndarray:
    """Read a picture as uint8 RGB (H, W, 3), upright by its EXIF orientation.

    Grey, palette, 16-bit and CMYK pictures become 8-bit RGB; transparency is dropped.

    Raises DataError if the file is no picture, is truncated, or has more than 2**28 pixels.

    >>> ghostyolo.read_image("dog.jpg").shape
    (96, 128, 3)
    """
    return inspect_image(path)[0]


def inspect_image(path: str | Path, factor: int = 1) -> tuple[np.ndarray, Size, list[str]]:
    """Read a picture, see `read_image`; return its size (h, w) and the defects that were repaired.

    factor: 1, 2, 4 or 8, by which the sides of the returned picture are divided, rounded up: each
    of its pixels is the mean of factor x factor. libjpeg does that while it decodes, in less time,
    others are decoded whole first. The size is that of the whole picture.
    """
    with _opened(path) as file:
        return _decode(file.read(), path, factor)


def decode_image(data: bytes, name: str | Path) -> np.ndarray:
    """Decode the bytes of a picture file, see `read_image`. name: for error messages."""
    return _decode(data, name)[0]


def _decode(data: bytes, name: str | Path, factor: int = 1) -> tuple[np.ndarray, Size, list[str]]:
    header, span = read_header(BytesIO(data)), Span(str(name))
    _check_size(header and header.upright, span)
    if damage := overlong_chunk(data):
        hint = "replace it, or save it again"
        raise DataError(f"not a picture, or truncated: {damage}", span=span, hint=hint)
    scaled = factor if header and data.startswith(JPEG) else 1
    try:
        image = _rgb(data, scaled)
    except cv2.error as error:  # an empty file, or more pixels than OpenCV allows
        reason = error.err if data else "it is empty"
        if error.code == cv2.Error.STS_NO_MEM:
            message, hint = f"memory ran out: {reason}", "give a smaller one, or free some memory"
            raise DataError(message, span=span, hint=hint) from error
        raise DataError(f"not a picture: {reason}", span=span, hint="replace the file") from error
    if image is None and data[4:8] == b"ftyp":
        message, hint = "HEIC or AVIF, which this OpenCV does not read", "save it as JPEG or PNG"
        raise DataError(message, span=span, hint=hint)
    if image is None:
        hint = "replace it, or save it again as JPEG or PNG"
        raise DataError(f"not a picture, or truncated ({len(data)} bytes)", span=span, hint=hint)
    _check_size(image.shape[:2], span)
    size = header.upright if header and scaled > 1 else image.shape[:2]
    return _mean(image, factor // scaled), size, header.repaired if header else []


def _mean(image: np.ndarray, factor: int) -> np.ndarray:
    """Return a picture in which each pixel is the mean of factor x factor."""
    if factor == 1:
        return image
    h, w = image.shape[:2]
    whole = cv2.copyMakeBorder(image, 0, -h % factor, 0, -w % factor, cv2.BORDER_REPLICATE)
    sides = whole.shape[1] // factor, whole.shape[0] // factor
    return cv2.resize(whole, sides, interpolation=cv2.INTER_AREA)


def _rgb(data: bytes, factor: int = 1) -> np.ndarray | None:
    """Decode the bytes of a picture file as uint8 RGB (H, W, 3); None if OpenCV cannot.

    factor: of a JPEG, see `inspect_image`.

    libjpeg writes RGB itself, which makes a JPEG of 480x640 a quarter cheaper. OpenCV ignores the
    flag in some formats, such as AVIF with transparency.
    """
    buffer = np.frombuffer(data, np.uint8)
    if data.startswith(JPEG):
        return cv2.imdecode(buffer, AS_RGB[factor])
    image = cv2.imdecode(buffer, cv2.IMREAD_COLOR)
    return image if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def encode_image(image: np.ndarray, path: str | Path) -> bytes:
    """Return a picture, uint8 RGB (H, W, 3), as a file in the format of the path's suffix.

    Raises DataError for a format that OpenCV does not write.
    """
    try:
        _, data = cv2.imencode(Path(path).suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    except cv2.error:
        hint = "give pictures with a suffix such as .jpg or .png"
        raise DataError("cannot be written", span=Span(str(path)), hint=hint) from None
    return data.tobytes()


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write a picture, see `encode_image`. Raises OptionError if the file cannot be written."""
    replace(path, [encode_image(image, path)])


def picture_size(path: str | Path) -> Size:
    """Return (h, w) of the picture as `read_image` returns it, from its header if that states it.

    Raises DataError as `read_image` does.
    """
    with _opened(path) as file:
        size = header_size(file)
    if size is None:
        return read_image(path).shape[:2]
    _check_size(size, Span(str(path)))
    return size


def sideways(path: str | Path) -> Header | None:
    """Return the header of a picture that its EXIF orientation turns by 90 degrees, else None.

    Most pictures are JPEGs without EXIF, for which the first bytes suffice.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            if is_plain_jpeg(os.read(descriptor, START)):
                return None
        finally:
            os.close(descriptor)
    except (OSError, ValueError):
        return None
    try:
        with _opened(path) as file:
            header = read_header(file)
    except DataError:
        return None
    return header if header and header.orientation in SIDEWAYS else None


class Placement(NamedTuple):
    """Where a picture lies in a network's input: resized to `inner`, in a grey border.

    source, target, inner: (h, w) of the picture, of the input, and of the resized picture. Darknet
    rounds the border above and on the left down to whole pixels, but corrects boxes by its exact
    size: with an odd border boxes are half an input pixel off, here too.
    Source: AlexeyAB/darknet src/yolo_layer.c, correct_yolo_boxes.
    """

    source: Size
    target: Size
    inner: Size

    @classmethod
    def of(cls, source: Size, target: Size, letterbox: bool) -> Placement:
        """Return where a picture of size `source` lies in an input of size `target`.

        letterbox: keep the aspect ratio, rather than stretch the picture.

        Source: AlexeyAB/darknet src/image.c, letterbox_image (sides by integer division).
        """
        (h, w), (net_h, net_w) = source, target
        inner = target
        if letterbox and net_w / w < net_h / h:
            inner = max(1, h * net_w // w), net_w
        elif letterbox:
            inner = net_h, max(1, w * net_h // h)
        return cls(source, target, inner)

    def to_input(self, boxes_xyxy_px: np.ndarray) -> np.ndarray:
        """Map boxes (n, 4) from pixels of the picture to pixels of the network's input."""
        source, target, inner = (np.array(size[::-1] * 2, float) for size in self)
        return boxes_xyxy_px * (inner / source) + (target - inner) / 2

    def to_source(self, boxes_xyxy_px: np.ndarray) -> np.ndarray:
        """Map boxes (n, 4) from pixels of the network's input to pixels of the picture."""
        source, target, inner = (np.array(size[::-1] * 2, float) for size in self)
        return ((boxes_xyxy_px - (target - inner) / 2) / (inner / source)).astype(np.float32)


def grey(image: np.ndarray) -> np.ndarray:
    """Return a picture (h, w, 3) as shades of grey, of the same shape.

    Source: ITU-R BT.601 luma, by which OpenCV reads pictures for Darknet's networks of one channel.
    """
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def preprocess(
    image: np.ndarray,
    size: Size,
    letterbox: bool,
    out: np.ndarray | None = None,
    channels: int = 3,
) -> tuple[np.ndarray, Placement]:
    """Make a picture the input of a network of `size` (h, w).

    image: uint8 RGB (H, W, 3). channels: 3, or 1 for grey; that of `out` if it is given. Returns
    float32 (channels, h, w) in [0, 1], which is `out` or contiguous, and where the picture lies in
    it. Pictures are resized by OpenCV's
    INTER_LINEAR on bytes (half-pixel centres), as in the training of a Darknet built with OpenCV;
    Darknet's own resize aligns corners instead.
    """
    placement = Placement.of(image.shape[:2], size, letterbox)
    h, w = placement.inner
    resized = cv2.resize(image, (w, h), interpolation=cv2.INTER_LINEAR)
    top, left = (size[0] - h) // 2, (size[1] - w) // 2
    planes = np.empty((channels, *size), np.float32) if out is None else out
    if placement.inner != size:
        planes.fill(GREY)
    to_planes(resized, planes[:, top : top + h, left : left + w])
    return planes, placement


def to_planes(image: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Turn bytes (h, w, 3) into float32 (3, h, w) in [0, 1], contiguous, or fill `out` if given.

    An `out` of one plane gets shades of grey.
    A uint8 `out` gets the bytes unchanged. An `out` with the channels last in memory is fastest.
    """
    if out is None:
        out = np.empty((3, *image.shape[:2]), np.float32)
    if len(out) == 1:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]
    if out.strides[0] == out.itemsize:
        _scale(image.transpose(2, 0, 1), out)
    elif out.dtype == np.uint8 and len(out) > 1:
        cv2.split(image, list(out))
    else:
        for plane, channel in zip(out, cv2.split(image), strict=True):
            _scale(channel, plane)  # one after the other, each fits into a core's cache
    return out


def _scale(levels: np.ndarray, out: np.ndarray) -> None:
    """Copy levels of 0..255, as fractions of 255 if `out` is of floats."""
    out[...] = levels
    if out.dtype != np.uint8:
        np.divide(out, np.float32(255), out=out)


@contextmanager
def _opened(path: str | Path) -> Iterator[BinaryIO]:
    try:
        with opened(path) as file:
            yield file
    except OSError as error:
        raise cannot_read(path, error, "the picture") from error


def _check_size(size: Size | None, span: Span) -> None:
    """Raise DataError if a picture has more than `MAX_PIXELS`."""
    if size and size[0] * size[1] > MAX_PIXELS:
        stated = f"{size[1]}x{size[0]} pixels, more than {MAX_PIXELS}"
        raise DataError(stated, span=span, hint="scale the picture down")
