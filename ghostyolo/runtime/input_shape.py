"""The input of an exported file: what is fixed in it, and what is to be."""

from __future__ import annotations

from pathlib import Path

from ghostyolo.errors import DataError, OptionError, Span
from ghostyolo.network import Network, passes
from ghostyolo.network.metadata import Metadata, output_name
from ghostyolo.network.outputs import output_nodes
from ghostyolo.runtime.onnx_metadata import Header

Sides = tuple[int, int, int, int]


def fixed(
    header: Header, path: Path, size: tuple[int, int] | None, batch: int
) -> tuple[Network, Sides]:
    """Return the network and the input's shape for a size (h, w) and batch, where they are open.

    Raises `DataError` for a file that takes no picture, `OptionError` for a size that it has not.
    """
    network, sides = header.metadata.network, header.sides
    if len(sides) != 4:
        message, hint = "it does not take one batch of pictures", "export it with ghostyolo export"
        raise DataError(message, span=Span(str(path)), hint=hint)
    own = network.options.size
    if size and size != own:
        if any(isinstance(side, int) for side in sides[2:]):
            message = f"its input is {own[0]}x{own[1]}, not {size[0]}x{size[1]}"
            hint = "export it with --dynamic, or leave the size out"
            raise OptionError(message, span=Span(str(path)), hint=hint)
        network = passes.resize(network, size)
    count = sides[0] if isinstance(sides[0], int) else batch
    return network, (count, *network.options.shape)


def output_names(metadata: Metadata) -> list[str]:
    """Return the names of a file's outputs, in their order."""
    if metadata.layout == "detections":
        return ["detections"]
    if metadata.layout == "decoded":
        return ["boxes", "scores"]
    return [output_name(metadata.network, node) for node in output_nodes(metadata.network)]
