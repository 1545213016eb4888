"""Liveness: the last use of each output of a network, and the memory needed at once."""

from __future__ import annotations

from ghostyolo.network import IMAGE, Network


def last_uses(network: Network) -> list[list[int]]:
    """Return, for each node, the indices of the outputs that no later node reads."""
    last = {index: node.index for node in network for index in (*node.inputs, node.index)}
    uses: list[list[int]] = [[] for _ in network]
    for index, reader in last.items():
        uses[reader].append(index)
    return uses


def most_numbers(network: Network) -> int:
    """Return the largest number of values that have to be in memory at once for one image."""
    held, most = {IMAGE: network.options.shape.size}, 0
    for node, dead in zip(network, last_uses(network), strict=True):
        held[node.index] = node.shape.size
        most = max(most, sum(held.values()))
        for index in dead:
            del held[index]
    return most
