"""Pair the tensors of a cfg with those of a file, by name, shape and scale."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import NamedTuple

import torch
from torch import Tensor

from ghostyolo.layers import LayerError
from ghostyolo.layers.convolutional import Convolutional
from ghostyolo.network import Network, Node, weights_file
from ghostyolo.ops.convolution import EPS
from ghostyolo.zoo.state_dicts import STATE_DICTS, StateDictLayer, gates

OWN = "ghostyolo"  # the names of `Model.state_dict`
SWAPPED = {"relu", "relu6", "swish"}  # gencfg --activation may replace one by another
HINT = "use the cfg of the same network: family, width and classes"


class TensorPair(NamedTuple):
    """A tensor `name` of a node, called ours, and its counterpart `key` in a file, called theirs.

    ours = theirs / divisor - minus + shift. minus: the key of another tensor, if any. rows: the
    rows of theirs that ours has, all if empty. order: for each input channel of ours, its index in
    theirs.
    """

    node: Node
    name: str
    shape: tuple[int, ...]
    key: str
    their_shape: tuple[int, ...]
    divisor: int = 1
    shift: float = 0.0
    minus: str = ""
    rows: tuple[int, ...] = ()
    order: tuple[int, ...] = ()

    @property
    def stored(self) -> tuple[int, str]:
        """Return the index of the node and the tensor's name there."""
        return self.node.index, self.name

    @property
    def keys(self) -> tuple[str, ...]:
        """Return the keys of the file's tensors that ours is computed from."""
        return (self.key, self.minus) if self.minus else (self.key,)

    def ours(self, theirs: dict[str, Tensor]) -> Tensor:
        """Return our tensor, computed from a file's tensors in double precision."""
        value = theirs[self.key].double() / self.divisor
        value = value - theirs[self.minus].double() if self.minus else value
        value = value + self.shift if self.shift else value
        value = value[list(self.rows)] if self.rows else value
        value = value[:, list(self.order)] if self.order else value
        return value.float().reshape(self.shape)

    def write(self, ours: Tensor, theirs: dict[str, Tensor]) -> None:
        """Add the counterpart of a tensor of the model to a file's tensors.

        It is computed in double precision. The tensor `minus` becomes zero, as ours holds the
        difference.
        """
        value = ours.detach().cpu().double()
        value = ((value - self.shift if self.shift else value) * self.divisor).float()
        if self.order:
            value = value[:, [self.order.index(place) for place in range(len(self.order))]]
        whole = theirs.setdefault(self.key, torch.zeros(self.their_shape))
        rows = list(self.rows) or slice(None)
        whole[rows] = value.reshape(whole[rows].shape)
        if self.minus:
            theirs[self.minus] = torch.zeros(self.their_shape)


def pairs(
    network: Network, kind: str, eps: float | None = None, *, exact: bool = True
) -> Iterator[list[TensorPair]]:
    """Yield the tensors of each layer that has weights, with their counterparts.

    kind: `OWN` or a family. eps: of the batch norms, if it is not the published one. exact: whether
    another gate or activation is an error. Raises `LayerError` at the first layer that has no
    counterpart.
    """
    if kind == OWN:
        for node in network:
            stored = weights_file.stored(network, node)
            prefix = f"layers.{node.index}"
            yield [TensorPair(node, n, shape, f"{prefix}.{n}", shape) for n, shape in stored]
        return
    foreign, found = STATE_DICTS[kind], gates(network)
    if exact and (unlike := differences(network, kind)):
        raise unlike[0][1]
    shift = (foreign.eps if eps is None else eps) - EPS
    nodes = [node for node in network if weights_file.stored(network, node)]
    for node, theirs in zip_longest(nodes, foreign.layers(nodes)):
        if node is None:
            raise LayerError(f"the cfg ends before {kind}'s {theirs.conv}", HINT)
        if theirs is None:
            raise LayerError(f"{label(node)} comes after the last layer of {kind}", HINT)
        yield [
            pair._replace(
                divisor=found.divisors.get((node.index, pair.name), 1),
                shift=shift if pair.name == "norm.running_var" else 0.0,
            )
            for pair in _renamed(node, weights_file.stored(network, node), theirs, kind)
        ]


def differences(network: Network, kind: str) -> list[tuple[Node, LayerError]]:
    """Return the nodes whose gate or activation differs from the family's, in their order.

    Each node comes with an error that names the difference.
    """
    foreign, found = STATE_DICTS[kind], []
    if foreign.hard:
        hint = "make the cfg with gencfg --gate hard, or start a training with --backbone-only"
        for node in gates(network).soft:
            message = f"{label(node)} has another gate than the hard sigmoid of these weights"
            found.append((node, LayerError(message, hint)))
    for node in network:
        own = getattr(node.layer, "activation", "")
        if isinstance(node.layer, Convolutional) and own in SWAPPED - {foreign.activation}:
            message = f"{label(node)} has activation={own}, {kind}'s is {foreign.activation}"
            hint = "make the cfg without gencfg --activation, or train with --backbone-only"
            found.append((node, LayerError(message, hint)))
    return sorted(found, key=lambda item: item[0].index)


def fitting(
    layers: Iterator[list[TensorPair]], tensors: dict[str, Tensor]
) -> tuple[list[TensorPair], LayerError | None]:
    """Return the pairs of the first layers that fit a file, and the error of the next layer."""
    matched: list[TensorPair] = []
    try:
        for layer in layers:
            for pair in reversed(layer):  # so that the weight, which is last, is checked first
                _check(pair, tensors)
            matched += layer
    except LayerError as misfit:
        return matched, misfit
    return matched, None


def fill(ours: list[dict[str, Tensor]], pairs: list[TensorPair], theirs: dict[str, Tensor]) -> None:
    """Copy a file's tensors to those of the nodes, which `Model.tensors` returns."""
    with torch.no_grad():
        for pair in pairs:
            ours[pair.node.index][pair.name].copy_(pair.ours(theirs))


def label(node: Node) -> str:
    """Return a node's name in a message."""
    place = f" ({node.span})" if node.span else ""
    return f"layer {node.index} [{node.layer.kind}]{place}"


def _renamed(
    node: Node, stored: list[tuple[str, tuple[int, ...]]], theirs: StateDictLayer, kind: str
) -> Iterator[TensorPair]:
    parts = {name.partition(".")[0] for name, _ in stored}
    if not parts <= {"conv", "linear", "norm"}:
        raise LayerError(f"{label(node)} has weights that {kind} does not have", HINT)
    if ("norm" in parts) != bool(theirs.norm):
        one, other = ("batch norm", "a bias") if "norm" in parts else ("a bias", "batch norm")
        raise LayerError(f"{label(node)} has {one}, {kind}'s {theirs.conv} has {other}", HINT)
    for name, shape in stored:
        part, _, leaf = name.partition(".")
        key = f"{theirs.norm if part == 'norm' else theirs.conv}.{leaf}"
        there = (theirs.filters or shape[0], *shape[1:])
        yield TensorPair(
            node,
            name,
            shape,
            key,
            there[:2] if theirs.matrix else there,
            minus=f"{theirs.conv}.bias" if theirs.biased and leaf == "running_mean" else "",
            rows=theirs.rows,
            order=theirs.order if leaf == "weight" and part != "norm" else (),
        )


def _check(pair: TensorPair, tensors: dict[str, Tensor]) -> None:
    """Raise `LayerError` unless a file holds a pair's counterparts, as floats of the same shape."""
    for key in pair.keys:
        theirs = tensors.get(key)
        if theirs is None:
            raise LayerError(f"holds no '{key}' for {label(pair.node)} {pair.name}", HINT)
        dense = theirs.layout == torch.strided and theirs.device.type == "cpu"
        if not dense or not theirs.is_floating_point():
            message = f"'{key}' is {theirs.dtype}, {theirs.layout} on {theirs.device}"
            raise LayerError(message, "save it as dense floats")
        if _trimmed(theirs.shape) != _trimmed(pair.their_shape):
            have, want = ("x".join(map(str, shape)) for shape in (theirs.shape, pair.their_shape))
            message = f"'{key}' is {have}, {label(pair.node)} {pair.name} needs {want}"
            raise LayerError(message, HINT)


def _trimmed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without trailing ones, as a matrix equals a 1x1 convolution."""
    size = len(shape)
    while size and shape[size - 1] == 1:
        size -= 1
    return tuple(shape[:size])
