"""Other people's checkpoints: what their tensors are called, and how their numbers differ.

A family is one function that yields its layers in the order of our cfg's sections; the table of
`LAYOUTS` is all that the rest knows of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ghostyolo.layers.convolutional import Convolutional
from ghostyolo.layers.scale_channels import ScaleChannels
from ghostyolo.layers.shortcut import Shortcut
from ghostyolo.network import Network, Node
from ghostyolo.zoo.ghost import STEM, TABLE


class Role(NamedTuple):
    """A layer with weights: what precedes `.weight` in its name, and in that of its batch norm.

    matrix: whether the weights are a matrix where the cfg has a 1x1 convolution.
    """

    conv: str
    norm: str = ""
    matrix: bool = False


class Layout(NamedTuple):
    """A family's layers. eps: of its batch norms; hard: whether its gates are hard sigmoids."""

    roles: tuple[Role, ...]
    eps: float
    hard: bool = False

    @property
    def keys(self) -> frozenset[str]:
        """Return the names of the weights, without biases and statistics."""
        prefixes = (name for role in self.roles for name in (role.conv, role.norm) if name)
        return frozenset(f"{prefix}.weight" for prefix in prefixes)


def ghostnet() -> Iterator[Role]:
    """Source: huawei-noah/Efficient-AI-Backbones, ghostnet_pytorch/ghostnet.py; timm's are equal.

    A stage ends where the stride changes.
    """
    yield Role("conv_stem", "bn1")
    stage, place, stride, channels = -1, 0, 0, STEM
    for row in TABLE:
        stage, place = (stage, place + 1) if row.stride == stride else (stage + 1, 0)
        block = f"blocks.{stage}.{place}"
        yield from _ghost(f"{block}.ghost1")
        if row.stride > 1:
            yield Role(f"{block}.conv_dw", f"{block}.bn_dw")
        if row.se:
            yield Role(f"{block}.se.conv_reduce")
            yield Role(f"{block}.se.conv_expand")
        yield from _ghost(f"{block}.ghost2")
        if row.stride > 1 or row.out != channels:
            yield Role(f"{block}.shortcut.0", f"{block}.shortcut.1")
            yield Role(f"{block}.shortcut.2", f"{block}.shortcut.3")
        stride, channels = row.stride, row.out
    yield Role(f"blocks.{stage + 1}.0.conv", f"blocks.{stage + 1}.0.bn1")
    yield Role("conv_head")
    yield Role("classifier", matrix=True)


def _ghost(name: str) -> Iterator[Role]:
    for part in ("primary_conv", "cheap_operation"):
        yield Role(f"{name}.{part}.0", f"{name}.{part}.1")


LAYOUTS = {"ghostnet": Layout(tuple(ghostnet()), eps=1e-5, hard=True)}


class Gates(NamedTuple):
    """A network's squeeze-excites. divisors: what divides the tensors of others to become ours, by
    node and name; soft: the `[scale_channels]` whose gate is no hard sigmoid.
    """

    divisors: dict[tuple[int, str], int]
    soft: list[Node]


def gates(network: Network) -> Gates:
    """Find the gates, and the factors that `squeeze_excite` leaves to the weights around one."""
    divisors: dict[tuple[int, str], int] = {}
    soft = []
    for node in network:
        if not isinstance(node.layer, ScaleChannels):
            continue
        gate, x = (network[index] for index in node.inputs)
        readers = _readers_of_sum(network, node, x)
        if getattr(gate.layer, "activation", "") == "hardtan" and readers:
            divisors |= {(gate.index, "conv.weight"): 3, (gate.index, "conv.bias"): 3}
            divisors |= {(reader.index, "conv.weight"): 2 for reader in readers}
        else:
            soft.append(node)
    return Gates(divisors, soft)


def _readers_of_sum(network: Network, scaled: Node, x: Node) -> list[Node]:
    """Return the convolutions that read x + x * gate; none if anything else reads it."""
    both = {scaled.index, x.index}
    sums = {n.index for n in network if isinstance(n.layer, Shortcut) and set(n.inputs) == both}
    readers = [node for node in network if sums & set(node.inputs)]
    return readers if all(isinstance(node.layer, Convolutional) for node in readers) else []
