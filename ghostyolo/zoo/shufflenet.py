"""ShuffleNet V1 and V2; channel_shuffle.py explains how channel shuffles are written.

Source: Zhang et al., ShuffleNet, CVPR 2018, table 1; Ma et al., ShuffleNet V2, ECCV 2018, table 5;
details that the papers leave open from megvii-model/ShuffleNet-Series.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from ghostyolo.errors import OptionError
from ghostyolo.layers.local_avgpool import LocalAvgpool
from ghostyolo.layers.route import Route
from ghostyolo.network import IMAGE, Network, Node
from ghostyolo.zoo.base import IN_PIECES, NO_LOCAL_AVGPOOL, Family, ScaledFamily, option
from ghostyolo.zoo.blocks import add, concat, conv, depthwise, maxpool
from ghostyolo.zoo.channel_shuffle import Pieces, grouped_pieces, plan_stage

STEM = 24
UNITS = (4, 8, 4)  # of each stage, the first with stride 2
# V1: output channels of the first stage by groups; each stage has twice those of the one before.
V1 = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}
WIDTHS = (0.25, 0.5, 1.0, 1.5, 2.0)
SHRINK = 4  # ratio of the output channels of a V1 unit to those of its depthwise convolution
# V2: output channels of the stages and of the last convolution, by width.
V2 = {
    0.5: (48, 96, 192, 1024),
    1.0: (116, 232, 464, 1024),
    1.5: (176, 352, 704, 1024),
    2.0: (244, 488, 976, 2048),
}


@dataclass(frozen=True)
class ShuffleNetV1(ScaledFamily):
    """groups: of the 1x1 convolutions."""

    groups: int = option(3, "groups of the 1x1 convolutions", type=int, choices=tuple(V1))

    def check(self) -> None:
        super().check()
        quantum = SHRINK * self.groups
        if (first := V1[self.groups] * self.width) % quantum:
            fits = [width for width in WIDTHS if V1[self.groups] * width % quantum == 0]
            message = f"width {self.width:g} leaves {first:g} channels, no multiple of {quantum}"
            raise OptionError(message, hint=f"use one such as {', '.join(map(str, fits))}")

    def notes(self) -> Iterator[str]:
        if self.groups > 1:
            yield IN_PIECES
        yield NO_LOCAL_AVGPOOL

    def features(self, network: Network) -> Iterator[tuple[int, Node]]:
        # a multiple of groups, as the first unit concatenates it with grouped channels
        x = _stem(network, ceil(STEM * self.width / self.groups) * self.groups)
        yield 4, x
        for level, units in enumerate(UNITS):
            out = round(V1[self.groups] * self.width) << level
            for place in range(units):
                name = f"stage {level + 2}, unit {place + 1}"
                first = 1 if place + level == 0 else self.groups
                step = 1 if place else 2
                x = unit(network, x, out, (first, self.groups), stride=step, name=name)
            yield 8 << level, x


@dataclass(frozen=True)
class ShuffleNetV2(Family):
    """width: one of the paper's, 0.5 to 2."""

    width: float = option(1.0, "width multiplier", type=float, choices=tuple(V2))

    def notes(self) -> Iterator[str]:
        yield IN_PIECES

    def features(self, network: Network) -> Iterator[tuple[int, Node]]:
        x = _stem(network, STEM)
        yield 4, x
        for level, units in enumerate(UNITS):
            out = V2[self.width][level]
            x = stage(network, x, out // 2, units, f"stage {level + 2}")
            yield 8 << level, x

    def logits(self, network: Network, x: Node, classes: int) -> Node:
        return super().logits(network, conv(network, x, V2[self.width][-1], name="tail"), classes)


FAMILIES: dict[str, Family] = {"shufflenetv1": ShuffleNetV1(), "shufflenetv2": ShuffleNetV2()}


def unit(
    network: Network, x: Node, out: int, groups: tuple[int, int], *, stride: int, name: str
) -> Node:
    """Add a unit of V1: 1x1, shuffle, depthwise, 1x1; x is added, or concatenated if stride is 2.

    groups: of the first and of the second 1x1 convolution.
    """
    first, second = groups
    middle = out // SHRINK
    y = shuffled_conv(network, x, middle, first, second, name=f"{name}, reduce")
    y = depthwise(network, y, 3, stride=stride, name=f"{name}, depthwise")
    name_out = f"{name}, expand"
    if stride == 1:
        y = conv(network, y, out, groups=second, activation="linear", name=name_out)
        return add(network, y, x, activation="relu", name=f"{name}, sum")
    y = conv(
        network, y, out - x.shape.c, groups=second, name=name_out
    )  # ReLU before the concatenation, as x is not negative
    around = LocalAvgpool(size=3, stride=2, padding=2)
    x = network.add(around, x, name=f"{name}, around")
    return concat(network, x, y, name=name)


def shuffled_conv(
    network: Network, x: Node, filters: int, groups: int, readers: int, *, name: str
) -> Node:
    """Add a 1x1 convolution with its channels in the order in which `readers` groups read them.

    With one group the order is free. If a reader takes the same number of channels from each group,
    its piece is one grouped section, else one section for each group.
    """
    if groups == 1:
        return conv(network, x, filters, name=name)
    pieces = []
    for reader, counts in enumerate(grouped_pieces(filters, readers), start=1):
        label = f"{name} for group {reader}"
        if len(set(counts)) == 1:
            pieces.append(conv(network, x, sum(counts), groups=groups, name=label))
            continue
        for group, count in enumerate(counts):
            if not count:
                continue
            part = network.add(Route(groups=groups, group_id=group), x, name=f"{label}, inputs")
            pieces.append(conv(network, part, count, name=label))
    return concat(network, *pieces, name=f"{name}, shuffled")


def stage(network: Network, x: Node, half: int, units: int, name: str) -> Node:
    """Add a stage of V2; in its first unit both branches read all of x and halve its size.

    Each other unit reads half of its input channels; the other half goes on to later readers.
    """
    pieces, _ = plan_stage(half, units)
    around = depthwise(network, x, 3, stride=2, name=f"{name}, unit 1, around depthwise")
    made = [_split(network, around, pieces[0], f"{name}, unit 1, around")]
    for place in range(units):
        label = f"{name}, unit {place + 1}"
        y = _read(network, made, place - 1, f"{label}, input") if place else x
        y = conv(network, y, half, name=f"{label}, first")
        y = depthwise(network, y, 3, stride=1 if place else 2, name=f"{label}, depthwise")
        made.append(_split(network, y, pieces[place + 1], f"{label}, second"))
    return _read(network, made, units - 1, name)


def _split(network: Network, x: Node, pieces: Pieces, name: str) -> dict[int, Node]:
    """Add a 1x1 convolution as one section for each reader of its channels."""
    labels = [f"for unit {number}" for number in range(2, len(pieces) + 1)] + ["to the end"]
    return {
        reader: conv(network, x, len(piece), name=f"{name}, {labels[reader]}")
        for reader, piece in enumerate(pieces)
        if piece
    }


def _read(network: Network, made: list[dict[int, Node]], reader: int, name: str) -> Node:
    """Concatenate the pieces that a reader takes."""
    return concat(network, *(nodes[reader] for nodes in made if reader in nodes), name=name)


def _stem(network: Network, filters: int) -> Node:
    x = conv(network, IMAGE, filters, 3, stride=2, name="stem")
    return maxpool(network, x, 3, padding=2, name="pool 1")
