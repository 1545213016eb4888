"""GhostNet: ghost modules, ghost bottlenecks, and the table of the bottlenecks.

Source: Han et al., GhostNet: More Features from Cheap Operations, CVPR 2020, table 1 and figures
2 and 3; details that the paper leaves open from huawei-noah/Efficient-AI-Backbones,
ghostnet_pytorch/ghostnet.py.

GhostNetV2 (Tang et al., NeurIPS 2022) is not here: its attention filters with depthwise kernels of
1x5 and 5x1 pixels, while `[convolutional]` has one size for both sides (a 5x5 kernel with zeros
outside one line computes the same until training changes the zeros), and it resizes 3x3 gates to
7x7 pixels, while `[upsample]` repeats each pixel a whole number of times.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

from ghostyolo.errors import OptionError
from ghostyolo.layers.route import Route
from ghostyolo.network import IMAGE, Network, Node
from ghostyolo.zoo.base import Family, ScaledFamily, gate_option, option
from ghostyolo.zoo.blocks import (
    add,
    concat,
    conv,
    depthwise,
    dropout,
    linear,
    make_divisible,
    pool,
    squeeze_excite,
)


class GhostBottleneck(NamedTuple):
    """A row of the table; se: ratio of squeezed to expanded channels, 0 without squeeze-excite."""

    stage: int
    size: int  # of the depthwise kernel
    exp: int
    out: int
    se: float
    stride: int


# Table 1 of the paper; the bottlenecks of a stage have one output size.
TABLE = (
    GhostBottleneck(1, 3, 16, 16, 0, 1),
    GhostBottleneck(2, 3, 48, 24, 0, 2),
    GhostBottleneck(2, 3, 72, 24, 0, 1),
    GhostBottleneck(3, 5, 72, 40, 0.25, 2),
    GhostBottleneck(3, 5, 120, 40, 0.25, 1),
    GhostBottleneck(4, 3, 240, 80, 0, 2),
    GhostBottleneck(4, 3, 200, 80, 0, 1),
    GhostBottleneck(4, 3, 184, 80, 0, 1),
    GhostBottleneck(4, 3, 184, 80, 0, 1),
    GhostBottleneck(4, 3, 480, 112, 0.25, 1),
    GhostBottleneck(4, 3, 672, 112, 0.25, 1),
    GhostBottleneck(5, 5, 672, 160, 0.25, 2),
    GhostBottleneck(5, 5, 960, 160, 0, 1),
    GhostBottleneck(5, 5, 960, 160, 0.25, 1),
    GhostBottleneck(5, 5, 960, 160, 0, 1),
    GhostBottleneck(5, 5, 960, 160, 0.25, 1),
)
STEM, TAIL, FEATURES = 16, 960, 1280  # channels before and after the table; 1280 is not scaled
STAGES, DROPOUT = 5, 0.2
SE_RATIO = 0.25  # squeezed to expanded channels, where a block has squeeze-excite
HARD_GATE = "The gates are hard sigmoids through hardtan: OpenCV's Darknet importer refuses this."


def whole_numbers(text: str) -> int | tuple[int, ...]:
    """Read one whole number, or several separated by commas. Raises ValueError."""
    if not all(re.fullmatch(r"-?[0-9]{1,9}", part) for part in text.split(",")):
        raise ValueError(text)
    numbers = tuple(int(part) for part in text.split(","))
    return numbers if len(numbers) > 1 else numbers[0]


@dataclass(frozen=True)
class GhostNet(ScaledFamily):
    """GhostNet with the options of its ghost modules and of squeeze-excite.

    ratio: s of the paper, one for all stages or one for each. dw_size: d of the paper, one kernel
    size or several side by side. gate: of squeeze-excite. se: which bottlenecks have
    squeeze-excite, those of table 1, all or none.
    """

    divisor: ClassVar[int] = 4

    ratio: int | tuple[int, ...] = option(
        2,
        "ratio of all maps of a ghost module to its intrinsic maps, one number or one for each of "
        "the five stages: 2,2,4,2,2",
        type=whole_numbers,
        metavar="S",
    )
    dw_size: int | tuple[int, ...] = option(
        3,
        "kernel size of a ghost module's cheap operation, or several kernels side by side: 3,5",
        type=whole_numbers,
        metavar="D",
    )
    gate: str = gate_option("logistic")
    se: str = option(
        "published", "ghost bottlenecks with squeeze-excite", choices=("published", "all", "none")
    )

    @property
    def ratios(self) -> tuple[int, ...]:
        """Return the ratio of each stage."""
        return (self.ratio,) * STAGES if isinstance(self.ratio, int) else self.ratio

    def squeezed(self, row: GhostBottleneck) -> int:
        """Return the squeezed channels of a bottleneck, 0 without squeeze-excite."""
        ratio = {"published": row.se, "all": SE_RATIO, "none": 0}[self.se]
        return make_divisible(ratio * self.channels(row.exp)) if ratio else 0

    def check(self) -> None:
        super().check()
        if len(self.ratios) != STAGES:
            hint = f"give one, or one for each of the {STAGES} stages"
            raise OptionError(f"{len(self.ratios)} ratios", hint=hint)
        if low := [ratio for ratio in self.ratios if ratio < 1]:
            raise OptionError(f"ratio {low[0]} is below 1", hint="use 2, the paper's")
        for size in kernels(self.dw_size):
            if size < 1 or size % 2 == 0:
                hint = "use an odd kernel, such as 3"
                raise OptionError(f"cheap kernels of {size}x{size} have no centre", hint=hint)
        self._check_divisible()

    def _check_divisible(self) -> None:
        for ratio in self.ratios:
            rows = [row for row in TABLE if self.ratios[row.stage - 1] == ratio]
            counts = {self.channels(n) for row in rows for n in (row.exp, row.out)}
            if bad := sorted(n for n in counts if n % ratio):
                fits = [s for s in range(1, 17) if not any(n % s for n in counts)]
                message = f"ratio {ratio} does not divide {bad[0]}, a channel count at this width"
                raise OptionError(message, hint=f"use one of {', '.join(map(str, fits))}")

    def notes(self) -> Iterator[str]:
        if self.gate == "hard":
            yield HARD_GATE

    def features(self, network: Network) -> Iterator[tuple[int, Node]]:
        x = conv(network, IMAGE, self.channels(STEM), 3, stride=2, name="stem")
        stride, stage, place = 2, 0, 0
        for row in TABLE:
            stride *= row.stride
            stage, place = row.stage, place + 1 if row.stage == stage else 1
            x = bottleneck(
                network,
                x,
                self.channels(row.exp),
                self.channels(row.out),
                size=row.size,
                stride=row.stride,
                reduced=self.squeezed(row),
                ghostnet=replace(self, ratio=self.ratios[stage - 1]),
                name=f"stage {stage}, bottleneck {place}",
            )
            yield stride, x

    def logits(self, network: Network, x: Node, classes: int) -> Node:
        x = conv(network, x, self.channels(TAIL), name="tail")
        x = conv(network, pool(network, x), FEATURES, norm=False, name="features")
        return linear(network, dropout(network, x, DROPOUT), classes)


FAMILIES: dict[str, Family] = {"ghostnet": GhostNet()}


def kernels(dw_size: int | tuple[int, ...]) -> tuple[int, ...]:
    """Return the sizes of the cheap kernels."""
    return (dw_size,) if isinstance(dw_size, int) else dw_size


def ghost(
    network: Network,
    x: Node,
    filters: int,
    *,
    ratio: int = 2,
    size: int = 1,
    dw_size: int | tuple[int, ...] = 3,
    activation: str = "relu",
    name: str = "",
) -> Node:
    """Add a ghost module: filters / ratio maps by convolution, the rest by cheap depthwise filters.

    dw_size: size of the cheap kernel, or several sizes, each of which makes an equal part of the
    cheap maps. The output is [primary, cheap] by channel. Raises `OptionError` unless ratio divides
    filters.
    """
    if filters % ratio:
        divisors = [s for s in range(1, 9) if filters % s == 0]
        hint = f"use one of {', '.join(map(str, divisors))}"
        raise OptionError(f"ratio {ratio} does not divide {filters} filters ({name})", hint=hint)
    intrinsic = filters // ratio
    primary = conv(network, x, intrinsic, size, activation=activation, name=f"{name} primary")
    if ratio == 1:
        return primary
    cheap = _cheap(
        network,
        primary,
        filters - intrinsic,
        kernels(dw_size),
        activation=activation,
        name=f"{name} cheap",
    )
    return concat(network, primary, *cheap, name=name)


def _cheap(
    network: Network, x: Node, count: int, sizes: tuple[int, ...], *, activation: str, name: str
) -> list[Node]:
    """Add `count` cheap maps of the intrinsic maps x, an equal number by a kernel of each size.

    Each kernel filters all intrinsic maps if that gives a whole number of maps, else a part of its
    own. Raises `OptionError` if the intrinsic maps do not divide into equal parts.
    """
    kinds = len(sizes)
    parts = 1 if count // x.shape.c % kinds == 0 else kinds
    if x.shape.c % parts:
        message = f"{kinds} kernels do not share {x.shape.c} intrinsic maps ({name})"
        raise OptionError(message, hint="use one cheap kernel, or a width for which they do")
    made = []
    for place, size in enumerate(sizes):
        part, label = x, f"{name} {size}x{size}" if kinds > 1 else name
        if parts > 1:
            route = Route(groups=parts, group_id=place)
            part = network.add(route, x, name=f"{label}, inputs")
        filters, groups = count // kinds, part.shape.c
        made.append(
            conv(network, part, filters, size, groups=groups, activation=activation, name=label)
        )
    return made


def bottleneck(
    network: Network,
    x: Node,
    exp: int,
    out: int,
    *,
    size: int = 3,
    stride: int = 1,
    reduced: int = 0,
    ghostnet: GhostNet,
    name: str = "",
) -> Node:
    """Add a ghost bottleneck: expand, [downsample], [squeeze-excite to `reduced`], project, add x.

    ghostnet: the options of its ghost modules, of which the last stage's ratio counts. Where the
    shapes differ, x goes through a depthwise and a 1x1 convolution before the sum.
    """
    ratio, dw_size = ghostnet.ratios[-1], ghostnet.dw_size
    y = ghost(network, x, exp, ratio=ratio, dw_size=dw_size, name=f"{name}, ghost 1")
    if stride > 1:
        y = depthwise(network, y, size, stride=stride, name=f"{name}, downsample")
    if reduced:
        y = squeeze_excite(network, y, reduced, gate=ghostnet.gate, name=f"{name},")
    label = f"{name}, ghost 2"
    y = ghost(network, y, out, ratio=ratio, dw_size=dw_size, activation="linear", name=label)
    if stride == 1 and x.shape.c == out:
        return add(network, y, x, name=f"{name}, sum")
    x = depthwise(network, x, size, stride=stride, name=f"{name}, shortcut depthwise")
    x = conv(network, x, out, activation="linear", name=f"{name}, shortcut pointwise")
    return add(network, x, y, name=f"{name}, sum")
