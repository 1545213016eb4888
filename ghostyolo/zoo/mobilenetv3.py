"""MobileNetV3, large and small: inverted residuals with squeeze-excite and hard swish.

Source: Howard et al., Searching for MobileNetV3, ICCV 2019, tables 1 and 2; details that the paper
leaves open (what is rounded to 8, the squeezed widths) from torchvision, models/mobilenetv3.py. How
a width acts is what gives the 4.0 M and 2.0 M parameters of table 3 at 0.75, and the networks that
timm has weights for (timm, models/mobilenetv3.py): it multiplies what blocks put out, they expand
that by the table's factor, and the features before the classes are as many at every width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ghostyolo.network import IMAGE, Network, Node
from ghostyolo.zoo.base import NO_HARDTAN, Family, check_width, check_word
from ghostyolo.zoo.blocks import (
    GATES,
    HARD_SWISH,
    add,
    conv,
    depthwise,
    dropout,
    logits,
    make_divisible,
    pool,
    squeeze_excite,
)

ACTIVATIONS = (HARD_SWISH, "swish")
STEM, DROPOUT = 16, 0.2
FIXED_STEM = 0.75  # width below which the stem keeps its channels
RE, HS = False, True


class Row(NamedTuple):
    """One block: kernel, expansion and output channels, squeeze-excite, hard swish, stride."""

    size: int
    exp: int
    out: int
    se: bool
    hard: bool
    stride: int


LARGE = (
    Row(3, 16, 16, False, RE, 1),
    Row(3, 64, 24, False, RE, 2),
    Row(3, 72, 24, False, RE, 1),
    Row(5, 72, 40, True, RE, 2),
    Row(5, 120, 40, True, RE, 1),
    Row(5, 120, 40, True, RE, 1),
    Row(3, 240, 80, False, HS, 2),
    Row(3, 200, 80, False, HS, 1),
    Row(3, 184, 80, False, HS, 1),
    Row(3, 184, 80, False, HS, 1),
    Row(3, 480, 112, True, HS, 1),
    Row(3, 672, 112, True, HS, 1),
    Row(5, 672, 160, True, HS, 2),
    Row(5, 960, 160, True, HS, 1),
    Row(5, 960, 160, True, HS, 1),
)
SMALL = (
    Row(3, 16, 16, True, RE, 2),
    Row(3, 72, 24, False, RE, 2),
    Row(3, 88, 24, False, RE, 1),
    Row(5, 96, 40, True, HS, 2),
    Row(5, 240, 40, True, HS, 1),
    Row(5, 240, 40, True, HS, 1),
    Row(5, 120, 48, True, HS, 1),
    Row(5, 144, 48, True, HS, 1),
    Row(5, 288, 96, True, HS, 2),
    Row(5, 576, 96, True, HS, 1),
    Row(5, 576, 96, True, HS, 1),
)
TABLES = {"large": LARGE, "small": SMALL}
TAIL = {"large": 960, "small": 576}  # channels behind the table
FEATURES = {"large": 1280, "small": 1024}


@dataclass(frozen=True)
class MobileNetV3(Family):
    """variant: large or small. activation: the published hard swish, or swish; gate likewise."""

    variant: str = "large"
    width: float = 1.0
    activation: str = HARD_SWISH
    gate: str = "hard"

    def check(self) -> None:
        check_width(self.width)
        check_word("activation", self.activation, ACTIVATIONS)
        check_word("gate", self.gate, GATES)

    def notes(self) -> Iterator[str]:
        if self.activation == HARD_SWISH or self.gate == "hard":
            yield NO_HARDTAN

    def channels(self, base: float) -> int:
        """Return a channel count of the table at this width."""
        return make_divisible(base * self.width, 8)

    def body(self, network: Network) -> dict[int, Node]:
        filters = STEM if self.width < FIXED_STEM else self.channels(STEM)
        x = conv(network, IMAGE, filters, 3, stride=2, activation=self.activation, name="stem")
        stride, before, taps = 2, STEM, dict[int, Node]()
        for place, row in enumerate(TABLES[self.variant], start=1):
            stride *= row.stride
            exp = make_divisible(x.shape.c * row.exp / before, 8)
            x = taps[stride] = block(network, x, row, exp, self, f"block {place}")
            before = row.out
        return taps

    def logits(self, network: Network, x: Node, classes: int) -> Node:
        act = self.activation
        x = conv(network, x, self.channels(TAIL[self.variant]), activation=act, name="tail")
        x, features = pool(network, x), FEATURES[self.variant]
        x = conv(network, x, features, norm=False, activation=act, name="features")
        return logits(network, dropout(network, x, DROPOUT), classes)


def block(network: Network, x: Node, row: Row, exp: int, style: MobileNetV3, name: str) -> Node:
    """Expand to `exp` channels, filter each, squeeze-excite, project linearly; add x if it fits."""
    out = style.channels(row.out)
    act = style.activation if row.hard else "relu"
    y = x
    if exp != x.shape.c:
        y = conv(network, y, exp, activation=act, name=f"{name}, expand")
    y = depthwise(
        network, y, row.size, stride=row.stride, activation=act, name=f"{name}, depthwise"
    )
    if row.se:
        reduced = make_divisible(exp / 4, 8)
        y = squeeze_excite(network, y, reduced, gate=style.gate, name=f"{name},")
    y = conv(network, y, out, activation="linear", name=f"{name}, project")
    fits = row.stride == 1 and x.shape.c == out
    return add(network, y, x, name=f"{name}, sum") if fits else y
