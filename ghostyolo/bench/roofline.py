"""The least time of each layer of a network by this machine's roofline, and what bounds it.

Source: Williams et al., Roofline, CACM 2009.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ghostyolo.layers import count
from ghostyolo.network import Network, Node
from ghostyolo.network.cost import FLOAT, Machine
from ghostyolo.network.liveness import most_numbers

ARITHMETIC, MEMORY, NOTHING = "arithmetic", "memory", ""


@dataclass(frozen=True)
class Bound:
    """The least time of a layer for a batch, in seconds, and what bounds it: `by`.

    macs: multiply-adds of the batch. bytes: moved for the batch; inputs, output and weights move
    once, batch norm and activation are computed within the convolution.
    """

    index: int
    kind: str
    macs: int
    bytes: int
    seconds: float
    by: str


def bounds(network: Network, machine: Machine, batch: int) -> list[Bound]:
    """Return the bound of every layer."""
    return [_bound(network, node, machine, batch) for node in network]


def least_seconds(table: Sequence[Bound]) -> float:
    """Return the sum of the least times of all layers."""
    return sum(row.seconds for row in table)


def memory_share(table: Sequence[Bound]) -> float:
    """Return the fraction of the least time that the layers bound by memory take."""
    bound = sum(row.seconds for row in table if row.by == MEMORY)
    return bound / max(least_seconds(table), 1e-12)


def least_bytes(network: Network, batch: int) -> int:
    """Return the bytes of all weights and of the largest set of feature maps needed at once."""
    weights = sum(count(node.layer.weights(*network.input_shapes(node))) for node in network)
    return FLOAT * (weights + batch * most_numbers(network))


def _bound(network: Network, node: Node, machine: Machine, batch: int) -> Bound:
    inputs = network.input_shapes(node)
    macs = batch * node.layer.macs(node.shape, *inputs)
    numbers = node.layer.numbers_moved(node.shape, *inputs)
    weights = count(node.layer.weights(*inputs)) if numbers else 0
    moved = FLOAT * (batch * (numbers - weights) + weights)
    arithmetic, memory = macs / machine.macs_per_s, moved / machine.bytes_per_s
    by = (ARITHMETIC if arithmetic >= memory else MEMORY) if moved else NOTHING
    return Bound(node.index, node.layer.kind, macs, moved, max(arithmetic, memory), by)
