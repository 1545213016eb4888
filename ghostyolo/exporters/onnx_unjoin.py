"""A rewrite of an ONNX graph: remove concatenations whose readers can compute on the parts.

The output of a ghost module is a concatenation, which copies every value and is read by one or two
operators. With x = (x1, ..., xk) along the channels:

    W x = W1 x1 + ... + Wk xk           a convolution, split by the columns of its weights; runtimes
                                        compute convolutions that add to their output
    f(x) = (f(x1), ..., f(xk))          an operator on each channel alone: depthwise convolutions,
                                        activations, pooling, resizing
    x + y = (x1 + y1, ..., xk + yk)     sums and products of tensors with the same parts
    V z = (V1 z, ..., Vk z)             a convolution, split by the rows of its weights, if its
                                        result is added to, or multiplied with, a tensor in parts

Only the order of the sums changes. Not for quantisation, which would round each partial sum to 8
bits.

The rewrite takes 10 % off the processor time of the 80-class GhostNet detector at 416x416 on one
thread in OpenVINO, 20 % in onnxruntime and 12 % in OpenCV, measured in turns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

from ghostyolo.exporters.onnx_tidy import integers, keep

MAX_PARTS = 4  # of a tensor; each part is one more call for every convolution that reads it
# Largest number of additional sums per value that is not copied. With 1.0 the 80-class GhostNet
# detector is slower in OpenVINO and no faster in onnxruntime.
MAX_SUMS = 0.5
CHANNELWISE = (
    "AveragePool", "Clip", "Elu", "GlobalAveragePool", "GlobalMaxPool", "HardSigmoid", "HardSwish",
    "LeakyRelu", "MaxPool", "Mish", "Relu", "Resize", "Sigmoid", "Softplus", "Tanh",
)  # fmt: skip
PAIRWISE = ("Add", "Mul")


class Part(NamedTuple):
    """A tensor that holds some of the channels of another."""

    name: str
    channels: int


Parts = tuple[Part, ...]


def unjoin(model: ModelProto) -> ModelProto:
    """Remove from the model the concatenations that cost more than they save, and return it.

    Its graph must hold the shapes of its tensors, as `tidy` leaves them.
    """
    plan = Plan(model.graph, dict(_channels(model.graph)))
    if plan.parts:
        keep(model.graph, list(Rewrite(model.graph, plan).nodes()))
    return model


def _channels(graph: GraphProto) -> Iterator[tuple[str, int]]:
    """Yield the tensors (N, C, h, w) whose C is known."""
    for info in (*graph.input, *graph.value_info, *graph.output):
        sides = info.type.tensor_type.shape.dim
        if len(sides) == 4 and sides[1].HasField("dim_value"):
            yield info.name, sides[1].dim_value


class Plan:
    """The choice of the tensors of a graph that are held in parts.

    parts: of each such tensor, by name. At first every tensor that can have parts gets them. Then
    those with a reader that needs the whole tensor become whole, until no such tensor is left. The
    gain of a tensor is the number of copies saved per value: four after a pooling by 2.
    """

    def __init__(self, graph: GraphProto, channels: dict[str, int]) -> None:
        self.nodes, self.channels = list(graph.node), channels
        self.weights = {tensor.name: tensor for tensor in graph.initializer}
        self.producers = {name: node for node in self.nodes for name in node.output}
        self.use_counts = Counter(name for node in self.nodes for name in node.input)
        self.use_counts.update(output.name for output in graph.output)
        self._whole = {output.name for output in graph.output}
        self.parts, self._gains = dict[str, Parts](), dict[str, float]()
        self._assign()
        while misfits := self._misfits():
            self._whole |= misfits
            self._assign()

    def dense(self, node: NodeProto) -> bool:
        """Return whether a node is a convolution of all channels with known weights."""
        return node.op_type == "Conv" and _integer(node, "group", 1) == 1 and self._weighted(node)

    def parts_of(self, name: str) -> Parts:
        """Return the parts of a tensor, itself if it is whole."""
        return self.parts.get(name) or (Part(name, self.channels[name]),)

    def _weighted(self, node: NodeProto) -> bool:
        return all(name in self.weights for name in node.input[1:])

    def _assign(self) -> None:
        """Give parts to all tensors that can have them and need not be whole."""
        self.parts, self._gains = {}, {}
        for node in self.nodes:
            out = node.output[0]
            sizes = [] if out in self._whole or out not in self.channels else self._sizes(node)
            if sizes and _is_concat(node):
                self.parts[out] = tuple(part for x in node.input for part in self.parts_of(x))
            elif sizes:
                self.parts[out] = _named(out, sizes)
            if sizes:
                self._gains[out] = self._gain(node)

    def _gain(self, node: NodeProto) -> float:
        if _is_concat(node):
            return 1.0
        if node.op_type.startswith("Global"):
            return float("inf")  # one value per channel costs nothing
        return max(self._gains.get(x, 0.0) for x in node.input) * _step(node)

    def _sizes(self, node: NodeProto) -> list[int]:
        """Return the channels of each part of a node's output, [] if it must be whole."""
        x = node.input[0] if node.input else ""
        if _is_concat(node):
            return self._joined(node)
        if node.op_type in PAIRWISE:
            return self._paired(*node.input)
        if x not in self.parts:
            return []
        if _channelwise(node):
            return self._part_sizes(x)
        channels = self.channels[x]
        depthwise = node.op_type == "Conv" and _integer(node, "group", 1) == channels
        if depthwise and self._weighted(node):
            factor = self.channels[node.output[0]] // channels
            return [factor * size for size in self._part_sizes(x)]
        return []

    def _joined(self, node: NodeProto) -> list[int]:
        if any(x not in self.channels for x in node.input):
            return []
        sizes = [part.channels for x in node.input for part in self.parts_of(x)]
        return sizes if 1 < len(sizes) <= MAX_PARTS else []

    def _paired(self, x: str, y: str) -> list[int]:
        """Return the part sizes that both tensors have, or that one has and the other can get."""
        if self.channels.get(x) != self.channels.get(y):
            return []
        for one, other in ((x, y), (y, x)):
            sizes = self._part_sizes(one)
            if sizes and (sizes == self._part_sizes(other) or self._request(other, sizes)):
                return sizes
        return []

    def _part_sizes(self, name: str) -> list[int]:
        return [part.channels for part in self.parts.get(name, ())]

    def _request(self, name: str, sizes: list[int]) -> bool:
        """Give parts of these sizes to a tensor that is read once, if a convolution computes it."""
        node = self.producers.get(name)
        if node is None or name in self.parts or name in self._whole or self.use_counts[name] > 1:
            return False
        if not (self._request(node.input[0], sizes) if _channelwise(node) else self.dense(node)):
            return False
        self.parts[name] = _named(name, sizes)
        return True

    def _misfits(self) -> set[str]:
        """Return the tensors in parts that a node needs whole, or computes faster if whole."""
        found, costs = set[str](), dict[str, float]()
        for node in self.nodes:
            for name in node.input:
                if name not in self.parts or _is_concat(node):
                    continue
                if self.dense(node):
                    sums = self.channels[node.output[0]] * (len(self.parts[name]) - 1)
                    costs[name] = costs.get(name, 0.0) + sums / _step(node)
                elif node.output[0] not in self.parts:
                    found.add(name)
        limits = {name: MAX_SUMS * self.channels[name] * self._gains[name] for name in costs}
        return found | {name for name, cost in costs.items() if cost > limits[name]}


class Rewrite:
    """The nodes of a graph with some tensors in parts. Their weights are added to the graph."""

    def __init__(self, graph: GraphProto, plan: Plan) -> None:
        self.graph, self.plan, self.weights = graph, plan, dict(plan.weights)

    def nodes(self) -> Iterator[NodeProto]:
        """Yield the nodes in an order in which they can be computed."""
        parts = self.plan.parts
        for node in self.plan.nodes:
            out = node.output[0]
            if _is_concat(node):
                if out not in parts:
                    yield self._concat(node)
            elif self.plan.dense(node) and (node.input[0] in parts or out in parts):
                for part, rows in _slices(self.plan.parts_of(out)):
                    yield from self._sum(node, part.name, rows)
            elif out in parts:
                yield from self._channelwise(node)
            else:
                yield node

    def _concat(self, node: NodeProto) -> NodeProto:
        """Return a concatenation of all the parts of its inputs."""
        parts = self.plan.parts
        names = [p.name for x in node.input for p in parts.get(x) or (Part(x, 0),)]
        return _copy_of(node, names, node.output[0])

    def _channelwise(self, node: NodeProto) -> Iterator[NodeProto]:
        """Yield a node for each part of the output."""
        parts = self.plan.parts
        for place, (part, rows) in enumerate(_slices(parts[node.output[0]])):
            inputs = [parts[name][place].name if name in parts else name for name in node.input]
            if node.op_type == "Conv":
                inputs[1:] = [self._cut(name, rows) for name in node.input[1:]]
            found = _copy_of(node, inputs, part.name)
            for attribute in found.attribute:
                if attribute.name == "group":
                    attribute.i = parts[node.input[0]][place].channels
            yield found

    def _sum(self, node: NodeProto, out: str, rows: slice) -> Iterator[NodeProto]:
        """Yield the convolutions of the parts of the input, and their sum, for some output rows."""
        sources, total = self.plan.parts_of(node.input[0]), ""
        for place, (source, columns) in enumerate(_slices(sources)):
            inputs = [source.name, self._cut(node.input[1], rows, columns)]
            if not place:
                inputs += [self._cut(name, rows) for name in node.input[2:]]
            result = out if len(sources) == 1 else f"{out}/of{place}"
            yield _copy_of(node, inputs, result)
            if place:
                name = out if place == len(sources) - 1 else f"{out}/sum{place}"
                yield helper.make_node("Add", [total, result], [name], name=name)
                result = name
            total = result

    def _cut(self, name: str, *slices: slice) -> str:
        """Return the name of a tensor with some rows, and columns, of the weights `name`."""
        bounds = [f"{cut.start}-{cut.stop}" for cut in slices]
        own = f"{name}[{','.join(bounds)}]"
        if own not in self.weights:
            value = numpy_helper.to_array(self.weights[name])[slices]
            self.weights[own] = numpy_helper.from_array(np.ascontiguousarray(value), own)
            self.graph.initializer.append(self.weights[own])
        return own


def _slices(parts: Parts) -> Iterator[tuple[Part, slice]]:
    """Yield each part with its channels in the whole tensor."""
    for part, end in zip(parts, accumulate(part.channels for part in parts), strict=True):
        yield part, slice(end - part.channels, end)


def _named(name: str, sizes: list[int]) -> Parts:
    return tuple(Part(f"{name}/{place}", size) for place, size in enumerate(sizes))


def _channelwise(node: NodeProto) -> bool:
    """Return whether a node has no weights and acts on each channel alone.

    A resizing to a given shape does not: the shape contains the number of channels.
    """
    return node.op_type in CHANNELWISE and (node.op_type != "Resize" or len(node.input) < 4)


def _step(node: NodeProto) -> float:
    """Return the number of input pixels for each output pixel of a node."""
    return float(np.prod(integers(node, "strides")))  # 1.0 without strides


def _is_concat(node: NodeProto) -> bool:
    """Return whether a node concatenates channels."""
    return node.op_type == "Concat" and _integer(node, "axis", 0) == 1


def _integer(node: NodeProto, name: str, default: int) -> int:
    return next((int(a.i) for a in node.attribute if a.name == name), default)


def _copy_of(node: NodeProto, inputs: list[str], output: str) -> NodeProto:
    """Return the same operator on other tensors; it is named after its output if that is new."""
    found = NodeProto()
    found.CopyFrom(node)
    found.name = node.name if output == node.output[0] else output
    del found.input[:], found.output[:]
    found.input.extend(inputs)
    found.output.append(output)
    return found
