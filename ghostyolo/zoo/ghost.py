"""GhostNet: ghost modules, ghost bottlenecks, and the table they are stacked by.

Source: Han et al., GhostNet: More Features from Cheap Operations, CVPR 2020, table 1 and figures
2 and 3; details that the paper leaves open from huawei-noah/Efficient-AI-Backbones,
ghostnet_pytorch/ghostnet.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ghostyolo.errors import OptionError
from ghostyolo.layers.avgpool import Avgpool
from ghostyolo.network import IMAGE, Network, Node
from ghostyolo.zoo.blocks import add, concat, conv, depthwise, make_divisible, squeeze_excite


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


@dataclass(frozen=True)
class Style:
    """How ghost modules are built. ratio: s of the paper; dw: its d; gate: of squeeze-excite."""

    width: float = 1.0
    ratio: int = 2
    dw: int = 3
    gate: str = "logistic"

    def channels(self, base: int) -> int:
        """Return a channel count of the table at this width."""
        return make_divisible(base * self.width)


def ghost(
    network: Network,
    x: Node,
    filters: int,
    *,
    ratio: int = 2,
    size: int = 1,
    dw: int = 3,
    activation: str = "relu",
    name: str = "",
) -> Node:
    """Add a ghost module: filters / ratio maps by convolution, the rest by cheap depthwise filters.

    The output is [primary, cheap] by channel. Raises `OptionError` unless ratio divides filters.
    """
    if filters % ratio:
        divisors = [s for s in range(1, 9) if filters % s == 0]
        hint = f"use one of {', '.join(map(str, divisors))}"
        raise OptionError(f"ratio {ratio} does not divide {filters} filters ({name})", hint=hint)
    intrinsic = filters // ratio
    primary = conv(network, x, intrinsic, size, activation=activation, name=f"{name} primary")
    if ratio == 1:
        return primary
    cheap = conv(
        network,
        primary,
        filters - intrinsic,
        dw,
        groups=intrinsic,
        activation=activation,
        name=f"{name} cheap",
    )
    return concat(network, primary, cheap, name=name)


def bottleneck(
    network: Network,
    x: Node,
    exp: int,
    out: int,
    *,
    size: int = 3,
    stride: int = 1,
    reduced: int = 0,
    style: Style,
    name: str = "",
) -> Node:
    """Add a ghost bottleneck: expand, [downsample], [squeeze-excite to `reduced`], project, add x.

    Where the shapes differ, x goes through a depthwise and a 1x1 convolution on its way to the sum.
    """
    y = ghost(network, x, exp, ratio=style.ratio, dw=style.dw, name=f"{name}, ghost 1")
    if stride > 1:
        y = depthwise(network, y, size, stride=stride, name=f"{name}, downsample")
    if reduced:
        y = squeeze_excite(network, y, reduced, gate=style.gate, name=f"{name},")
    y = ghost(
        network,
        y,
        out,
        ratio=style.ratio,
        dw=style.dw,
        activation="linear",
        name=f"{name}, ghost 2",
    )
    if stride == 1 and x.shape.c == out:
        return add(network, y, x, name=f"{name}, sum")
    x = depthwise(network, x, size, stride=stride, name=f"{name}, shortcut depthwise")
    x = conv(network, x, out, activation="linear", name=f"{name}, shortcut pointwise")
    return add(network, x, y, name=f"{name}, sum")


def body(network: Network, style: Style) -> dict[int, Node]:
    """Add stem and bottlenecks; return the last node of each stride, 2 to 32.

    Raises `OptionError` when the ratio does not divide every channel count of the table.
    """
    _check_ratio(style)
    x = conv(network, IMAGE, style.channels(STEM), 3, stride=2, name="stem")
    taps, stride, stage, place = {}, 2, 0, 0
    for row in TABLE:
        stride *= row.stride
        stage, place = row.stage, place + 1 if row.stage == stage else 1
        exp = style.channels(row.exp)
        x = bottleneck(
            network,
            x,
            exp,
            style.channels(row.out),
            size=row.size,
            stride=row.stride,
            reduced=make_divisible(row.se * exp) if row.se else 0,
            style=style,
            name=f"stage {stage}, bottleneck {place}",
        )
        taps[stride] = x
    return taps


def tail(network: Network, x: Node, style: Style) -> Node:
    """Add the classifier's last layers up to the pooled 1280 features."""
    x = conv(network, x, style.channels(TAIL), name="tail")
    x = network.add(Avgpool(), x, name="pool")
    return conv(network, x, FEATURES, norm=False, name="features")


def _check_ratio(style: Style) -> None:
    counts = {style.channels(n) for row in TABLE for n in (row.exp, row.out)}
    bad = sorted(n for n in counts if n % style.ratio)
    if bad:
        fits = [s for s in range(1, 17) if not any(n % s for n in counts)]
        message = f"ratio {style.ratio} does not divide {bad[0]}, a channel count at this width"
        raise OptionError(message, hint=f"use one of {', '.join(map(str, fits))}")
