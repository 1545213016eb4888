"""Pictures as users hold them, a file, an array or one of PIL's, made arrays of uint8 RGB.

Pillow is not needed: its pictures are recognised by their class.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable
from typing import Any, Protocol, TypeAlias

import cv2
import numpy as np

from ghostyolo.data.images import read_image
from ghostyolo.errors import DataError, Span


class PilPicture(Protocol):
    """What is used of a `PIL.Image.Image`."""

    @property
    def mode(self) -> str: ...

    def convert(self, mode: str) -> Any: ...


Picture: TypeAlias = str | os.PathLike[str] | np.ndarray | PilPicture

CHANNELS = (1, 3, 4)
# How to make uint8 of the other kinds of numbers.
REMEDIES = {
    "f": "give uint8 0..255: (picture * 255).round().astype('uint8')",
    "u": "give uint8 0..255: (picture >> 8).astype('uint8')",
    "b": "give uint8 0..255: picture.astype('uint8') * 255",
}
TENSOR = "give uint8 RGB (H, W, 3): (tensor * 255).round().byte().permute(1, 2, 0).cpu().numpy()"
FORMS = "give a path, a uint8 RGB array (H, W, 3) or a PIL picture"


def is_many(pictures: Any) -> bool:
    """Return whether something holds pictures, such as a list, rather than being one."""
    single = isinstance(pictures, str | bytes | os.PathLike | np.ndarray)
    return isinstance(pictures, Iterable) and not single and not _library(pictures)


def as_rgb(picture: Any, index: int | None = None) -> np.ndarray:
    """Return a picture as uint8 RGB (H, W, 3), contiguous, without a copy if it is so already.

    picture: see `Picture`. A PIL picture gives the numbers that its file gives, see `read_image`:
    upright by its EXIF orientation, grey and palette as RGB, without transparency. An array is
    (H, W, 3) RGB, (H, W, 4) RGBA, whose last channel is dropped, or (H, W) or (H, W, 1) grey.
    index: of the picture among several.

    Raises `DataError` with the remedy for anything else, and as `read_image` does. It names the
    index, and the path if the picture has one.
    """
    try:
        return _as_rgb(picture)
    except DataError as error:
        found, path = error.diagnostic, getattr(picture, "filename", "")  # of a PIL picture
        span = found.span or (Span(str(path)) if path else None)
        place = "" if index is None else f"index {index}: "
        raise DataError(f"{place}{found.message}", span=span, hint=found.hint) from None


def _as_rgb(picture: Any) -> np.ndarray:
    if isinstance(picture, str | os.PathLike):
        return read_image(os.fspath(picture))
    if _library(picture) == "PIL":
        picture = _pil_array(picture)
    if not isinstance(picture, np.ndarray):
        what, hint = f"a {type(picture).__name__} is no picture", FORMS
        if picture is None:
            hint += "; OpenCV's imread gives None for a file that it cannot read"
        raise DataError(what, hint=TENSOR if _library(picture) == "torch" else hint)
    if picture.dtype != np.uint8:
        hint = REMEDIES.get(picture.dtype.kind, "give uint8 0..255: picture.astype('uint8')")
        raise DataError(f"{picture.dtype} picture", hint=_unscaled(picture) or hint)
    return np.ascontiguousarray(_three_channels(picture))


def _library(thing: Any) -> str:
    """Return "PIL" or "torch" for a picture or tensor of that library, else "", importing none."""
    homes = {(kind.__module__, kind.__name__) for kind in type(thing).__mro__}
    if ("PIL.Image", "Image") in homes:
        return "PIL"
    return "torch" if ("torch", "Tensor") in homes else ""


def _pil_array(picture: Any) -> np.ndarray:
    """Return a PIL picture as RGB; one of more than 8 bits, which PIL would clip, as it is."""
    try:
        if picture.mode[0] in "IF":
            return np.asarray(picture)
        upright = importlib.import_module("PIL.ImageOps").exif_transpose(picture)
        return np.asarray(upright.convert("RGB"))
    except (ValueError, OSError) as error:  # a mode without a way to RGB, a truncated file
        raise DataError(f"PIL: {error}", hint="give the path of its file") from None


def _unscaled(picture: np.ndarray) -> str:
    """Return the remedy for floats that are not in 0..1, "" for other arrays."""
    if picture.dtype.kind != "f" or not picture.size or picture.max() <= 1:
        return ""
    return "give uint8 0..255: picture.round().astype('uint8')"


def _three_channels(picture: np.ndarray) -> np.ndarray:
    """Return bytes as (H, W, 3). Raises `DataError` for other axes."""
    if picture.ndim == 3 and picture.size and picture.shape[2] in CHANNELS[1:]:
        return picture[..., :3]
    if picture.size and (picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 1)):
        return cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_GRAY2RGB)
    hint = "give (H, W, 3) or (H, W)"
    if picture.ndim == 3 and picture.shape[0] in CHANNELS:
        hint = "give the channels last: picture.transpose(1, 2, 0)"
    elif picture.ndim == 4:
        hint = "give a list of pictures: list(pictures)"
    raise DataError(f"picture of shape {picture.shape}", hint=hint)
