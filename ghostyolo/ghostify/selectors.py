"""Selectors of convolutions: words such as 0-12, stem, 3x3, filters>=64 or a name with *."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ghostyolo.errors import OptionError
from ghostyolo.layers import count
from ghostyolo.layers.convolutional import Convolutional
from ghostyolo.network import Network, Node

MEASURES: dict[str, Callable[[Network, Node], int]] = {
    "filters": lambda network, node: node.shape.c,
    "parameters": lambda network, node: count(node.layer.weights(*network.input_shapes(node))),
    "macs": lambda network, node: node.layer.macs(node.shape, *network.input_shapes(node)),
}
WORDS = (
    "all, stem, heads, strided, indices and ranges as 4 or 4-9, kernels as 3x3, "
    "filters>=64, parameters>=1000, macs>=1000000, or a name with * in it"
)


@dataclass(frozen=True)
class Selection:
    """The convolutions that selectors choose; `named` those chosen by name, number or group."""

    chosen: frozenset[int]
    named: frozenset[int]


def select(
    network: Network,
    words: tuple[str, ...],
    *,
    stems: frozenset[int] = frozenset(),
    heads: frozenset[int] = frozenset(),
) -> Selection:
    """Return the convolutions that any of the words selects and that all words with >= select.

    Raises `OptionError` for a word that selects nothing: it is a slip, or of another network.
    """
    nodes = [node for node in network if isinstance(node.layer, Convolutional)]
    every = frozenset(node.index for node in nodes)
    groups = {"all": every, "stem": stems, "heads": heads}
    chosen, named, least, broad = set[int](), set[int](), every, True
    for word in words:
        if found := _measured(network, nodes, word):
            least &= found
            continue
        broad = False
        exact = groups.get(word)
        hits = exact if exact is not None else _matching(nodes, word)
        if not hits:
            raise OptionError(f"'{word}' selects no convolution", hint=f"use {WORDS}")
        chosen |= hits
        if exact is not None or not _is_class(word):
            named |= hits
    return Selection(frozenset(every if broad else chosen) & least, frozenset(named) & least)


def _measured(network: Network, nodes: list[Node], word: str) -> frozenset[int] | None:
    """Return the convolutions that a word with >= selects; None for any other word."""
    match = re.fullmatch(r"(\w+)>=(\d+)", word)
    if not match:
        return None
    if match[1] not in MEASURES:
        raise OptionError(f"'{word}': no measure {match[1]}", hint=f"use {', '.join(MEASURES)}")
    measure, least = MEASURES[match[1]], int(match[2])
    found = frozenset(node.index for node in nodes if measure(network, node) >= least)
    if not found:
        most = max((measure(network, node) for node in nodes), default=0)
        raise OptionError(f"'{word}' selects nothing", hint=f"the largest has {most}")
    return found


def _is_class(word: str) -> bool:
    """Return whether a word selects by a property of the layers."""
    return word == "strided" or bool(re.fullmatch(r"\d+x\d+", word))


def _matching(nodes: list[Node], word: str) -> set[int]:
    if match := re.fullmatch(r"(\d+)(?:-(\d+))?", word):
        wanted = range(int(match[1]), int(match[2] or match[1]) + 1)
        return {node.index for node in nodes if node.index in wanted}
    return {node.index for node in nodes if _fits(node, word)}


def _fits(node: Node, word: str) -> bool:
    layer = node.layer
    assert isinstance(layer, Convolutional)
    if word == "strided":
        return max(layer.stride_x, layer.stride_y) > 1
    if _is_class(word):
        return word == f"{layer.size}x{layer.size}"
    return fnmatchcase(node.title.lower(), word.lower())
