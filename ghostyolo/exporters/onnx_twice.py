"""A rewrite of an ONNX graph: a few channels are computed twice, where that saves a copy.

A ghost module's output is the maps of a convolution beside a depthwise one of them. With both
halves of its input the same maps, one depthwise convolution gives both halves of the output, the
first by kernels that are 1 in the middle:

    (f(W x), f(D f(W x))) = f((1, D) f((W, W) x))        where f(f(x)) = f(x)

That is the same to the last bit, and a shortcut's sum then is one with the convolution. Processors
compute 8 or 16 channels at once, so that the second half costs little where there are few.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, numpy_helper

from ghostyolo.exporters.onnx_nodes import group, joins, like, numbers
from ghostyolo.exporters.onnx_tidy import keep

# Multiplications for a value that may be done again so that it is not copied: with 72, the 80-class
# GhostNet detector is slower again in OpenVINO, but where its memory is slow.
MOST = 32
IDEMPOTENT = ("Relu",)


def twice(model: ModelProto) -> ModelProto:
    """Return the model without the concatenations that cost more than computing again.

    Its graph is changed.
    """
    rewrite = Rewrite(model.graph)
    for node in rewrite.nodes:
        rewrite.try_on(node)
    if rewrite.instead:
        nodes = (rewrite.instead.get(node.output[0], node) for node in rewrite.nodes)
        keep(model.graph, [node for node in nodes if node])
    return model


class Rewrite:
    """A graph's nodes and, by the name of its result, what stands for each that is replaced."""

    def __init__(self, graph: GraphProto) -> None:
        self.graph, self.nodes = graph, list(graph.node)
        self.instead = dict[str, NodeProto | None]()
        self.weights = {tensor.name: tensor for tensor in graph.initializer}
        self.made = {name: node for node in self.nodes for name in node.output}
        self.uses = Counter(name for node in self.nodes for name in node.input)
        self.uses.update(output.name for output in graph.output)

    def try_on(self, join: NodeProto) -> None:
        """Let a depthwise convolution give what a node concatenates, if it is a ghost module."""
        if not joins(join) or len(join.input) != 2:
            return
        for maps, ghosts in (join.input, tuple(reversed(join.input))):
            depthwise = self._depthwise(maps, ghosts)
            if depthwise and self._cost(maps) <= MOST:
                self._double(maps)
                self._replace(join, maps, ghosts, depthwise)
                return

    def _depthwise(self, maps: str, ghosts: str) -> NodeProto | None:
        """Return the convolution of the maps that gives the ghosts, None if it is another."""
        node, source = self.made.get(ghosts), self.made.get(maps)
        if (self.uses[maps], self.uses[ghosts]) != (2, 1) or not node or not source:
            return None
        if node.op_type in IDEMPOTENT:
            if source.op_type != node.op_type or self.uses[node.input[0]] > 1:
                return None
            node = self.made.get(node.input[0])
        fits = node and node.op_type == "Conv" and node.input[0] == maps and self._keeps(node)
        return node if fits else None

    def _keeps(self, node: NodeProto) -> bool:
        """Return whether a convolution is depthwise, with as many maps of the same size."""
        if not all(name in self.weights for name in node.input[1:]):
            return False
        filters, channels, *sides = self.weights[node.input[1]].dims
        strides, steps = numbers(node, "strides") or [1, 1], numbers(node, "dilations") or [1, 1]
        around = [step * (side // 2) for step, side in zip(steps, sides, strict=True)]
        return (
            (channels, group(node)) == (1, filters)
            and all(side % 2 for side in sides)
            and strides == [1, 1]
            and numbers(node, "pads") == around * 2
        )

    def _cost(self, name: str) -> float:
        """Return the multiplications of a value, infinite where it cannot be computed again."""
        node = self.made.get(name)
        if node is None:
            return np.inf
        if node.op_type == "Conv":
            if group(node) > 1 or not all(name in self.weights for name in node.input[1:]):
                return np.inf
            return float(np.prod(self.weights[node.input[1]].dims[1:]))
        alone = all(self.uses[x] == 1 for x in node.input)
        if node.op_type not in ("Add", *IDEMPOTENT) or not alone:
            return np.inf
        return sum(self._cost(x) for x in node.input)

    def _double(self, name: str) -> None:
        """Let a tensor come with all its channels twice."""
        node = self.made[name]
        if node.op_type != "Conv":
            for x in node.input:
                self._double(x)
            return
        again = [np.concatenate([self._value(x)] * 2) for x in node.input[1:]]
        self.instead[name] = like(node, [node.input[0], *self._put(name, again)], name)

    def _replace(self, join: NodeProto, maps: str, ghosts: str, depthwise: NodeProto) -> None:
        """Let the convolution, or its activation, bear the name of the concatenation."""
        result, last = join.output[0], self.made[ghosts]
        kernel, *bias = (self._value(name) for name in depthwise.input[1:])
        one = np.zeros_like(kernel)
        one[..., kernel.shape[-2] // 2, kernel.shape[-1] // 2] = 1
        halves = [(one, kernel), *((np.zeros_like(value), value) for value in bias)]
        order = 1 if join.input[0] == maps else -1
        both = [np.concatenate(pair[::order]) for pair in halves]
        name = result if last is depthwise else depthwise.output[0]
        found = like(depthwise, [maps, *self._put(result, both)], name)
        for attribute in found.attribute:
            if attribute.name == "group":
                attribute.i *= 2
        self.instead[depthwise.output[0]], self.instead[result] = found, None
        if last is not depthwise:
            self.instead[ghosts] = like(last, [name], result)

    def _value(self, name: str) -> np.ndarray:
        return numpy_helper.to_array(self.weights[name])

    def _put(self, result: str, values: list[np.ndarray]) -> list[str]:
        """Put the weights and bias of a convolution into the graph; return their names."""
        names = [f"{result}/{own}" for own in ("weight", "bias")[: len(values)]]
        self.graph.initializer.extend(map(numpy_helper.from_array, values, names))
        return names
