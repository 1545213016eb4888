"""The feature maps of a network that torch need not compute, and those that it may overwrite.

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
    """Return the concatenations whose readers are all depthwise convolutions with a stride.

    Such a convolution can compute on the parts and join its smaller outputs, so that the largest
    feature map of a network of ghost modules is never made.
    """
    readers = _readers(model.network)
    return {
        index
        for index in _concatenations(model) - set(model.output_indices)
        if all(_downsamples(model.layers[reader]) for reader in readers[index])
    }


def overwritable(model: Model) -> set[int]:
    """Return the nodes whose output is new memory with one reader, which may write into it.

    Layers other than these may return their input, or a view of it, which others may read too.
    """
    readers = _readers(model.network)
    new = _concatenations(model) | {
        index for index, layer in enumerate(model.layers) if isinstance(layer, Convolution)
    }
    return {index for index in new - set(model.output_indices) if len(readers[index]) == 1}


def _readers(network: Network) -> list[list[int]]:
    """Return the readers of each node, one entry for each time that they read it."""
    readers: list[list[int]] = [[] for _ in network]
    for node in network:
        for index in node.inputs:
            if index != IMAGE:
                readers[index].append(node.index)
    return readers


def _concatenations(model: Model) -> set[int]:
    """Return the concatenations that do not split their inputs into groups."""
    return {
        node.index
        for node, layer in zip(model.network, model.layers, strict=True)
        if isinstance(layer, Route) and layer.groups == 1 and len(node.inputs) > 1
    }


def _downsamples(layer: Any) -> bool:
    """Return whether a layer is a depthwise convolution with a stride and without a blur."""
    if not isinstance(layer, Convolution) or not isinstance(layer.blur, nn.Identity):
        return False
    return layer.conv.groups == layer.conv.in_channels and max(layer.conv.stride) > 1
