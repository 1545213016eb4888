"""Small pieces that every family uses. Each is a function (network, x, ...) -> Node."""

from __future__ import annotations

from ghostyolo.layers.avgpool import Avgpool
from ghostyolo.layers.convolutional import Convolutional
from ghostyolo.layers.route import Route
from ghostyolo.layers.scale_channels import ScaleChannels
from ghostyolo.layers.shortcut import Shortcut
from ghostyolo.network import Network, Node

GATES = ("logistic", "hard")


def conv(
    network: Network,
    x: Node | int,
    filters: int,
    size: int = 1,
    *,
    stride: int = 1,
    groups: int = 1,
    activation: str = "relu",
    norm: bool = True,
    name: str = "",
) -> Node:
    """Add a convolution that keeps the size at stride 1; norm=False gives it a bias instead."""
    layer = Convolutional(
        batch_normalize=int(norm),
        filters=filters,
        groups=groups,
        size=size,
        stride=stride,
        pad=1,
        activation=activation,
    )
    return network.add(layer, x, name=name)


def depthwise(
    network: Network,
    x: Node,
    size: int,
    *,
    stride: int = 1,
    activation: str = "linear",
    name: str = "",
) -> Node:
    """Add a convolution that filters every channel on its own."""
    channels = x.shape.c
    return conv(
        network,
        x,
        channels,
        size,
        stride=stride,
        groups=channels,
        activation=activation,
        name=name,
    )


def squeeze_excite(
    network: Network, x: Node, reduced: int, *, gate: str = "logistic", name: str = ""
) -> Node:
    """Scale each channel by a gate computed from the channel means.

    gate "hard" is exact up to a factor: it gives 2 x times the hard sigmoid
    relu6(v + 3) / 6 = (1 + hardtan(v / 3)) / 2, as x + x * hardtan(v / 3). The next convolution's
    weights take the 1/2, and those that make v take the 1/3.
    Source: Hu et al., Squeeze-and-Excitation Networks, CVPR 2018.
    """
    squeezed = network.add(Avgpool(), x, name=f"{name} squeeze")
    squeezed = conv(network, squeezed, reduced, norm=False, name=f"{name} reduce")
    activation = {"logistic": "logistic", "hard": "hardtan"}[gate]
    gated = conv(
        network, squeezed, x.shape.c, norm=False, activation=activation, name=f"{name} expand"
    )
    scaled = network.add(ScaleChannels(), gated, x, name=f"{name} excite")
    if gate == "logistic":
        return scaled
    return network.add(Shortcut(), scaled, x, name=f"{name} x + x * gate")


def concat(network: Network, *inputs: Node, name: str = "") -> Node:
    """Join maps by channel, in the order given."""
    return network.add(Route(), *inputs, name=name)


def add(network: Network, *inputs: Node, name: str = "") -> Node:
    """Sum maps of one shape."""
    return network.add(Shortcut(), *inputs, name=name)


def make_divisible(value: float, divisor: int = 4) -> int:
    """Round a channel count to a multiple, never below nine tenths of it.

    Source: huawei-noah/Efficient-AI-Backbones, ghostnet_pytorch/ghostnet.py _make_divisible.
    """
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded
