"""The settings of an export: outputs, dynamic axes, class names, opset. Does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from ghostyolo.errors import CfgError, OptionError, Span
from ghostyolo.model.detector import NMS, THRESH, heads_of
from ghostyolo.network import Network, weights_file
from ghostyolo.network.metadata import Metadata
from ghostyolo.network.passes import resize

BOXES = ("xyxy", "cxcywh")
OPSETS = range(11, 21)  # that torch's exporter writes and OpenCV 4 reads
OPSET = 17
DYNAMIC = ("size", "batch")


@dataclass(frozen=True)
class Suppression:
    """Non-maximum suppression inside the file, within each class.

    thresh: confidence threshold. iou: IoU threshold. most: largest number of boxes of a class.
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
    where it is not dynamic. names: of the classes. opset: version of ONNX's operators, None for
    `OPSET`.
    """

    boxes: str = ""
    suppression: Suppression | None = None
    dynamic: str = ""
    batch: int = 1
    names: tuple[str, ...] = ()
    opset: int | None = None

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
        """Raise `CfgError` or `OptionError` if a network cannot be exported with these settings."""
        if self.batch < 1:
            raise OptionError(f"batch={self.batch}", hint="give 1 or more")
        if self.opset is not None and self.opset not in OPSETS:
            hint = f"use {OPSETS.start} to {OPSETS.stop - 1}"
            raise OptionError(f"--opset {self.opset}", hint=hint)
        if self.boxes:
            heads_of(network)
        if self.suppression and not self.boxes:
            raise OptionError("suppression needs boxes", hint="decode the heads in the file too")
        if self.dynamic == "size":
            _check_resizable(network)


def _check_resizable(network: Network) -> None:
    """Raise `OptionError` if a layer's weights or output do not grow with the input size."""
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
