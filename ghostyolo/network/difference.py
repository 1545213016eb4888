"""Describe the difference between the computations of two nodes."""

from __future__ import annotations

from ghostyolo.layers import Layer
from ghostyolo.network.graph import Node
from ghostyolo.syntax.values import write


def node_difference(here: Node, there: Node) -> str:
    """Return a text about the differences in kind, keys and inputs, "" if there are none.

    Keys that every kind has are ignored: they affect only training and weights files.
    """
    mine, other = here.layer, there.layer
    if mine.kind != other.kind:
        return f"is [{mine.kind}] here, [{other.kind}] there"
    keys, shared = list(mine.keys()), set(Layer.keys())
    found = [
        f"{key}={write(getattr(mine, key))} here, {write(getattr(other, key))} there"
        for key in keys
        if key not in shared and getattr(mine, key) != getattr(other, key)
    ]
    if (here.inputs, here.refs) != (there.inputs, there.refs):
        reads = [(*node.inputs, *(index for _, index in node.refs)) for node in (here, there)]
        found.append(f"reads layers {reads[0]} here, {reads[1]} there")
    return "; ".join(found)
