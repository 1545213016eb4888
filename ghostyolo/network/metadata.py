"""The metadata of an exported file, with which its outputs are decoded into detections.

Every value is text, as the formats require. `cfg` is the whole cfg of the network, so that no other
file is needed; the other keys repeat parts of it for programs that cannot read a cfg.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from ghostyolo.errors import DataError, Findings, Span
from ghostyolo.layers import Head
from ghostyolo.network import Network, Node, dumps, loads
from ghostyolo.network.outputs import output_nodes

VERSION = 1
TORCHSCRIPT_EXTRA = "ghostyolo.json"  # the extra file in a TorchScript archive
OPENVINO_SECTION = "ghostyolo"  # the section of rt_info in an OpenVINO IR
LAYOUTS = ("raw", "decoded", "detections")


@dataclass(frozen=True)
class Metadata:
    """A network, the names of its classes, and the meaning of the file's outputs.

    layout: "raw", the outputs of the network in Darknet's layout; "decoded", boxes and scores of
    all heads; "detections", the boxes that NMS keeps. boxes: the format of the boxes that the file
    computes, "xyxy" or "cxcywh" in pixels of its input; "" if it computes none.
    """

    network: Network
    names: tuple[str, ...] = ()
    layout: str = "raw"
    boxes: str = ""

    @property
    def output_names(self) -> list[str]:
        """Return the names of the file's outputs, in their order."""
        return output_names(self.network, self.layout)

    def properties(self) -> dict[str, str]:
        """Return the keys and values that a file stores."""
        options = self.network.options
        values = {
            "ghostyolo": VERSION,
            "layout": self.layout,
            "boxes": self.boxes,
            "names": list(self.names),
            "input": {
                "channels": options.channels, "height": options.height, "width": options.width,
                "letterbox": bool(options.letter_box), "order": "RGB", "scale": "0 to 1",
            },
            "heads": [_head(self.network, node) for node in output_nodes(self.network)],
        }  # fmt: skip
        texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in values.items()}
        return {**texts, "cfg": dumps(self.network)}


def read(properties: Mapping[str, str], path: str) -> Metadata:
    """Return the metadata of a file. Raises `DataError` if it has none."""
    span, hint = Span(path), "export it with ghostyolo export"
    try:
        names = json.loads(properties["names"])
        layout, boxes = properties["layout"], properties["boxes"]
        version = int(properties["ghostyolo"])
        text = properties["cfg"]
    except (KeyError, ValueError):
        raise DataError("holds no metadata of ghostyolo", span=span, hint=hint) from None
    if version > VERSION or layout not in LAYOUTS:
        message = f"its metadata is of version {version}, this is {VERSION}"
        raise DataError(message, span=span, hint="update ghostyolo")
    network = loads(text, path=path, findings=Findings(quiet=True))
    return Metadata(network, tuple(map(str, names)), layout, boxes)


def output_names(network: Network, layout: str) -> list[str]:
    """Return the names of the outputs in a layout, see `Metadata`, in their order."""
    if layout == "raw":
        return [output_name(network, node) for node in output_nodes(network)]
    return ["boxes", "scores"] if layout == "decoded" else ["detections"]


def output_name(network: Network, node: Node) -> str:
    """Return an output's name: kind, layer and, of a map, its stride: `yolo_30_s32`."""
    name = f"{node.layer.kind.lower()}_{node.index}"
    if node.shape.h == 1 == node.shape.w:
        return name
    return f"{name}_s{network.options.height // node.shape.h}"


def _head(network: Network, node: Node) -> dict[str, object]:
    """Return the keys of the cfg that are needed to decode a head."""
    keys = ("classes", "mask", "anchors", "num", "scale_x_y", "new_coords", "nms_kind", "beta_nms")
    found = {key: getattr(node.layer, key) for key in keys if hasattr(node.layer, key)}
    return {
        "output": output_name(network, node),
        "kind": node.layer.kind,
        "shape": list(node.shape),
        **(found if isinstance(node.layer, Head) else {}),
    }
