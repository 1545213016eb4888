"""An opened network or file as the module of each runtime returns it, and how files are opened."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ghostyolo.errors import DataError, OptionError, Span
from ghostyolo.model.out_of_memory import lack_of_memory
from ghostyolo.network import passes
from ghostyolo.network.metadata import Metadata

InputShape = tuple[int, int, int, int]  # (N, C, h, w)


class Backend(NamedTuple):
    """A network opened in one library.

    metadata: of the network at the size that is computed. compute: takes images (N, 3, h, w),
    float32, and returns the outputs that `metadata.layout` describes, in new arrays of any memory
    order. batch_size: N of every call, 0 for any. channels_last: the memory order of the images
    that the library takes: True for NHWC, False for NCHW, None for both (NCHW is then copied).
    """

    metadata: Metadata
    compute: Callable[[np.ndarray], list[np.ndarray]]
    batch_size: int = 0
    channels_last: bool | None = None


class FileInfo(NamedTuple):
    """The metadata of a file and the shape of its input, with a name for each dynamic axis."""

    metadata: Metadata
    input_sides: tuple[int | str, ...]


def fixed_shape(
    info: FileInfo, path: Path, size: tuple[int, int] | None, batch: int
) -> tuple[Metadata, InputShape]:
    """Return the metadata and the input shape after setting the dynamic axes to size and batch.

    size: (h, w). Raises `DataError` for a file whose input is not a batch of images, `OptionError`
    if the size of its input is fixed to another one.
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


SOURCE = re.compile(r"Exception from src/\S+\s")  # where OpenVINO found an error, before the reason


@contextmanager
def library_errors(
    library: str, path: str | Path, *kinds: type[Exception], hint: str = "use another --runtime"
) -> Iterator[None]:
    """Raise `DataError` with the library's reason for an error of these kinds that it raises.

    Raises `OptionError` if memory ran out.
    """
    try:
        yield
    except kinds as error:
        if lack := lack_of_memory(error):
            raise lack from None
        reason = " ".join(SOURCE.sub("", str(error)).split())[:200]
        raise DataError(f"{library}: {reason}", span=Span(str(path)), hint=hint) from None
