"""What an exported file is to hold: the outputs, open sides, names, ONNX's version; no torch."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from ghostyolo.errors import CfgError, OptionError, Span
from ghostyolo.model.detector import NMS, THRESH, heads_of
from ghostyolo.network import Network, weights_file
from ghostyolo.network.metadata import Metadata
from ghostyolo.network.passes import resize

BOXES = ("xyxy", "cxcywh")
OPSETS = range(11, 21)  # what both torch's exporter and OpenCV 4 know
OPSET = 17
DYNAMIC = ("size", "batch")


@dataclass(frozen=True)
class Suppression:
    """Non-maximum suppression inside the file, within each class.

    thresh: confidence threshold. iou: IoU threshold. most: boxes of a class that are kept.
    """

    thresh: float = THRESH
    iou: float = NMS
    most: int = 300


@dataclass(frozen=True)
class ExportSettings:
    """The inputs and outputs of a file.

    boxes: "" for the network's outputs as Darknet holds them, else the format of decoded boxes in
    pixels of the input. suppression: of decoded boxes, if any. dynamic: "" for inputs of one shape,
    "batch" for any batch size, "size" for any batch size, height and width. batch: the batch size
    where it is not dynamic. names: of the classes. opset: ONNX's version.
    """

    boxes: str = ""
    suppression: Suppression | None = None
    dynamic: str = ""
    batch: int = 1
    names: tuple[str, ...] = ()
    opset: int = OPSET

    @property
    def layout(self) -> str:
        """Return the layout of the outputs, see `Metadata`."""
        if self.suppression:
            return "detections"
        return "decoded" if self.boxes else "raw"

    def metadata(self, network: Network) -> Metadata:
        """Return the metadata of the file."""
        return Metadata(network, self.names, self.layout, self.boxes)

    def check(self, network: Network) -> None:
        """Raise `CfgError` or `OptionError` if a network cannot be written so."""
        if self.opset not in OPSETS:
            hint = f"use {OPSETS.start} to {OPSETS.stop - 1}"
            raise OptionError(f"--opset {self.opset}", hint=hint)
        if self.boxes:
            heads_of(network)
        if self.suppression and not self.boxes:
            raise OptionError("suppression needs boxes", hint="decode the heads in the file too")
        if self.dynamic == "size":
            _check_resizable(network)


def _check_resizable(network: Network) -> None:
    """Raise `OptionError` if the shape of a layer's weights or output is for one input size."""
    hint = "use --dynamic batch"
    (h, w), span = network.options.size, None
    try:
        larger = resize(network, (2 * h, 2 * w))
    except CfgError as error:
        span = error.diagnostic.span
        message = f"its input size cannot change: {error.diagnostic.message}"
        raise OptionError(message, span=span, hint=hint) from None
    for node, other in zip(network, larger, strict=True):
        if weights_file.stored(network, node) != weights_file.stored(larger, other):
            span = node.span or Span("cfg")
            kind, message = node.layer.kind, "its weights are for one input size"
            raise OptionError(message, span=span, section=kind, hint=hint)
        grown = prod(other.shape[1:]) != prod(node.shape[1:])
        if not grown and node.shape[1:] != (1, 1):
            message = f"gives {node.shape} for every input size"
            raise OptionError(message, span=node.span, section=node.layer.kind, hint=hint)
