"""What a network's end says: boxes of so many classes, or the class of the picture."""

from __future__ import annotations

from dataclasses import dataclass

from ghostyolo.layers import Head
from ghostyolo.layers.avgpool import Avgpool
from ghostyolo.layers.connected import Connected
from ghostyolo.layers.convolutional import Convolutional
from ghostyolo.layers.softmax import Softmax
from ghostyolo.network import IMAGE, Network, Node


@dataclass(frozen=True)
class ClassifierOutput:
    """How a classifier ends.

    logits: the node whose output, divided by the temperature, becomes probabilities by softmax.
    source: the layer that has an output for each class, at the logits or before a pool above them.
    softmax: the node that makes probabilities, None where the network leaves them as logits.
    """

    logits: Node
    source: Node
    softmax: Node | None = None

    @property
    def classes(self) -> int:
        """Return the number of classes."""
        return self.logits.shape.size

    @property
    def temperature(self) -> float:
        """Return what logits are divided by."""
        layer = self.softmax.layer if self.softmax else None
        return layer.temperature if isinstance(layer, Softmax) else 1.0


def classifier_output(network: Network) -> ClassifierOutput | None:
    """Return how a classifier ends, None for a network that is none.

    It has no heads, and its last result is a [softmax], or numbers without an activation that stand
    where one has its input: of a global [avgpool], a [connected] or a [convolutional] of one pixel.
    Source: the classifiers of AlexeyAB/darknet cfg/, which end in both orders of pool and classes.
    """
    results = [node for node in network if node.layer.result]
    if not results or any(isinstance(node.layer, Head) for node in network):
        return None
    last = results[-1]
    softmax = last if isinstance(last.layer, Softmax) else None
    above = last.inputs[0] if softmax else last.index
    if above == IMAGE:
        return None
    logits = network[above]
    source = _source(network, logits)
    if softmax is None and (source is None or logits.shape[1:] != (1, 1)):
        return None
    return ClassifierOutput(logits, source or logits, softmax)


def class_counts(network: Network) -> list[tuple[Node, int]]:
    """Return the nodes that tell classes apart, heads or a classifier's last, and of how many."""
    heads = [(node, node.layer.classes) for node in network if isinstance(node.layer, Head)]
    end = classifier_output(network)
    return [(end.source, end.classes)] if end else heads


def _source(network: Network, node: Node) -> Node | None:
    """Return the layer that makes the logits, through a pool; None if it makes no plain ones."""
    while isinstance(node.layer, Avgpool) and node.inputs[0] != IMAGE:
        node = network[node.inputs[0]]
    plain = isinstance(node.layer, Connected | Convolutional)
    return node if plain and getattr(node.layer, "activation", "") == "linear" else None
