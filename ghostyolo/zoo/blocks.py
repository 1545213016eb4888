"""Blocks that the families share: each function (network, x, ...) adds layers, returns the last."""

from __future__ import annotations

from typing import Any

from ghostyolo.layers.avgpool import Avgpool
from ghostyolo.layers.convolutional import Convolutional
from ghostyolo.layers.dropout import Dropout
from ghostyolo.layers.maxpool import Maxpool
from ghostyolo.layers.route import Route
from ghostyolo.layers.sam import Sam
from ghostyolo.layers.scale_channels import ScaleChannels
from ghostyolo.layers.shortcut import Shortcut
from ghostyolo.layers.upsample import Upsample
from ghostyolo.network import Network, Node

GATES = ("logistic", "hard")
HARD_SWISH = "hswish"  # no activation of Darknet: `conv` writes it as several sections


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
    pad: int = 1,
    name: str = "",
) -> Node:
    """Add a convolution with batch norm, or with a bias instead if norm is False.

    pad: 1 for a padding of size // 2 pixels, 0 for none. activation: one of Darknet's, or
    `HARD_SWISH`, which becomes sections of its own.
    """
    hard = activation == HARD_SWISH
    layer = Convolutional(
        batch_normalize=int(norm),
        filters=filters,
        groups=groups,
        size=size,
        stride=stride,
        pad=pad,
        activation="linear" if hard else activation,
    )
    node = network.add(layer, x, name=name)
    return hard_swish(network, node, name=name) if hard else node


def depthwise(
    network: Network, x: Node, size: int, *, activation: str = "linear", **options: Any
) -> Node:
    """Add a depthwise convolution, one filter for each channel; options: those of `conv`."""
    channels = x.shape.c
    return conv(network, x, channels, size, groups=channels, activation=activation, **options)


def squeeze_excite(
    network: Network, x: Node, reduced: int, *, gate: str = "logistic", name: str = ""
) -> Node:
    """Scale each channel by a gate computed from the channel means.

    reduced: channels between its two 1x1 convolutions, of which the second computes v. gate: the
    sigmoid of v if "logistic". "hard" computes x + x * hardtan(v / 3), which is 2 x times the hard
    sigmoid relu6(v + 3) / 6 = (1 + hardtan(v / 3)) / 2: a checkpoint's weights are divided by 3 in
    the convolution that computes v, and by 2 in the convolution that follows.
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


def hard_swish(network: Network, x: Node, *, name: str = "") -> Node:
    """Add a hard swish, x * relu6(x + 3) / 6.

    Darknet has no such activation, but (x + x * hardtan(x / 3)) / 2 is equal: `[upsample]` of
    stride 1 multiplies by a constant, `[sam]` multiplies maps, `[shortcut]` adds x / 6 to itself
    and applies hardtan to the sum.
    Source: Howard et al., Searching for MobileNetV3, ICCV 2019, section 5.2.
    """
    part = network.add(Upsample(stride=1, scale=1 / 6), x, name=f"{name}, x / 6")
    gate = network.add(Shortcut(activation="hardtan"), part, part, name=f"{name}, clamp x / 3")
    gated = network.add(Sam(), gate, x, name=f"{name}, x * clamp")
    both = network.add(Shortcut(), gated, x, name=f"{name}, x + x * clamp")
    return network.add(Upsample(stride=1, scale=0.5), both, name=f"{name}, h-swish")


def maxpool(
    network: Network, x: Node, size: int, *, stride: int = 2, padding: int, name: str = ""
) -> Node:
    """Add a max pooling; padding: pixels of both sides together; an odd one is right and below."""
    layer = Maxpool(size=size, stride=stride, padding=padding)
    return network.add(layer, x, name=name)


def dropout(network: Network, x: Node, probability: float) -> Node:
    """Add a dropout."""
    return network.add(Dropout(probability=probability), x, name="dropout")


def pool(network: Network, x: Node) -> Node:
    """Add global average pooling."""
    return network.add(Avgpool(), x, name="pool")


def linear(network: Network, x: Node, classes: int) -> Node:
    """Add the linear layer of a classifier to pooled features."""
    return conv(network, x, classes, norm=False, activation="linear", name="classes")


def concat(network: Network, *inputs: Node, name: str = "") -> Node:
    """Concatenate maps by channel, in the order given."""
    return network.add(Route(), *inputs, name=name)


def add(network: Network, *inputs: Node, activation: str = "linear", name: str = "") -> Node:
    """Sum maps of one size; the sum has the channels of the first, further ones are left out."""
    return network.add(Shortcut(activation=activation), *inputs, name=name)


def make_divisible(value: float, divisor: int = 4) -> int:
    """Round a channel count to a multiple of the divisor that is at least nine tenths of it.

    Source: huawei-noah/Efficient-AI-Backbones, ghostnet_pytorch/ghostnet.py _make_divisible.
    """
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded
