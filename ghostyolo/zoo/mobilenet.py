"""MobileNet V1 and V2: depthwise separable convolutions, then inverted residuals.

Source: Howard et al., MobileNets, arXiv 1704.04861, table 1; Sandler et al., MobileNetV2, CVPR
2018, tables 1 and 2. V1 has ReLU6, as its published weights have; the paper says ReLU.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ghostyolo.network import IMAGE, Network, Node
from ghostyolo.zoo.base import NO_RELU6, Family, ScaledFamily, option
from ghostyolo.zoo.blocks import (
    add,
    conv,
    depthwise,
    dropout,
    linear,
    make_divisible,
    pool,
    squeeze_excite,
)

STEM, FEATURES = 32, 1280  # channels before the tables; after that of V2, at least 1280
DROPOUT = 0.2  # of V2; torchvision models/mobilenetv2.py

# V1, table 1: output channels and stride of each separable convolution.
V1 = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1),
    (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip


class InvertedResiduals(NamedTuple):
    """A row of V2's table 2 (t, c, n, s there); only the first block has the stride."""

    expansion: int
    out: int
    blocks: int
    stride: int


V2 = (
    InvertedResiduals(1, 16, 1, 1),
    InvertedResiduals(6, 24, 2, 2),
    InvertedResiduals(6, 32, 3, 2),
    InvertedResiduals(6, 64, 4, 2),
    InvertedResiduals(6, 96, 3, 1),
    InvertedResiduals(6, 160, 3, 2),
    InvertedResiduals(6, 320, 1, 1),
)


@dataclass(frozen=True)
class MobileNet(ScaledFamily):
    """The base of V1 and V2. activation: relu6, or relu for OpenCV."""

    activation: str = option(
        "relu6", "relu6, or relu, which every program reads", choices=("relu6", "relu")
    )

    def notes(self) -> Iterator[str]:
        if self.activation == "relu6":
            yield NO_RELU6

    def stem(self, network: Network) -> Node:
        """Add the first convolution."""
        filters = self.channels(STEM)
        return conv(network, IMAGE, filters, 3, stride=2, activation=self.activation, name="stem")


class MobileNetV1(MobileNet):
    """Depthwise separable convolutions, pooling and a linear layer."""

    def features(self, network: Network) -> Iterator[tuple[int, Node]]:
        x, stride, act = self.stem(network), 2, self.activation
        for place, (out, step) in enumerate(V1, start=1):
            stride *= step
            name = f"block {place}"
            x = depthwise(network, x, 3, stride=step, activation=act, name=f"{name}, depthwise")
            x = conv(network, x, self.channels(out), activation=act, name=f"{name}, pointwise")
            yield stride, x


class MobileNetV2(MobileNet):
    """Inverted residuals, then a 1x1 convolution to 1280 channels, more where width is above 1."""

    def features(self, network: Network) -> Iterator[tuple[int, Node]]:
        x, stride = self.stem(network), 2
        for number, row in enumerate(V2, start=1):
            stride *= row.stride
            for place in range(row.blocks):
                x = inverted_residual(
                    network,
                    x,
                    x.shape.c * row.expansion,
                    self.channels(row.out),
                    stride=1 if place else row.stride,
                    activation=self.activation,
                    name=f"stage {number}, block {place + 1}",
                )
            yield stride, x

    def logits(self, network: Network, x: Node, classes: int) -> Node:
        features = make_divisible(FEATURES * max(1.0, self.width), self.divisor)
        x = conv(network, x, features, activation=self.activation, name="tail")
        return linear(network, dropout(network, pool(network, x), DROPOUT), classes)


FAMILIES: dict[str, Family] = {"mobilenetv1": MobileNetV1(), "mobilenetv2": MobileNetV2()}


def inverted_residual(
    network: Network,
    x: Node,
    exp: int,
    out: int,
    *,
    size: int = 3,
    stride: int,
    reduced: int = 0,
    gate: str = "logistic",
    activation: str,
    name: str,
) -> Node:
    """Expand to `exp` channels, filter depthwise, [squeeze-excite to `reduced`], project to `out`.

    x is added where the shapes are equal. The projection has no activation.
    """
    y = x
    if exp != x.shape.c:
        y = conv(network, y, exp, activation=activation, name=f"{name}, expand")
    label = f"{name}, depthwise"
    y = depthwise(network, y, size, stride=stride, activation=activation, name=label)
    if reduced:
        y = squeeze_excite(network, y, reduced, gate=gate, name=f"{name},")
    y = conv(network, y, out, activation="linear", name=f"{name}, project")
    return add(network, y, x, name=f"{name}, sum") if x.shape == y.shape else y
