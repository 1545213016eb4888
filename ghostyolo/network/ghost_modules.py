"""Find the ghost modules of a network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ghostyolo.layers.convolutional import Convolutional
from ghostyolo.layers.route import Route
from ghostyolo.network import IMAGE, Network, Node


class GhostNodes(NamedTuple):
    """A ghost module: primary convolution, cheap ones, and the `[route]` that concatenates them."""

    primary: Node
    cheap: tuple[Node, ...]
    out: Node


def ghost_modules(network: Network) -> Iterator[GhostNodes]:
    """Yield the ghost modules: a convolution concatenated with depthwise ones of its maps."""
    for node in network:
        if not isinstance(node.layer, Route) or len(node.inputs) < 2 or IMAGE in node.inputs:
            continue
        primary, *cheap = (network[index] for index in node.inputs)
        if isinstance(primary.layer, Convolutional) and all(
            _is_cheap(network, primary, other) for other in cheap
        ):
            yield GhostNodes(primary, tuple(cheap), node)


def _is_cheap(network: Network, primary: Node, node: Node) -> bool:
    """Return whether a node is a depthwise convolution of the primary's maps or of a slice."""
    layer = node.layer
    if not isinstance(layer, Convolutional) or node.inputs[0] == IMAGE:
        return False
    source = network[node.inputs[0]]
    maps = source.shape.c
    if isinstance(source.layer, Route) and len(source.inputs) == 1:
        source = network[source.inputs[0]]
    return source.index == primary.index and layer.computed_groups == maps
