"""Passes: functions from a network to a changed one. `Network.add` checks every node again."""

from __future__ import annotations

from collections.abc import Callable

from ghostyolo.errors import OptionError
from ghostyolo.layers import Layer, LayerError
from ghostyolo.network import Network, Node
from ghostyolo.network.net_options import MAX_SIDE, NetOptions
from ghostyolo.network.outputs import classifier_output, detection_heads


def rebuild(
    network: Network,
    layer: Callable[[Node], Layer] = lambda node: node.layer,
    options: NetOptions | None = None,
) -> Network:
    """Return the network with each node's layer replaced by `layer(node)`."""
    result = Network(options or network.options, comment=network.comment)
    for node in network:
        refs = dict(node.refs)
        result.add(layer(node), *node.inputs, name=node.name, span=node.span, **refs)
    return result


def resize(network: Network, size: tuple[int, int]) -> Network:
    """Return the network for an input of (h, w) pixels.

    Raises `OptionError` for a size out of range, `CfgError` if a layer does not support the size.
    """
    height, width = size
    for name, side in (("height", height), ("width", width)):
        if not 0 < side <= MAX_SIDE:
            raise OptionError(f"{name} {side}", hint=f"use 1 to {MAX_SIDE} pixels")
    options = network.options.changed(height=height, width=width)
    return rebuild(network, options=options)


def reclass(network: Network, classes: int) -> Network:
    """Return the network with another number of classes.

    This changes the heads and the layers above them, or the layer of a classifier that has an
    output for each class. Raises `CfgError` for a head whose classes cannot be changed.
    """
    layers: dict[int, Layer] = {}

    def set_channels(node: Node, channels: int) -> None:
        layers[node.index] = node.layer.changed(**{node.layer.channels_key: channels})

    if end := classifier_output(network):
        if not end.source.layer.channels_key or end.source.shape.c != end.classes:
            hint = "put a [connected] or [convolutional] with an output for each class there"
            raise end.source.error("cannot change its classes", hint)
        set_channels(end.source, classes)
    for node, head in detection_heads(network):
        above = network[node.inputs[0]]
        if not above.layer.channels_key:
            hint = "put a [convolutional] above each head"
            message = f"cannot change its classes: [{above.layer.kind}] stands above it"
            raise node.error(message, hint)
        try:
            layers[node.index], channels = head.with_classes(classes)
        except LayerError as error:
            raise node.error(error) from None
        set_channels(above, channels)
    return rebuild(network, lambda node: layers.get(node.index, node.layer))
