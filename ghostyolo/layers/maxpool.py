"""`[maxpool]`: the largest value in each window.

Source: AlexeyAB/darknet src/parser.c parse_maxpool, src/maxpool_layer.c.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ghostyolo.layers.base import Layer, Misfit, Shape
from ghostyolo.layers.options import key

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Maxpool(Layer):
    """`padding` counts both sides together, and pixels outside never win."""

    names = ("maxpool", "max")

    stride: int = key(1, always=True)
    stride_x: int = key(derive=lambda layer: layer.stride)
    stride_y: int = key(derive=lambda layer: layer.stride)
    size: int = key(derive=lambda layer: layer.stride, always=True)
    padding: int = key(derive=lambda layer: layer.size - 1)
    maxpool_depth: int = key(0)
    out_channels: int = key(1)
    antialiasing: int = key(0)
    maxpool_zero_nonmax: int = key(0)

    def shape(self, *inputs: Shape) -> Shape:
        (x,) = inputs
        if self.maxpool_depth:
            if x.c % self.out_channels:
                message = f"out_channels={self.out_channels} does not divide {x.c} channels"
                raise Misfit(message, "choose out_channels that divide the input channels")
            return Shape(self.out_channels, x.h, x.w)
        if min(self.size, self.stride_x, self.stride_y) < 1:
            raise Misfit(f"size={self.size} stride={self.stride}", "set both to 1 or more")
        h, w = (
            (side + self.padding - self.size) // stride + 1
            for side, stride in ((x.h, self.stride_y), (x.w, self.stride_x))
        )
        if h < 1 or w < 1:
            message = f"a {self.size}x{self.size} window leaves nothing of {x}"
            raise Misfit(message, "use a smaller size or a larger network input")
        return Shape(x.c, h, w)

    def bflops(self, out: Shape, *inputs: Shape) -> float:
        return self.size**2 * out.size / 1e9

    def module(self, *inputs: Shape) -> nn.Module:
        from ghostyolo import ops

        if self.antialiasing:
            raise Misfit(f"antialiasing={self.antialiasing} is not supported", "set it to 0")
        if self.maxpool_depth:
            return ops.DepthMax(self.out_channels)
        return ops.Maxpool(self.size, (self.stride_y, self.stride_x), self.padding)
