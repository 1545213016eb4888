"""Nodes of an ONNX graph: what they are, and others like them."""

from __future__ import annotations

from onnx import NodeProto


def like(node: NodeProto, inputs: list[str], output: str) -> NodeProto:
    """Return a node that does the same to other tensors, named by its result if that is new."""
    found = NodeProto()
    found.CopyFrom(node)
    found.name = node.name if output == node.output[0] else output
    del found.input[:], found.output[:]
    found.input.extend(inputs)
    found.output.append(output)
    return found


def joins(node: NodeProto) -> bool:
    """Return whether a node concatenates channels."""
    return node.op_type == "Concat" and number(node, "axis", 0) == 1


def group(node: NodeProto) -> int:
    """Return the groups of a convolution."""
    return number(node, "group", 1)


def number(node: NodeProto, name: str, default: int) -> int:
    """Return an attribute that is one integer."""
    return next((int(a.i) for a in node.attribute if a.name == name), default)


def numbers(node: NodeProto, name: str) -> list[int]:
    """Return an attribute that is a list of integers, an empty one where it is absent."""
    return next((list(a.ints) for a in node.attribute if a.name == name), [])
