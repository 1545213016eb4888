"""VGG for ImageNet, with or without batch norm, and VGG-16 with batch norm for CIFAR-10.

Source: Simonyan & Zisserman, Very Deep Convolutional Networks, ICLR 2015, table 1, without batch
norm; batch norm as in torchvision, models/vgg.py. For CIFAR-10: Li et al., Pruning Filters for
Efficient ConvNets, ICLR 2017, section 4.1, the VGG-16 that the GhostNet paper compresses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ghostyolo.errors import OptionError
from ghostyolo.layers.connected import Connected
from ghostyolo.layers.local_avgpool import LocalAvgpool
from ghostyolo.layers.upsample import Upsample
from ghostyolo.network import IMAGE, Network, Node
from ghostyolo.zoo.base import CIFAR, CIFAR_TRAINING, IMAGENET, Family, option
from ghostyolo.zoo.blocks import conv, dropout, linear, maxpool, pool

WIDTHS = (64, 128, 256, 512, 512)
CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
FEATURES, SIDE, DROPOUT = 4096, 7, 0.5  # the connected layers see 7x7 pixels
CIFAR_FEATURES = 512


@dataclass(frozen=True)
class VGG(Family):
    """depth: a key of `CONVOLUTIONS`; it counts three connected layers. norm: of convolutions."""

    depth: int = 16
    norm: str = option("batch", "batch norm, or biases only", choices=("batch", "none"))

    def features(self, network: Network) -> Iterator[tuple[int, Node]]:
        x: Node | int = IMAGE
        for level, (width, count) in enumerate(zip(WIDTHS, CONVOLUTIONS[self.depth], strict=True)):
            for place in range(count):
                name = f"stage {level + 1}, conv {place + 1}"
                x = conv(network, x, width, 3, norm=self.norm == "batch", name=name)
            yield 1 << level, network[-1]
            x = maxpool(network, network[-1], 2, padding=0, name=f"pool {level + 1}")
        yield 32, network[-1]

    def logits(self, network: Network, x: Node, classes: int) -> Node:
        x = _seven(network, x)
        for number in (1, 2):
            x = network.add(Connected(output=FEATURES, activation="relu"), x, name=f"fc {number}")
            x = dropout(network, x, DROPOUT)
        return network.add(Connected(output=classes, activation="linear"), x, name="classes")


class CifarVGG(VGG):
    """VGG for images of 32x32 pixels: average pooling, and one layer before the classes."""

    size = CIFAR
    classes = 10
    training = CIFAR_TRAINING

    @classmethod
    def options(cls) -> dict[str, Mapping[str, Any]]:
        return {}  # published only with batch norm

    def logits(self, network: Network, x: Node, classes: int) -> Node:
        x = conv(network, pool(network, x), CIFAR_FEATURES, name="features")
        return linear(network, x, classes)


FAMILIES: dict[str, Family] = {
    **{f"vgg{depth}": VGG(depth) for depth in CONVOLUTIONS},
    "vgg16-cifar": CifarVGG(16),
}


def _seven(network: Network, x: Node) -> Node:
    """Pool a map to 7x7 pixels, as torchvision's adaptive pooling does if its windows are equal.

    For other maps its windows differ in size and overlap, which no section of Darknet can do: over
    10 pixels, windows of 2, 2, 3, 2, 3, 2 and 2 pixels begin at 0, 1, 2, 4, 5, 7 and 8.

    Raises `OptionError` for such maps.
    """
    _, h, w = x.shape
    if h == w and h % SIDE == 0:
        if h == SIDE:
            return x
        size = h // SIDE
        return network.add(LocalAvgpool(size=size, stride=size, padding=0), x, name="pool to 7x7")
    if h == w == 1:
        return network.add(Upsample(stride=SIDE), x, name="repeat to 7x7")
    side = max(1, round(max(h, w) / SIDE)) * IMAGENET[0]
    message = f"{h}x{w} maps before the connected layers do not divide into 7x7 equal windows"
    raise OptionError(message, hint=f"use --size {side}x{side}")
