"""ONNX files: traced by torch.onnx, tidied, with metadata and, if asked for, suppression."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from ghostyolo.errors import OptionError
from ghostyolo.exporters.export_module import ExportModule
from ghostyolo.exporters.onnx_tidy import tidy
from ghostyolo.exporters.onnx_unjoin import unjoin
from ghostyolo.exporters.settings import OPSET, OPSETS, ExportSettings, Suppression
from ghostyolo.files import replace
from ghostyolo.model.model import Model

INPUT = "images"


def write(model: Model, path: Path, settings: ExportSettings) -> None:
    """Write a model as an ONNX file. Raises `OptionError` if it cannot be written."""
    replace(path, [build(model, settings).SerializeToString()])


def build(model: Model, settings: ExportSettings, *, joined: bool = False) -> ModelProto:
    """Return a model as an ONNX graph, checked by onnx's own checker.

    joined: whether to keep all concatenations, as quantisation needs them, see `unjoin`.
    """
    proto = tidy(_traced(ExportModule(model, settings), settings))
    proto = proto if joined else unjoin(proto)
    del proto.graph.value_info[:]
    if settings.suppression:
        _suppress(proto, settings.boxes, settings.suppression)
    helper.set_model_props(proto, settings.metadata(model.network).properties())
    proto.producer_name, proto.producer_version = "ghostyolo", ""
    proto.graph.name = "ghostyolo"
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _traced(module: ExportModule, settings: ExportSettings) -> ModelProto:
    """Return the module as an ONNX graph traced by torch.

    torch.export is not used: it needs another library, writes opset 18 and above only, and its
    graphs cannot be read by OpenCV 4.
    """
    opset = settings.opset or OPSET
    buffer: Any = io.BytesIO()  # though the signature has paths only
    torch.onnx.register_custom_op_symbolic("aten::expm1", _expm1, OPSETS.start)
    with warnings.catch_warnings(), torch.no_grad(), _silent():
        warnings.simplefilter("ignore")  # about constant shapes, which are intended
        try:
            torch.onnx.export(
                module, (module.example(),), buffer, dynamo=False, opset_version=opset,
                input_names=[INPUT], output_names=module.output_names,
                dynamic_axes=_axes(module.output_names, settings),
            )  # fmt: skip
        except torch.onnx.OnnxExporterError as error:
            reason = str(error).split(". ")[0].split("  [")[0]
            hint = "use a later --opset, or TorchScript"
            raise OptionError(f"ONNX cannot hold this network: {reason}", hint=hint) from None
    return onnx.load_from_string(buffer.getvalue())


@contextmanager
def _silent() -> Iterator[None]:
    """Discard the graph that torch's C++ code prints before it raises an error."""
    kept = os.dup(1)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _expm1(context: Any, x: Any) -> Any:
    """Return exp(x) - 1: ONNX has no operator that is more precise near 0."""
    one = context.op("Constant", value_t=torch.ones(()))
    return context.op("Sub", context.op("Exp", x), one)


def _axes(outputs: list[str], settings: ExportSettings) -> dict[str, dict[int, str]]:
    """Return the name of each dynamic axis, by input or output and index."""
    if not settings.dynamic:
        return {}
    axes = {name: {0: "batch"} for name in (INPUT, *outputs)}
    if settings.dynamic == "size":
        axes[INPUT].update({2: "height", 3: "width"})
        for name in outputs:
            stride = name.rpartition("_s")[2]
            axes[name].update(
                {1: "boxes"} if settings.boxes else {2: f"height_{stride}", 3: f"width_{stride}"}
            )
    return axes


def _suppress(proto: ModelProto, boxes: str, limits: Suppression) -> None:
    """Append suppression to the graph: its output becomes detections (m, 7), float32.

    A row is picture, box, score, class; rows are sorted by picture, class and descending score. A
    row is added before boxes are gathered and taken off in the end: OpenCV 5.0 divides by zero in
    GatherND if there is none.
    """
    constants: dict[str, np.ndarray] = {
        "most": np.array([limits.most], np.int64),
        "iou": np.array([limits.iou], np.float32),
        "thresh": np.array([limits.thresh], np.float32),
        "added": np.zeros((1, 3), np.int64),
        "last": np.array([-1], np.int64),
        "columns": np.array([0, 2], np.int64),
        "first": np.array([0], np.int64),
        "second": np.array([1], np.int64),
        "flat": np.array([-1, 1], np.int64),
    }
    nodes = [
        _node("Transpose", "scores", "by_class", perm=[0, 2, 1]),
        _node(
            "NonMaxSuppression", "boxes by_class most iou thresh", "suppressed",
            center_point_box=int(boxes == "cxcywh"),
        ),
        _node("Concat", "suppressed added", "selected", axis=0),
        _node("Gather", "selected columns", "box_places", axis=1),
        _node("GatherND", "boxes box_places", "survivors"),
        _node("GatherND", "by_class selected", "score_list"),
        _node("Reshape", "score_list flat", "score_column"),
        _node("Gather", "selected first", "pictures", axis=1),
        _node("Gather", "selected second", "classes", axis=1),
        _node("Cast", "pictures", "picture_column", to=TensorProto.FLOAT),
        _node("Cast", "classes", "class_column", to=TensorProto.FLOAT),
        _node("Concat", "picture_column survivors score_column class_column", "rows", axis=1),
        _node("Slice", "rows first last first", "detections"),
    ]  # fmt: skip
    graph = proto.graph
    graph.initializer.extend(numpy_helper.from_array(v, name) for name, v in constants.items())
    graph.node.extend(nodes)
    del graph.output[:]
    graph.output.append(
        helper.make_tensor_value_info("detections", TensorProto.FLOAT, ["detections", 7])
    )


def _node(kind: str, inputs: str, output: str, **attributes: Any) -> NodeProto:
    return helper.make_node(kind, inputs.split(), [output], name=f"nms/{output}", **attributes)
