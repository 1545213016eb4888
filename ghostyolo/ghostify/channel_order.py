"""Which nodes share an order of channels, and which orders may change.

A convolution takes its input's channels in any order, as its weights can be permuted with them.
Sums, products, pooling and the like keep the order, and need the same one in all inputs. Heads,
slices, grouped convolutions, and whatever else knows its channels by number, need the order as it
is.
"""

from __future__ import annotations

from itertools import pairwise

from ghostyolo.layers.base import ChannelOrder
from ghostyolo.network import IMAGE, Network, Node


class ChannelOrders:
    """The channel orders of a network, in disjoint sets of those that have to be the same.

    of: by node, the numbers of its channels' orders; a route has those of its inputs, one after
    the other. Numbers of the same `representative` are one order.
    """

    def __init__(self, network: Network) -> None:
        self.of: dict[int, tuple[int, ...]] = {}
        self._same: list[int] = []
        self._sizes: list[int] = []
        self._fixed: set[int] = set()
        self.of[IMAGE] = (self._new(network.options.channels),)
        self._fix(IMAGE)
        for node in network:
            self.of[node.index] = self._output(network, node)
            self._side(network, node)
        read = {index for node in network for index in node.inputs}
        for node in network:
            if node.index not in read:
                self._fix(node.index)

    def representative(self, number: int) -> int:
        """Return the number that stands for all in the same set."""
        while self._same[number] != number:
            number = self._same[number]
        return number

    def sizes(self, index: int) -> list[tuple[int, int]]:
        """Return the orders of a node's channels, each with its number of channels."""
        return [(self.representative(number), self._sizes[number]) for number in self.of[index]]

    def is_fixed(self, number: int) -> bool:
        """Return whether an order may not change."""
        return self.representative(number) in {self.representative(other) for other in self._fixed}

    def _new(self, size: int) -> int:
        self._same.append(len(self._same))
        self._sizes.append(size)
        return self._same[-1]

    def _fix(self, index: int) -> None:
        self._fixed.update(self.of[index])

    def _tie(self, one: int, two: int) -> None:
        """Give two nodes one order; fix both where their parts differ in size."""
        parts = [[self._sizes[number] for number in self.of[index]] for index in (one, two)]
        if parts[0] != parts[1]:
            self._fix(one)
            self._fix(two)
            return
        for a, b in zip(self.of[one], self.of[two], strict=True):
            self._same[self.representative(a)] = self.representative(b)

    def _output(self, network: Network, node: Node) -> tuple[int, ...]:
        inputs, order = node.inputs, order_of(network, node)
        if order == "kept":
            full = [index for index in inputs if network.shape(index).c > 1] or list(inputs[:1])
            for one, two in pairwise(full):
                self._tie(one, two)
            return self.of[full[0]]
        if order == "joined":
            return tuple(number for index in inputs for number in self.of[index])
        number = self._new(node.shape.c)
        if order != "absorbed":
            self._fixed.add(number)
            for index in inputs:
                self._fix(index)
        return (number,)

    def _side(self, network: Network, node: Node) -> None:
        """Tie nodes that share weights; fix what is referred to in any other way."""
        for _, other in node.refs:
            if other == node.shares_with:
                self._tie(node.index, other)
                self._tie(node.inputs[0], network[other].inputs[0])
            else:
                self._fix(other)


def order_of(network: Network, node: Node) -> ChannelOrder:
    """Return how a node treats the order of its inputs' channels."""
    return node.layer.channel_order(*network.input_shapes(node))
