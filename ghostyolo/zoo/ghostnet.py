"""GhostNet: ghost modules, ghost bottlenecks, and the table they are stacked by.

Source: Han et al., GhostNet: More Features from Cheap Operations, CVPR 2020, table 1 and figures
2 and 3; details that the paper leaves open from huawei-noah/Efficient-AI-Backbones,
ghostnet_pytorch/ghostnet.py.

GhostNetV2 (Tang et al., NeurIPS 2022) is not here: its attention filters with depthwise kernels of
1x5 and 5x1 pixels, while `[convolutional]` has one size for both sides (a 5x5 kernel of zeros but
for a line computes the same, until training moves the zeros), and spreads the 3x3 gates of a 7x7
map over 7x7 pixels, while `[upsample]` repeats each pixel a whole number of times.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from ghostyolo.errors import OptionError
from ghostyolo.layers.avgpool import Avgpool
from ghostyolo.layers.route import Route
from ghostyolo.network import IMAGE, Network, Node
from ghostyolo.zoo.base import Family, check_width, check_word
from ghostyolo.zoo.blocks import (
    GATES,
    add,
    concat,
    conv,
    depthwise,
    dropout,
    logits,
    make_divisible,
    squeeze_excite,
)


class Row(NamedTuple):
    """One bottleneck: its stage, kernel, expansion and output channels, squeeze share, stride."""

    stage: int
    size: int
    exp: int
    out: int
    se: float
    stride: int


# Table 1 of the paper; a stage holds the rows of one output size.
TABLE = (
    Row(1, 3, 16, 16, 0, 1),
    Row(2, 3, 48, 24, 0, 2),
    Row(2, 3, 72, 24, 0, 1),
    Row(3, 5, 72, 40, 0.25, 2),
    Row(3, 5, 120, 40, 0.25, 1),
    Row(4, 3, 240, 80, 0, 2),
    Row(4, 3, 200, 80, 0, 1),
    Row(4, 3, 184, 80, 0, 1),
    Row(4, 3, 184, 80, 0, 1),
    Row(4, 3, 480, 112, 0.25, 1),
    Row(4, 3, 672, 112, 0.25, 1),
    Row(5, 5, 672, 160, 0.25, 2),
    Row(5, 5, 960, 160, 0, 1),
    Row(5, 5, 960, 160, 0.25, 1),
    Row(5, 5, 960, 160, 0, 1),
    Row(5, 5, 960, 160, 0.25, 1),
)
STEM, TAIL, FEATURES = 16, 960, 1280  # channels before and after the table; 1280 is not scaled


STAGES, DROPOUT = 5, 0.2
SE_SHARE = 0.25  # squeezed to expanded channels, where a block has squeeze-excite
SE = ("published", "all", "none")
HARD_GATE = "The gates are hard sigmoids through hardtan: OpenCV's Darknet importer refuses this."


@dataclass(frozen=True)
class GhostNet(Family):
    """How ghost modules are built.

    ratio: s of the paper, one or one for each stage. dw: its d, one kernel or several side by side.
    gate: of squeeze-excite. se: the bottlenecks that have it, those of table 1 or all or none.
    """

    width: float = 1.0
    ratio: int | tuple[int, ...] = 2
    dw: int | tuple[int, ...] = 3
    gate: str = "logistic"
    se: str = "published"

    @property
    def ratios(self) -> tuple[int, ...]:
        """Return the ratio of each stage."""
        return (self.ratio,) * STAGES if isinstance(self.ratio, int) else self.ratio

    def channels(self, base: int) -> int:
        """Return a channel count of the table at this width."""
        return make_divisible(base * self.width)

    def squeezed(self, row: Row) -> int:
        """Return the channels between a bottleneck's squeeze and excitation, 0 without."""
        share = {"published": row.se, "all": SE_SHARE, "none": 0}[self.se]
        return make_divisible(share * self.channels(row.exp)) if share else 0

    def check(self) -> None:
        check_width(self.width)
        if len(self.ratios) != STAGES:
            hint = f"give one, or one for each of the {STAGES} stages"
            raise OptionError(f"{len(self.ratios)} ratios", hint=hint)
        if low := [ratio for ratio in self.ratios if ratio < 1]:
            raise OptionError(f"ratio {low[0]} is below 1", hint="use 2, the paper's")
        for size in kernels(self.dw):
            if size < 1 or size % 2 == 0:
                hint = "use an odd kernel, such as 3"
                raise OptionError(f"cheap kernels of {size}x{size} have no centre", hint=hint)
        check_word("gate", self.gate, GATES)
        check_word("squeeze-excite", self.se, SE)

    def notes(self) -> Iterator[str]:
        if self.gate == "hard":
            yield HARD_GATE

    def body(self, network: Network) -> dict[int, Node]:
        return body(network, self)

    def logits(self, network: Network, x: Node, classes: int) -> Node:
        return logits(network, dropout(network, tail(network, x, self), DROPOUT), classes)


def kernels(dw: int | tuple[int, ...]) -> tuple[int, ...]:
    """Return the sizes of the cheap kernels."""
    return (dw,) if isinstance(dw, int) else dw


def ghost(
    network: Network,
    x: Node,
    filters: int,
    *,
    ratio: int = 2,
    size: int = 1,
    dw: int | tuple[int, ...] = 3,
    activation: str = "relu",
    name: str = "",
) -> Node:
    """Add a ghost module: filters / ratio maps by convolution, the rest by cheap depthwise filters.

    dw: the cheap kernel; of several, each has an equal share of the cheap maps. The output is
    [primary, cheap] by channel. Raises `OptionError` unless ratio divides filters.
    """
    if filters % ratio:
        divisors = [s for s in range(1, 9) if filters % s == 0]
        hint = f"use one of {', '.join(map(str, divisors))}"
        raise OptionError(f"ratio {ratio} does not divide {filters} filters ({name})", hint=hint)
    intrinsic = filters // ratio
    primary = conv(network, x, intrinsic, size, activation=activation, name=f"{name} primary")
    if ratio == 1:
        return primary
    count = filters - intrinsic
    if isinstance(dw, int):
        dw = (dw,)
    cheap = _cheap(network, primary, count, dw, activation=activation, name=f"{name} cheap")
    return concat(network, primary, *cheap, name=name)


def _cheap(
    network: Network, primary: Node, count: int, dw: tuple[int, ...], *, activation: str, name: str
) -> list[Node]:
    """Add cheap maps: each kernel filters all intrinsic maps, or its own part of them.

    Raises `OptionError` where the parts are unequal.
    """
    intrinsic, share = primary.shape.c, len(dw)
    parts = 1 if count // intrinsic % share == 0 else share
    if intrinsic % parts:
        message = f"{share} kernels do not share {intrinsic} intrinsic maps ({name})"
        raise OptionError(message, hint="use one cheap kernel, or a width for which they do")
    made = []
    for place, size in enumerate(dw):
        own, label = primary, f"{name} {size}x{size}" if share > 1 else name
        if parts > 1:
            part = Route(groups=parts, group_id=place)
            own = network.add(part, primary, name=f"{label}, inputs")
        groups = own.shape.c
        cheap = conv(
            network, own, count // share, size, groups=groups, activation=activation, name=label
        )
        made.append(cheap)
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
    style: GhostNet,
    name: str = "",
) -> Node:
    """Add a ghost bottleneck: expand, [downsample], [squeeze-excite to `reduced`], project, add x.

    Of a style with a ratio for each stage the last counts. Where the shapes differ, x goes through
    a depthwise and a 1x1 convolution on its way to the sum.
    """
    ratio = style.ratios[-1]
    y = ghost(network, x, exp, ratio=ratio, dw=style.dw, name=f"{name}, ghost 1")
    if stride > 1:
        y = depthwise(network, y, size, stride=stride, name=f"{name}, downsample")
    if reduced:
        y = squeeze_excite(network, y, reduced, gate=style.gate, name=f"{name},")
    y = ghost(
        network,
        y,
        out,
        ratio=ratio,
        dw=style.dw,
        activation="linear",
        name=f"{name}, ghost 2",
    )
    if stride == 1 and x.shape.c == out:
        return add(network, y, x, name=f"{name}, sum")
    x = depthwise(network, x, size, stride=stride, name=f"{name}, shortcut depthwise")
    x = conv(network, x, out, activation="linear", name=f"{name}, shortcut pointwise")
    return add(network, x, y, name=f"{name}, sum")


def body(network: Network, style: GhostNet) -> dict[int, Node]:
    """Add stem and bottlenecks; return the last node of each stride, 2 to 32.

    Raises `OptionError` when the ratio does not divide every channel count of the table.
    """
    _check_ratio(style)
    x = conv(network, IMAGE, style.channels(STEM), 3, stride=2, name="stem")
    taps, stride, stage, place = {}, 2, 0, 0
    for row in TABLE:
        stride *= row.stride
        stage, place = row.stage, place + 1 if row.stage == stage else 1
        x = bottleneck(
            network,
            x,
            style.channels(row.exp),
            style.channels(row.out),
            size=row.size,
            stride=row.stride,
            reduced=style.squeezed(row),
            style=replace(style, ratio=style.ratios[stage - 1]),
            name=f"stage {stage}, bottleneck {place}",
        )
        taps[stride] = x
    return taps


def tail(network: Network, x: Node, style: GhostNet) -> Node:
    """Add the classifier's last layers up to the pooled 1280 features."""
    x = conv(network, x, style.channels(TAIL), name="tail")
    x = network.add(Avgpool(), x, name="pool")
    return conv(network, x, FEATURES, norm=False, name="features")


def _check_ratio(style: GhostNet) -> None:
    for ratio in style.ratios:
        rows = [row for row in TABLE if style.ratios[row.stage - 1] == ratio]
        counts = {style.channels(n) for row in rows for n in (row.exp, row.out)}
        if bad := sorted(n for n in counts if n % ratio):
            fits = [s for s in range(1, 17) if not any(n % s for n in counts)]
            message = f"ratio {ratio} does not divide {bad[0]}, a channel count at this width"
            raise OptionError(message, hint=f"use one of {', '.join(map(str, fits))}")
