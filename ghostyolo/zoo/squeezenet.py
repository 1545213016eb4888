"""SqueezeNet 1.0 and 1.1: fire modules, and no batch norm.

Source: Iandola et al., SqueezeNet, arXiv 1602.07360, table 1 and figure 1; 1.1 from the authors'
forresti/SqueezeNet, SqueezeNet_v1.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from ghostyolo.network import IMAGE, Network, Node
from ghostyolo.zoo.base import Family
from ghostyolo.zoo.blocks import concat, conv, dropout, maxpool, pool

DROPOUT = 0.5


class FireModule(NamedTuple):
    """A fire module: the squeezed channels, and the channels of each of its two expansions."""

    squeeze: int
    expand: int


class SqueezeNetTable(NamedTuple):
    """filters, size: of the first convolution. stages: fire modules, after a pooling each."""

    filters: int
    size: int
    stages: tuple[tuple[FireModule, ...], ...]


TABLES = {
    "1.0": SqueezeNetTable(96, 7, (
        (FireModule(16, 64), FireModule(16, 64), FireModule(32, 128)),
        (FireModule(32, 128), FireModule(48, 192), FireModule(48, 192), FireModule(64, 256)),
        (FireModule(64, 256),),
    )),
    "1.1": SqueezeNetTable(64, 3, (
        (FireModule(16, 64), FireModule(16, 64)),
        (FireModule(32, 128), FireModule(32, 128)),
        (FireModule(48, 192), FireModule(48, 192), FireModule(64, 256), FireModule(64, 256)),
    )),
}  # fmt: skip


@dataclass(frozen=True)
class SqueezeNet(Family):
    """pad: of the first convolution; 0 as published, 1 for maps that halve exactly."""

    variant: str = "1.1"
    pad: int = 0

    def for_detection(self) -> Family:
        return replace(self, pad=1)

    def notes(self) -> Iterator[str]:
        if self.pad:
            yield "The first convolution is padded, unlike the published: its maps halve exactly."

    def features(self, network: Network) -> Iterator[tuple[int, Node]]:
        filters, size, stages = TABLES[self.variant]
        x = conv(network, IMAGE, filters, size, stride=2, norm=False, pad=self.pad, name="stem")
        yield 2, x
        place = 1
        for level, modules in enumerate(stages, start=2):
            x = maxpool(network, x, 3, padding=1, name=f"pool {level - 1}")
            for module in modules:
                place += 1
                x = fire(network, x, module, name=f"fire {place}")
            yield 2**level, x

    def logits(self, network: Network, x: Node, classes: int) -> Node:
        x = dropout(network, x, DROPOUT)
        x = conv(network, x, classes, norm=False, name="classes")
        return pool(network, x)


FAMILIES: dict[str, Family] = {f"squeezenet{variant}": SqueezeNet(variant) for variant in TABLES}


def fire(network: Network, x: Node, module: FireModule, *, name: str) -> Node:
    """Add a fire module: squeeze the channels, expand by 1x1 and by 3x3 kernels side by side."""
    x = conv(network, x, module.squeeze, norm=False, name=f"{name}, squeeze")
    one = conv(network, x, module.expand, norm=False, name=f"{name}, expand 1x1")
    three = conv(network, x, module.expand, 3, norm=False, name=f"{name}, expand 3x3")
    return concat(network, one, three, name=name)
