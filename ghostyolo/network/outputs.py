"""The outputs of a network: its detection heads, or the output of a classifier."""

from __future__ import annotations

from dataclasses import dataclass

from ghostyolo.layers import Head
from ghostyolo.network import IMAGE, Network, Node


@dataclass(frozen=True)
class ClassifierOutput:
    """The output of a classifier.

    logits: the node that outputs logits, which are divided by the temperature before softmax.
    source: the layer with an output for each class: `logits`, or the layer above if `logits` is a
    global average pool. softmax: the node that computes probabilities, None if the network ends in
    logits.
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
        """Return the temperature by which logits are divided."""
        return getattr(self.softmax.layer, "temperature", 1.0) if self.softmax else 1.0


def detection_heads(network: Network) -> list[tuple[Node, Head]]:
    """Return the nodes that make boxes, with their layers."""
    return [(node, node.layer) for node in network if isinstance(node.layer, Head)]


def check_same_classes(network: Network) -> None:
    """Raise `CfgError` if heads differ in their number of classes."""
    heads = detection_heads(network)
    for node, head in heads[1:]:
        if head.classes != heads[0][1].classes:
            message = f"classes={head.classes}, the first head has {heads[0][1].classes}"
            raise node.error(message, "give all heads the same classes")


def output_nodes(network: Network) -> list[Node]:
    """Return the nodes whose outputs are the network's: all heads, or the last node but losses."""
    found = [node for node, _ in detection_heads(network)]
    return found or [node for node in network if node.layer.has_output][-1:]


def classifier_output(network: Network) -> ClassifierOutput | None:
    """Return the output of a classifier, None if the network is not a classifier.

    A classifier has no heads. It ends in a [softmax], or in logits: a linear [connected], a linear
    [convolutional] of one pixel, or a global [avgpool] of a linear layer.
    Source: the classifiers of AlexeyAB/darknet cfg/, which end in both orders of pool and classes.
    """
    last = next(iter(output_nodes(network)), None)
    if last is None or isinstance(last.layer, Head):
        return None
    softmax = last if last.layer.probabilities else None
    above = last.inputs[0] if softmax else last.index
    if above == IMAGE:
        return None
    logits = network[above]
    source = _source(network, logits)
    if softmax is None and (source is None or logits.shape[1:] != (1, 1)):
        return None
    return ClassifierOutput(logits, source or logits, softmax)


def class_counts(network: Network) -> list[tuple[Node, int]]:
    """Return the nodes that predict classes, each with the number of classes."""
    end = classifier_output(network)
    if end:
        return [(end.source, end.classes)]
    return [(node, head.classes) for node, head in detection_heads(network)]


def _source(network: Network, node: Node) -> Node | None:
    """Return the layer that computes the logits, None if it has an activation."""
    while node.layer.keeps_logits and node.inputs[0] != IMAGE:
        node = network[node.inputs[0]]
    return (
        node
        if node.layer.channels_key and getattr(node.layer, "activation", "") == "linear"
        else None
    )
