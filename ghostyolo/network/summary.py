"""A network in one line, for where it is printed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ghostyolo.errors import counted, printable
from ghostyolo.layers import Head, count

if TYPE_CHECKING:
    from ghostyolo.network.graph import Network

_STATISTICS = ("running_mean", "running_var")


def one_line(network: Network) -> str:
    """Return file, input, classes or output, and the numbers of layers and parameters."""
    span = network[0].span if len(network) else None
    file = os.sep.join(span.path.split(os.sep)[-2:]) if span else ""  # a run's is NAME/model.cfg
    weights = [
        tensor
        for node in network
        if node.shares_with is None
        for tensor in node.layer.weights(*network.input_shapes(node))
    ]
    parts = [
        str(network.options.shape),
        *_result(network),
        counted(len(network), "layer"),
        counted(parameters(weights), "parameter"),
    ]
    return printable(f"network {file}".strip() + f": {', '.join(parts)}")


def parameters(tensors: Sequence[tuple[str, tuple[int, ...]]]) -> int:
    """Return the number of trained values among stored tensors: all but running statistics."""
    return count([item for item in tensors if not item[0].endswith(_STATISTICS)])


def _result(network: Network) -> list[str]:
    """Return the classes and heads of a detector, the classes of a [softmax], else the output."""
    heads = [node.layer for node in network if isinstance(node.layer, Head)]
    if heads:
        classes = max(head.classes for head in heads)
        return [f"{counted(classes, 'class', 'es')} in {counted(len(heads), 'head')}"]
    last = [node for node in network if node.layer.has_output][-1:]
    return [
        counted(node.shape.c, "class", "es") if node.layer.probabilities else f"output {node.shape}"
        for node in last
    ]
