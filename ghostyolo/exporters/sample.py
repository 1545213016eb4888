"""A sample program that runs an exported file in OpenCV, for users of `readNetFromDarknet`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jinja2

from ghostyolo.errors import OptionError
from ghostyolo.layers import Head
from ghostyolo.layers.yolo import Yolo
from ghostyolo.model.detector import NMS, THRESH, heads_of
from ghostyolo.network.metadata import Metadata, output_name
from ghostyolo.network.outputs import output_nodes

LANGUAGES = {"python": ".py", "cpp": ".cpp"}
FORMAT = "onnx"  # that the programs read


def path_of(language: str, file: Path) -> Path:
    """Return the path of the program for a file: `x_opencv.py` beside `x.onnx`."""
    return file.with_name(f"{file.stem}_opencv{LANGUAGES[language]}")


def text(language: str, metadata: Metadata, file: Path, thresh: float = THRESH) -> str:
    """Return the program that reads a picture, detects with the file and draws the boxes.

    thresh: the confidence threshold of the program, or of the suppression in the file.
    Raises `CfgError` for a network without heads, `OptionError` for a network of grey pictures, and
    if the program would have to decode heads other than `[yolo]`.
    """
    heads = heads_of(metadata.network)
    if metadata.network.options.channels == 1:
        hint = "leave --sample out; ghostyolo detect runs the file"
        raise OptionError("a sample takes colour pictures, the network grey ones", hint=hint)
    if metadata.layout == "raw" and not all(isinstance(head, Yolo) for head in heads):
        kinds = ", ".join(sorted({f"[{h.kind}]" for h in heads if not isinstance(h, Yolo)}))
        hint = "decode in the file: add --decode"
        raise OptionError(f"a sample does not decode {kinds}", hint=hint)
    if metadata.layout == "detections" and language == "cpp":
        hint = "leave --nms out; the program suppresses boxes"
        raise OptionError("the C++ sample needs boxes before suppression", hint=hint)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ghostyolo.exporters"),
        trim_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    template = environment.get_template(f"sample{LANGUAGES[language]}.txt")
    values = _values(metadata, file, path_of(language, file))
    return template.render(values, thresh=thresh, last=heads[-1])


def _values(metadata: Metadata, file: Path, script: Path) -> dict[str, Any]:
    options = metadata.network.options
    heads = [_head(metadata, node) for node in output_nodes(metadata.network)]
    return {
        "file": file.name,
        "script": script.name,
        "stem": script.stem,
        "names": json.dumps(list(metadata.names), ensure_ascii=False),
        "cpp_names": ", ".join(json.dumps(name, ensure_ascii=False) for name in metadata.names),
        "width": options.width,
        "height": options.height,
        "letterbox": bool(options.letter_box),
        "iou": NMS,
        "layout": metadata.layout,
        "boxes": metadata.boxes,
        "heads": heads,
        "cpp_heads": ", ".join(f'"{head["name"]}"' for head in heads),
        "new_coords": any(head["new_coords"] for head in heads),
    }


def _head(metadata: Metadata, node: Any) -> dict[str, Any]:
    layer: Head = node.layer
    pairs = layer.own_anchors if isinstance(layer, Yolo) else ()
    return {
        "name": output_name(metadata.network, node),
        "anchors": [tuple(round(side, 4) for side in pair) for pair in pairs],
        "cpp_anchors": ", ".join(f"{{ {w:g}, {h:g} }}" for w, h in pairs),
        "new_coords": isinstance(layer, Yolo) and bool(layer.new_coords),
    }
