"""Rewrites of an ONNX graph: fold constants, and join paddings with the pooling after them.

Tracing leaves arithmetic on shapes in the graph, which OpenCV does not compute. Padding values
would widen the ranges of quantisation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from onnx import (
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    helper,
    numpy_helper,
    shape_inference,
)
from onnx.reference import ReferenceEvaluator

LARGE = 1 << 12  # a tensor with more values holds weights, not a shape
SMALL = 1 << 20  # a result with more values is not stored in the file
LOWEST = -1e30  # a padding value below this is never the maximum
Known = dict[str, np.ndarray]


def tidy(model: ModelProto) -> ModelProto:
    """Return the model with constants folded and without nodes that no output needs.

    It holds the shapes of its tensors that are known.
    """
    weights, inputs = _without_weights(model.graph), len(model.graph.input)
    model.graph.input.extend(
        helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in weights
    )
    while True:
        model = shape_inference.infer_shapes(model, data_prop=True)
        if not _fold(model):
            break
    _join_pads(model.graph)
    needed = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(tensor for tensor in weights if tensor.name in needed)
    del model.graph.input[inputs:]
    return model


def _without_weights(graph: GraphProto) -> list[TensorProto]:
    """Remove the large tensors from a graph, which every shape inference copies; return them."""
    large = [t for t in graph.initializer if np.prod(t.dims, dtype=int) > LARGE]
    small = [t for t in graph.initializer if np.prod(t.dims, dtype=int) <= LARGE]
    del graph.initializer[:]
    graph.initializer.extend(small)
    return large


def _fold(model: ModelProto) -> bool:
    """Replace nodes of constant inputs by their outputs; return whether there were any."""
    graph = model.graph
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    shapes = dict(_static_shapes(graph))
    kept, results = [], Known()
    for node in graph.node:
        values = _results(node, known, shapes, model)
        known.update(values)
        results.update(values)
        if not values:
            kept.append(node)
    outputs = {output.name for output in graph.output}
    graph.initializer.extend(
        numpy_helper.from_array(value, name)
        for name, value in results.items()
        if name not in outputs
    )
    kept += [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value))
        for name, value in results.items()
        if name in outputs
    ]
    keep(graph, kept)
    return bool(results)


def _static_shapes(graph: GraphProto) -> Iterator[tuple[str, tuple[int, ...]]]:
    for info in (*graph.input, *graph.value_info):
        kind = info.type.tensor_type
        sides = kind.shape.dim
        if kind.HasField("shape") and all(side.HasField("dim_value") for side in sides):
            yield info.name, tuple(side.dim_value for side in sides)


def _results(
    node: NodeProto, known: Known, shapes: dict[str, tuple[int, ...]], model: ModelProto
) -> Known:
    """Return the outputs of a node if they are constant, else {}."""
    if node.op_type == "Shape" and node.input[0] in shapes and not node.attribute:
        return {node.output[0]: np.array(shapes[node.input[0]], np.int64)}
    inputs = [name for name in node.input if name]
    if not all(name in known for name in inputs):
        return {}
    if node.op_type in ("DequantizeLinear", "QuantizeLinear"):
        return {}  # runtimes expect these nodes
    graph = helper.make_graph(
        [node],
        "known",
        [_described(name, known[name]) for name in dict.fromkeys(inputs)],
        [helper.make_empty_tensor_value_info(name) for name in node.output],
    )
    alone = helper.make_model(graph, opset_imports=model.opset_import, ir_version=8)
    found: Any = ReferenceEvaluator(alone).run(None, {name: known[name] for name in inputs})
    if sum(np.size(value) for value in found) > SMALL:
        return {}
    return {name: np.asarray(v) for name, v in zip(node.output, found, strict=True)}


def _described(name: str, value: np.ndarray) -> Any:
    kind = helper.np_dtype_to_tensor_dtype(value.dtype)
    return helper.make_tensor_value_info(name, kind, value.shape)


def keep(graph: GraphProto, nodes: list[NodeProto]) -> None:
    """Set the nodes of a graph; remove nodes and tensors that no output needs."""
    needed = {output.name for output in graph.output}
    kept = []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    tensors: list[TensorProto] = [t for t in graph.initializer if t.name in needed]
    if len(tensors) < len(graph.initializer):
        del graph.initializer[:]
        graph.initializer.extend(tensors)
    del graph.node[:]
    graph.node.extend(reversed(kept))


def _join_pads(graph: GraphProto) -> None:
    """Replace Pad(x, v), MaxPool(p) by MaxPool(p + pad) if v is lower than any value of x.

    A padding as wide as the window stays: ONNX does not allow that in a pooling.
    """
    known = {tensor.name: tensor for tensor in graph.initializer}
    uses = Counter(name for node in graph.node for name in node.input)
    made = {name: node for node in graph.node for name in node.output}
    for pool in graph.node:
        pad = made.get(pool.input[0]) if pool.op_type == "MaxPool" else None
        if pad is None or pad.op_type != "Pad" or uses[pool.input[0]] > 1:
            continue
        amounts = numpy_helper.to_array(known[pad.input[1]]).reshape(2, -1)
        value = numpy_helper.to_array(known[pad.input[2]]) if len(pad.input) > 2 else np.zeros(1)
        window = integers(pool, "kernel_shape")
        joined = amounts[:, 2:] + np.reshape(integers(pool, "pads") or [0] * 4, (2, -1))
        if value > LOWEST or amounts[:, :2].any() or (joined >= np.array(window)).any():
            continue
        kept = [a for a in pool.attribute if a.name not in ("pads", "auto_pad")]
        del pool.attribute[:]
        pool.attribute.extend([*kept, helper.make_attribute("pads", joined.ravel().tolist())])
        pool.input[0] = pad.input[0]
    keep(graph, list(graph.node))


def integers(node: NodeProto, name: str) -> list[int]:
    """Return an attribute that is a list of integers, [] if the node has none."""
    return next((list(a.ints) for a in node.attribute if a.name == name), [])
