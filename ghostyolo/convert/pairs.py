"""A cfg's tensors paired with those of a file, by name, shape and scale."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import NamedTuple

import torch
from torch import Tensor

from ghostyolo import weights
from ghostyolo.layers import Misfit
from ghostyolo.network import Network, Node
from ghostyolo.ops import EPS
from ghostyolo.zoo.checkpoints import LAYOUTS, Role, gates

OWN = "ghostyolo"  # the names of `Model.state_dict`
HINT = "use the cfg of the same network: family, width and classes"


class Pair(NamedTuple):
    """A tensor of ours and its counterpart `key` in a file: ours = theirs / divisor + shift."""

    node: Node
    name: str
    shape: tuple[int, ...]
    key: str
    their_shape: tuple[int, ...]
    divisor: int = 1
    shift: float = 0.0

    def ours(self, theirs: Tensor) -> Tensor:
        """Return what a tensor of the file is here, rounded once."""
        value = theirs.double() / self.divisor
        return (value + self.shift if self.shift else value).float().reshape(self.shape)

    def theirs(self, ours: Tensor) -> Tensor:
        """Return what a tensor of the model is in the file, rounded once."""
        value = ours.detach().cpu().double()
        value = (value - self.shift if self.shift else value) * self.divisor
        return value.float().reshape(self.their_shape)


def pairs(
    network: Network, kind: str, eps: float | None = None, *, exact: bool = True
) -> Iterator[list[Pair]]:
    """Yield the tensors of each layer that has weights, with their counterparts.

    kind: `OWN` or a family. eps: of its batch norms, if not the family's. exact: whether a gate of
    another kind is a misfit. Raises `Misfit` at the first layer that has no counterpart.
    """
    if kind == OWN:
        for node in network:
            stored = weights.stored(network, node)
            yield [Pair(node, name, shape, own_name(node, name), shape) for name, shape in stored]
        return
    layout, found = LAYOUTS[kind], gates(network)
    if exact and layout.hard and found.soft:
        hint = "make the cfg with gencfg --gate hard, or start a training with --backbone-only"
        raise Misfit(other_gate(found.soft[0]), hint)
    shift = (layout.eps if eps is None else eps) - EPS
    nodes = [node for node in network if weights.stored(network, node)]
    for node, role in zip_longest(nodes, layout.roles):
        if node is None:
            raise Misfit(f"the cfg ends before {kind}'s {role.conv}", HINT)
        if role is None:
            raise Misfit(f"{label(node)} comes after the last layer of {kind}", HINT)
        yield [
            pair._replace(
                divisor=found.divisors.get((node.index, pair.name), 1),
                shift=shift if pair.name == "norm.running_var" else 0.0,
            )
            for pair in _renamed(node, weights.stored(network, node), role, kind)
        ]


def fitting(
    layers: Iterator[list[Pair]], tensors: dict[str, Tensor]
) -> tuple[list[Pair], Misfit | None]:
    """Return the pairs of the first layers that a file holds, and why not those of the next."""
    matched: list[Pair] = []
    try:
        for layer in layers:
            for pair in reversed(layer):  # the weight, which says most, comes last
                _check(pair, tensors)
            matched += layer
    except Misfit as misfit:
        return matched, misfit
    return matched, None


def fill(ours: list[dict[str, Tensor]], pairs: list[Pair], theirs: dict[str, Tensor]) -> None:
    """Copy a file's tensors into those of the nodes, as `Model.tensors` returns them."""
    with torch.no_grad():
        for pair in pairs:
            ours[pair.node.index][pair.name].copy_(pair.ours(theirs[pair.key]))


def own_name(node: Node, name: str) -> str:
    """Return the name that a node's tensor has in `Model.state_dict`."""
    return f"layers.{node.index}.{name}"


def label(node: Node) -> str:
    """Return what a message calls a node."""
    place = f" ({node.span})" if node.span else ""
    return f"layer {node.index} [{node.layer.kind}]{place}"


def other_gate(node: Node) -> str:
    """Return what is wrong with a gate."""
    return f"{label(node)} has another gate than the hard sigmoid of these weights"


def _renamed(
    node: Node, stored: list[tuple[str, tuple[int, ...]]], role: Role, kind: str
) -> Iterator[Pair]:
    parts = {name.partition(".")[0] for name, _ in stored}
    if not parts <= {"conv", "linear", "norm"}:
        raise Misfit(f"{label(node)} has weights that {kind} has not", HINT)
    if ("norm" in parts) != bool(role.norm):
        one, other = ("batch norm", "a bias") if "norm" in parts else ("a bias", "batch norm")
        raise Misfit(f"{label(node)} has {one}, {kind}'s {role.conv} has {other}", HINT)
    for name, shape in stored:
        part, _, leaf = name.partition(".")
        key = f"{role.norm if part == 'norm' else role.conv}.{leaf}"
        yield Pair(node, name, shape, key, shape[:2] if role.matrix else shape)


def _check(pair: Pair, tensors: dict[str, Tensor]) -> None:
    """Raise `Misfit` unless a file holds a pair's counterpart, as floats of its shape."""
    theirs = tensors.get(pair.key)
    if theirs is None:
        raise Misfit(f"holds no '{pair.key}' for {label(pair.node)} {pair.name}", HINT)
    if not _plain(theirs):
        message = f"'{pair.key}' is {theirs.dtype}, {theirs.layout} on {theirs.device}"
        raise Misfit(message, "save it as dense floats")
    if _trimmed(theirs.shape) != _trimmed(pair.their_shape):
        have, want = ("x".join(map(str, shape)) for shape in (theirs.shape, pair.their_shape))
        message = f"'{pair.key}' is {have}, {label(pair.node)} {pair.name} needs {want}"
        raise Misfit(message, HINT)


def _plain(tensor: Tensor) -> bool:
    dense = tensor.layout == torch.strided and tensor.device.type == "cpu"
    return dense and tensor.is_floating_point()


def _trimmed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without the ones at its end: a matrix is a 1x1 convolution."""
    size = len(shape)
    while size and shape[size - 1] == 1:
        size -= 1
    return tuple(shape[:size])
