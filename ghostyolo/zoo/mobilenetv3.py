"""MobileNetV3, large and small: inverted residuals with squeeze-excite and hard swish.

Source: Howard et al., Searching for MobileNetV3, ICCV 2019, tables 1 and 2; details that the paper
leaves open (what is rounded to 8, the squeezed channels) from torchvision, models/mobilenetv3.py.
The width multiplies the output channels of blocks, which expand their inputs by the table's factor;
the number of features before the classes does not depend on it. This gives the 4.0 M and 2.0 M
parameters of table 3 at 0.75, and the networks of timm's weights (timm, models/mobilenetv3.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ghostyolo.network import IMAGE, Network, Node
from ghostyolo.zoo.base import NO_HARDTAN, Family, ScaledFamily, gate_option, option
from ghostyolo.zoo.blocks import HARD_SWISH, conv, dropout, linear, make_divisible, pool
from ghostyolo.zoo.mobilenet import inverted_residual

STEM, DROPOUT = 16, 0.2
FIXED_STEM = 0.75  # below this width the stem keeps its channels
RE, HS = False, True


class InvertedResidual(NamedTuple):
    """A block: kernel, expanded and output channels, squeeze-excite, hard swish, stride."""

    size: int
    exp: int
    out: int
    se: bool
    hard_swish: bool
    stride: int


LARGE = (
    InvertedResidual(3, 16, 16, False, RE, 1),
    InvertedResidual(3, 64, 24, False, RE, 2),
    InvertedResidual(3, 72, 24, False, RE, 1),
    InvertedResidual(5, 72, 40, True, RE, 2),
    InvertedResidual(5, 120, 40, True, RE, 1),
    InvertedResidual(5, 120, 40, True, RE, 1),
    InvertedResidual(3, 240, 80, False, HS, 2),
    InvertedResidual(3, 200, 80, False, HS, 1),
    InvertedResidual(3, 184, 80, False, HS, 1),
    InvertedResidual(3, 184, 80, False, HS, 1),
    InvertedResidual(3, 480, 112, True, HS, 1),
    InvertedResidual(3, 672, 112, True, HS, 1),
    InvertedResidual(5, 672, 160, True, HS, 2),
    InvertedResidual(5, 960, 160, True, HS, 1),
    InvertedResidual(5, 960, 160, True, HS, 1),
)
SMALL = (
    InvertedResidual(3, 16, 16, True, RE, 2),
    InvertedResidual(3, 72, 24, False, RE, 2),
    InvertedResidual(3, 88, 24, False, RE, 1),
    InvertedResidual(5, 96, 40, True, HS, 2),
    InvertedResidual(5, 240, 40, True, HS, 1),
    InvertedResidual(5, 240, 40, True, HS, 1),
    InvertedResidual(5, 120, 48, True, HS, 1),
    InvertedResidual(5, 144, 48, True, HS, 1),
    InvertedResidual(5, 288, 96, True, HS, 2),
    InvertedResidual(5, 576, 96, True, HS, 1),
    InvertedResidual(5, 576, 96, True, HS, 1),
)
TABLES = {"large": LARGE, "small": SMALL}
TAIL = {"large": 960, "small": 576}  # channels after the table
FEATURES = {"large": 1280, "small": 1024}


@dataclass(frozen=True)
class MobileNetV3(ScaledFamily):
    """variant: large or small. activation: hard swish as published, or swish. gate: see option."""

    variant: str = "large"
    activation: str = option(
        HARD_SWISH,
        "hard swish, exact and in several sections, or swish, a similar function",
        choices=(HARD_SWISH, "swish"),
    )
    gate: str = gate_option("hard")

    def notes(self) -> Iterator[str]:
        if self.activation == HARD_SWISH or self.gate == "hard":
            yield NO_HARDTAN

    def features(self, network: Network) -> Iterator[tuple[int, Node]]:
        filters = STEM if self.width < FIXED_STEM else self.channels(STEM)
        x = conv(network, IMAGE, filters, 3, stride=2, activation=self.activation, name="stem")
        stride, before = 2, STEM
        for place, row in enumerate(TABLES[self.variant], start=1):
            stride *= row.stride
            exp = make_divisible(x.shape.c * row.exp / before, self.divisor)
            x = inverted_residual(
                network,
                x,
                exp,
                self.channels(row.out),
                size=row.size,
                stride=row.stride,
                reduced=make_divisible(exp / 4, self.divisor) if row.se else 0,
                gate=self.gate,
                activation=self.activation if row.hard_swish else "relu",
                name=f"block {place}",
            )
            before = row.out
            yield stride, x

    def logits(self, network: Network, x: Node, classes: int) -> Node:
        act = self.activation
        x = conv(network, x, self.channels(TAIL[self.variant]), activation=act, name="tail")
        x, features = pool(network, x), FEATURES[self.variant]
        x = conv(network, x, features, norm=False, activation=act, name="features")
        return linear(network, dropout(network, x, DROPOUT), classes)


FAMILIES: dict[str, Family] = {
    f"mobilenetv3-{variant}": MobileNetV3(variant=variant) for variant in TABLES
}
