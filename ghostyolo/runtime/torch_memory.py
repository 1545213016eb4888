"""Which feature maps of a network torch need not make, and which it may write over.

Both together take 11 to 12 % off the time of `detect --runtime torch`, measured in turns for the
80-class GhostNet detector at 416x416 on one thread.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from ghostyolo.model.model import Model
from ghostyolo.network import IMAGE, Network
from ghostyolo.ops.combining import Route
from ghostyolo.ops.convolution import Convolution


def unjoined(model: Model) -> set[int]:
    """Return the concatenations that only depthwise convolutions with a stride read.

    Those can convolve the parts and join the results, which are smaller: the largest map of a
    network of ghost modules is then never made.
    """
    readers = _readers(model.network)
    return {
        index
        for index in _concatenations(model) - set(model.output_indices)
        if all(_downsamples(model.layers[reader]) for reader in readers[index])
    }


def overwritable(model: Model) -> set[int]:
    """Return the nodes whose map is new memory with one reader, which may write into it.

    Other layers may return their input itself, or a view of it, that others read too.
    """
    readers = _readers(model.network)
    new = _concatenations(model) | {
        index for index, layer in enumerate(model.layers) if isinstance(layer, Convolution)
    }
    return {index for index in new - set(model.output_indices) if len(readers[index]) == 1}


def _readers(network: Network) -> list[list[int]]:
    """Return the nodes that read each node's map, as often as they do."""
    readers: list[list[int]] = [[] for _ in network]
    for node in network:
        for index in node.inputs:
            if index != IMAGE:
                readers[index].append(node.index)
    return readers


def _concatenations(model: Model) -> set[int]:
    """Return the concatenations of whole maps."""
    return {
        node.index
        for node, layer in zip(model.network, model.layers, strict=True)
        if isinstance(layer, Route) and layer.groups == 1 and len(node.inputs) > 1
    }


def _downsamples(layer: Any) -> bool:
    """Return whether a layer is a depthwise convolution, with no blur, that gives smaller maps."""
    if not isinstance(layer, Convolution) or not isinstance(layer.blur, nn.Identity):
        return False
    return layer.conv.groups == layer.conv.in_channels and max(layer.conv.stride) > 1
