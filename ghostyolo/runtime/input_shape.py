"""The input of an exported file: which sides are fixed in it, and which the caller chooses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ghostyolo.errors import DataError, OptionError, Span
from ghostyolo.network import passes
from ghostyolo.network.metadata import Metadata
from ghostyolo.runtime.onnx_metadata import FileInfo

InputShape = tuple[int, int, int, int]  # (N, C, h, w)


def fixed_shape(
    info: FileInfo, path: Path, size: tuple[int, int] | None, batch: int
) -> tuple[Metadata, InputShape]:
    """Return the metadata and the input's shape for a size (h, w) and batch, where they are open.

    Raises `DataError` for a file that takes no pictures, `OptionError` if its size is another one.
    """
    sides = info.input_sides
    if len(sides) != 4:
        message, hint = "it does not take one batch of pictures", "export it with ghostyolo export"
        raise DataError(message, span=Span(str(path)), hint=hint)
    own = info.metadata.network.options.size
    if size and size != own and any(isinstance(side, int) for side in sides[2:]):
        message = f"its input is {own[0]}x{own[1]}, not {size[0]}x{size[1]}"
        hint = "export it with --dynamic, or leave the size out"
        raise OptionError(message, span=Span(str(path)), hint=hint)
    metadata = resized(info.metadata, size)
    count = sides[0] if isinstance(sides[0], int) else batch
    return metadata, (count, *metadata.network.options.shape)


def resized(metadata: Metadata, size: tuple[int, int] | None) -> Metadata:
    """Return the metadata with its network at a size (h, w), if one is given."""
    if not size or size == metadata.network.options.size:
        return metadata
    return replace(metadata, network=passes.resize(metadata.network, size))
