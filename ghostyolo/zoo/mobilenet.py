"""MobileNet V1 and V2: depthwise separable convolutions, then inverted residuals.

Source: Howard et al., MobileNets, arXiv 1704.04861, table 1; Sandler et al., MobileNetV2, CVPR
2018, tables 1 and 2. ReLU6 in V1 is that of its published weights; the paper says ReLU.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ghostyolo.network import IMAGE, Network, Node
from ghostyolo.zoo.base import NO_RELU6, Family, check_width, check_word
from ghostyolo.zoo.blocks import add, conv, depthwise, dropout, logits, make_divisible, pool

ACTIVATIONS = ("relu6", "relu")
STEM, FEATURES = 32, 1280  # channels before the tables; V2's after, never below 1280
DROPOUT = 0.2  # of V2; torchvision models/mobilenetv2.py

# V1, table 1: output channels and stride of each separable convolution.
V1 = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1),
    (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip


class Stage(NamedTuple):
    """A row of V2's table 2: expansion factor, output channels, blocks, stride of the first."""

    factor: int
    out: int
    blocks: int
    stride: int


V2 = (
    Stage(1, 16, 1, 1),
    Stage(6, 24, 2, 2),
    Stage(6, 32, 3, 2),
    Stage(6, 64, 4, 2),
    Stage(6, 96, 3, 1),
    Stage(6, 160, 3, 2),
    Stage(6, 320, 1, 1),
)


@dataclass(frozen=True)
class MobileNet(Family):
    """What V1 and V2 share. width: the paper's alpha; activation: relu6, or relu for OpenCV."""

    width: float = 1.0
    activation: str = "relu6"

    def check(self) -> None:
        check_width(self.width)
        check_word("activation", self.activation, ACTIVATIONS)

    def notes(self) -> Iterator[str]:
        if self.activation == "relu6":
            yield NO_RELU6

    def channels(self, base: int) -> int:
        """Return a channel count of the table at this width."""
        return make_divisible(base * self.width, 8)

    def stem(self, network: Network) -> Node:
        """Add the first convolution."""
        filters = self.channels(STEM)
        return conv(network, IMAGE, filters, 3, stride=2, activation=self.activation, name="stem")


@dataclass(frozen=True)
class MobileNetV1(MobileNet):
    """The classifier has no layer between pooling and classes."""

    def body(self, network: Network) -> dict[int, Node]:
        x, stride, taps = self.stem(network), 2, dict[int, Node]()
        for place, (out, step) in enumerate(V1, start=1):
            stride *= step
            name, filters = f"block {place}", self.channels(out)
            x = separable(network, x, filters, stride=step, activation=self.activation, name=name)
            taps[stride] = x
        return taps

    def logits(self, network: Network, x: Node, classes: int) -> Node:
        return logits(network, pool(network, x), classes)


@dataclass(frozen=True)
class MobileNetV2(MobileNet):
    """The classifier begins with a 1x1 convolution to 1280 channels, which only grow with width."""

    def body(self, network: Network) -> dict[int, Node]:
        x, stride, taps = self.stem(network), 2, dict[int, Node]()
        for number, stage in enumerate(V2, start=1):
            stride *= stage.stride
            for place in range(stage.blocks):
                x = inverted_residual(
                    network,
                    x,
                    x.shape.c * stage.factor,
                    self.channels(stage.out),
                    stride=1 if place else stage.stride,
                    activation=self.activation,
                    name=f"stage {number}, block {place + 1}",
                )
            taps[stride] = x
        return taps

    def logits(self, network: Network, x: Node, classes: int) -> Node:
        features = make_divisible(FEATURES * max(1.0, self.width), 8)
        x = conv(network, x, features, activation=self.activation, name="tail")
        return logits(network, dropout(network, pool(network, x), DROPOUT), classes)


def separable(
    network: Network, x: Node, filters: int, *, stride: int, activation: str, name: str
) -> Node:
    """Filter each channel with 3x3 pixels, then mix the channels."""
    x = depthwise(network, x, 3, stride=stride, activation=activation, name=f"{name}, depthwise")
    return conv(network, x, filters, activation=activation, name=f"{name}, pointwise")


def inverted_residual(
    network: Network, x: Node, exp: int, out: int, *, stride: int, activation: str, name: str
) -> Node:
    """Expand to `exp` channels, filter each, project linearly to `out`; add x where it fits."""
    y = x
    if exp != x.shape.c:
        y = conv(network, y, exp, activation=activation, name=f"{name}, expand")
    y = depthwise(network, y, 3, stride=stride, activation=activation, name=f"{name}, depthwise")
    y = conv(network, y, out, activation="linear", name=f"{name}, project")
    fits = stride == 1 and x.shape.c == out
    return add(network, y, x, name=f"{name}, sum") if fits else y
