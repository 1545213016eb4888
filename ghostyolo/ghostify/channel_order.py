"""The order of channels: which nodes share one, which may change, and the best for ghost modules.

A convolution accepts its input's channels in any order, as its weights can be permuted with them.
Sums, products, pooling and similar layers keep the order, and need the same one in all inputs.
Heads, slices, grouped convolutions, and all other layers that address channels by number, need the
order of the original network.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ghostyolo.ghostify.options import Split
from ghostyolo.layers.base import ChannelOrder
from ghostyolo.network import IMAGE, Network, Node

MOST_EXCHANGES = 200


class ChannelOrders:
    """The channel orders of a network, by number; orders that must be the same have one number.

    A node has one order, or for a concatenation those of its inputs, one after the other.
    """

    def __init__(self, network: Network) -> None:
        self._of: dict[int, tuple[int, ...]] = {}  # by node; `_same` gives the final numbers
        self._same: list[int] = []
        self._sizes: list[int] = []
        self._fixed: set[int] = set()
        self._of[IMAGE] = (self._new(network.options.channels),)
        self._fix(IMAGE)
        for node in network:
            self._of[node.index] = self._output(network, node)
            if sum(size for _, size in self.parts(node.index)) != node.shape.c:
                order = order_of(network, node)
                message = f"its class gives order={order!r}, which its number of channels refutes"
                raise node.error(message, "correct `order` in its class")
            self._follow_references(network, node)
        read = {index for node in network for index in node.inputs}
        for node in network:
            if node.index not in read:
                self._fix(node.index)

    def parts(self, index: int) -> list[tuple[int, int]]:
        """Return the orders of a node's channels, each with its number of channels."""
        return [(self._same[number], self._sizes[number]) for number in self._of[index]]

    def is_fixed(self, number: int) -> bool:
        """Return whether an order may not change."""
        return number in {self._same[fixed] for fixed in self._fixed}

    def _new(self, size: int) -> int:
        self._same.append(len(self._same))
        self._sizes.append(size)
        return self._same[-1]

    def _fix(self, index: int) -> None:
        self._fixed.update(self._of[index])

    def _tie(self, one: int, two: int) -> None:
        """Give two nodes the same order; fix both if their parts differ in size."""
        sizes = [[size for _, size in self.parts(index)] for index in (one, two)]
        if sizes[0] != sizes[1]:
            self._fix(one)
            self._fix(two)
            return
        for a, b in zip(self._of[one], self._of[two], strict=True):
            old, new = self._same[a], self._same[b]
            self._same = [new if number == old else number for number in self._same]

    def _output(self, network: Network, node: Node) -> tuple[int, ...]:
        """Return the orders of a node's output, and tie or fix those of its inputs."""
        inputs, order = node.inputs, order_of(network, node)
        if order == "kept":
            full = [index for index in inputs if network.shape(index).c > 1] or list(inputs[:1])
            for one, two in pairwise(full):
                self._tie(one, two)
            return self._of[full[0]]
        if order == "joined":
            return tuple(number for index in inputs for number in self._of[index])
        number = self._new(node.shape.c)
        if order != "absorbed":
            self._fixed.add(number)
            for index in inputs:
                self._fix(index)
        return (number,)

    def _follow_references(self, network: Network, node: Node) -> None:
        """Tie nodes that share weights; fix nodes that are referred to in any other way."""
        for _, other in node.refs:
            if other == node.shares_with:
                self._tie(node.index, other)
                self._tie(node.inputs[0], network[other].inputs[0])
            else:
                self._fix(other)


def order_of(network: Network, node: Node) -> ChannelOrder:
    """Return how a node treats the order of its inputs' channels."""
    return node.layer.channel_order(*network.input_shapes(node))


def origins(split: Split) -> np.ndarray:
    """Return for each map of a ghost module, in its order, the intrinsic map that it is made from.

    An intrinsic map is its own origin.
    """
    return np.concatenate(
        [
            np.arange(split.primary),
            np.arange(split.primary * split.rounds) // max(1, split.rounds),
            np.arange(split.rest) // max(1, _rest_per_source(split)),
        ]
    )


def choose_intrinsic(errors: np.ndarray, split: Split) -> np.ndarray:
    """Return an order of the maps, intrinsic maps first, that gives the cheap maps small errors.

    errors: (n, n), [p, j] is the error of map j made from map p. The pairs are taken in the order
    of their errors while the intrinsic map may have another cheap map; then pairs of cheap maps are
    exchanged while that lowers the sum of the errors.
    """
    cheap = _greedy(errors, split)
    intrinsic = sorted(cheap, key=lambda index: (-len(cheap[index]), index))
    rounds = [map_ for index in intrinsic for map_ in cheap[index][: split.rounds]]
    rest = [map_ for index in intrinsic for map_ in cheap[index][split.rounds :]]
    return _exchange(errors, np.array([*intrinsic, *rounds, *rest]), split)


def _rest_per_source(split: Split) -> int:
    """Return how many maps of the rest are made from each of the first `source` intrinsic maps."""
    return split.rest // split.source if split.rest else 0


def _greedy(errors: np.ndarray, split: Split) -> dict[int, list[int]]:
    """Return the cheap maps of each intrinsic map."""
    n, extra, made = len(errors), _rest_per_source(split), set[int]()
    with_extra = split.source  # the number of intrinsic maps that may still take `extra` more
    cheap: dict[int, list[int]] = {}
    order = np.argsort(errors + np.diag(np.full(n, np.inf)), axis=None, kind="stable")
    for complete in (False, True):  # at last, maps without a good pair fill the free places
        if complete:
            rest = [index for index in range(n) if index not in cheap and index not in made]
            for index in rest[: split.primary - len(cheap)]:
                cheap[index] = []
        for p, j in zip(*np.unravel_index(order, errors.shape), strict=True):
            if j in made or j in cheap or p in made or p == j:
                continue
            if p not in cheap and len(cheap) == split.primary:
                continue
            have = len(cheap.get(p, ()))
            if have >= split.rounds + (extra if with_extra or have > split.rounds else 0):
                continue
            with_extra -= have == split.rounds
            cheap.setdefault(int(p), []).append(int(j))
            made.add(int(j))
            if len(made) == split.cheap:
                break
    return cheap | {index: [] for index in range(n) if index not in made and index not in cheap}


def _exchange(errors: np.ndarray, order: np.ndarray, split: Split) -> np.ndarray:
    """Exchange pairs of cheap maps while that lowers the sum of the errors."""
    m, source = split.primary, origins(split)[split.primary :]
    for _ in range(MOST_EXCHANGES):
        at = order[:m][source]
        own = errors[at, order[m:]]
        crossed = errors[at[:, None], order[None, m:]]
        change = crossed + crossed.T - own[:, None] - own[None, :]
        a, b = np.unravel_index(np.argmin(change), change.shape)
        if change[a, b] >= -1e-9:
            break
        order[[m + a, m + b]] = order[[m + b, m + a]]
    return order
