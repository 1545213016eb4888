"""ResNets for ImageNet, and the narrow ResNets for CIFAR-10.

Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, table 1 and section 4.2.
The 3x3 convolution of a bottleneck has the stride, as in torchvision, models/resnet.py, not its
first convolution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ghostyolo.network import IMAGE, Network, Node
from ghostyolo.zoo.base import CIFAR, CIFAR_TRAINING, Family
from ghostyolo.zoo.blocks import add, conv, maxpool

WIDTHS = (64, 128, 256, 512)  # of the stages of table 1
EXPANSION = 4  # of a bottleneck
# Blocks of each stage, by depth; networks of 50 layers and more have bottlenecks.
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3),
          152: (3, 8, 36, 3)}  # fmt: skip
CIFAR_WIDTHS = (16, 32, 64)
CIFAR_DEPTHS = (20, 32, 44, 56, 110)

Block = Callable[[Network, Node, int, int, str], Node]  # network, x, width, stride, name


def bottlenecks(depth: int) -> bool:
    """Return whether a network of this depth has bottlenecks."""
    return depth >= 50


@dataclass(frozen=True)
class ResNet(Family):
    """depth: one of `BLOCKS`."""

    depth: int = 50

    def features(self, network: Network) -> Iterator[tuple[int, Node]]:
        x = conv(network, IMAGE, WIDTHS[0], 7, stride=2, name="stem")
        yield 2, x
        x = maxpool(network, x, 3, padding=2, name="pool 1")
        block = bottleneck if bottlenecks(self.depth) else basic
        stages = _stages(network, x, block, WIDTHS, BLOCKS[self.depth])
        yield from ((4 << level, last) for level, last in enumerate(stages))


class CifarResNet(ResNet):
    """depth: one of `CIFAR_DEPTHS`, 6 n + 2 for n blocks in each of three stages."""

    size = CIFAR
    classes = 10
    training = CIFAR_TRAINING

    def features(self, network: Network) -> Iterator[tuple[int, Node]]:
        x = conv(network, IMAGE, CIFAR_WIDTHS[0], 3, name="stem")
        blocks = ((self.depth - 2) // 6,) * len(CIFAR_WIDTHS)
        stages = _stages(network, x, basic_option_a, CIFAR_WIDTHS, blocks)
        yield from ((1 << level, last) for level, last in enumerate(stages))


FAMILIES: dict[str, Family] = {
    **{f"resnet{depth}": ResNet(depth) for depth in BLOCKS},
    **{f"resnet{depth}": CifarResNet(depth) for depth in CIFAR_DEPTHS},
}


def _stages(
    network: Network, x: Node, block: Block, widths: Sequence[int], blocks: Sequence[int]
) -> Iterator[Node]:
    """Add stages of blocks; yield the last node of each. All but the first halve the map."""
    for level, (width, count) in enumerate(zip(widths, blocks, strict=True)):
        for place in range(count):
            stride = 2 if level and not place else 1
            x = block(network, x, width, stride, f"stage {level + 1}, block {place + 1}")
        yield x


def basic(network: Network, x: Node, width: int, stride: int, name: str) -> Node:
    """Add two 3x3 convolutions and x, through a 1x1 convolution where shapes differ."""
    return _sum(network, x, _two_convs(network, x, width, stride, name), stride, name)


def bottleneck(network: Network, x: Node, width: int, stride: int, name: str) -> Node:
    """Reduce, 3x3, expand fourfold; add x, through a 1x1 convolution where shapes differ."""
    y = conv(network, x, width, name=f"{name}, reduce")
    y = conv(network, y, width, 3, stride=stride, name=f"{name}, 3x3")
    y = conv(network, y, EXPANSION * width, activation="linear", name=f"{name}, expand")
    return _sum(network, x, y, stride, name)


def basic_option_a(network: Network, x: Node, width: int, stride: int, name: str) -> Node:
    """Add a basic block with the paper's option A: where shapes differ, x is padded with zeros.

    A pooling of 1x1 pixels takes every other pixel of x, and a `[shortcut]` adds its channels to
    the first channels of the sum.
    """
    y = _two_convs(network, x, width, stride, name)
    if stride > 1:
        x = maxpool(network, x, 1, stride=stride, padding=0, name=f"{name}, every other pixel")
    return add(network, y, x, activation="relu", name=f"{name}, sum")


def _two_convs(network: Network, x: Node, width: int, stride: int, name: str) -> Node:
    y = conv(network, x, width, 3, stride=stride, name=f"{name}, 3x3 first")
    return conv(network, y, width, 3, activation="linear", name=f"{name}, 3x3 second")


def _sum(network: Network, x: Node, y: Node, stride: int, name: str) -> Node:
    if x.shape != y.shape:
        x = conv(network, x, y.shape.c, stride=stride, activation="linear", name=f"{name}, around")
    return add(network, y, x, activation="relu", name=f"{name}, sum")
