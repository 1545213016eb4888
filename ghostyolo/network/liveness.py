"""Liveness: until when each output of a network is needed, and how much is held at once."""

from __future__ import annotations

from ghostyolo.network import IMAGE, Network


def last_uses(network: Network) -> list[list[int]]:
    """Return, for each node, the outputs that no later node reads."""
    last = {index: node.index for node in network for index in (*node.inputs, node.index)}
    uses: list[list[int]] = [[] for _ in network]
    for index, reader in last.items():
        uses[reader].append(index)
    return uses


def most_numbers(network: Network) -> int:
    """Return the largest number of values that one image needs to be held at once."""
    held, most = {IMAGE: network.options.shape.size}, 0
    for node, dead in zip(network, last_uses(network), strict=True):
        held[node.index] = node.shape.size
        most = max(most, sum(held.values()))
        for index in dead:
            del held[index]
    return most
