"""Frozen layers: all up to the last one with `stopbackward=1`, the key that --freeze sets.

Source: AlexeyAB/darknet src/network.c backward_network, src/parser.c. In Darknet, weight decay
still applies to that last layer.
"""

from __future__ import annotations

from ghostyolo.errors import OptionError
from ghostyolo.model.model import Model
from ghostyolo.network import Network, passes
from ghostyolo.network.outputs import class_counts, detection_heads
from ghostyolo.zoo.networks import backbone_layers

BACKBONE = "backbone"


def frozen_layers(network: Network) -> int:
    """Return the number of first layers that are frozen."""
    return max((node.index + 1 for node in network if node.layer.stopbackward), default=0)


def freeze(model: Model) -> None:
    """Freeze the layers of a model, running statistics included."""
    for layer in model.layers[: frozen_layers(model.network)]:
        layer.eval().requires_grad_(False)


def frozen(network: Network, wanted: str | int) -> Network:
    """Return the network with its first layers frozen, and no others.

    wanted: their number, or BACKBONE for those of `backbone_layers`. Raises `OptionError` if it is
    neither, or if they contain an output of the network.
    """
    count = backbone_layers(network) if wanted == BACKBONE else wanted
    if not str(count).isdecimal():
        raise OptionError(f"freeze={wanted}", hint=f"give a number of layers, or {BACKBONE}")
    count, heads = int(count), detection_heads(network)
    outputs = [node.inputs[0] for node, _ in heads] or [n.index for n, _ in class_counts(network)]
    most = min(outputs, default=0)
    if count > most or (wanted == BACKBONE and not count):
        message = f"freeze={wanted}: layer {most} of {len(network)} computes an output"
        raise OptionError(message, hint=f"give at most {most}")
    return passes.rebuild(
        network, lambda node: node.layer.changed(stopbackward=int(node.index == count - 1))
    )
