"""`[maxpool]`: max pooling.

Source: AlexeyAB/darknet src/parser.c parse_maxpool, src/maxpool_layer.c.
"""

from __future__ import annotations

from ghostyolo.layers.antialiasing import blurred, kernel_size
from ghostyolo.layers.base import ChannelOrder, Importer, LayerError, Module, Shape
from ghostyolo.layers.pooling import Pooling
from ghostyolo.syntax.options import key, options


@options
class Maxpool(Pooling):
    """The maximum of each window; with `maxpool_depth`, of groups of channels at each pixel."""

    names = ("maxpool", "max")
    trained = hank_ai = resizable = True
    operations = "other"
    opencv = Importer(
        ignores=("stride_x", "stride_y", "antialiasing", "maxpool_depth"), needs=("size", "stride")
    )

    maxpool_depth: int = key(0, training="any")
    out_channels: int = key(1, training="any")
    antialiasing: int = key(0, training="any")
    maxpool_zero_nonmax: int = key(0)

    @property
    def strides(self) -> tuple[int, int]:
        return (1, 1) if self.antialiasing else super().strides

    def shape(self, *inputs: Shape) -> Shape:
        out = self._pooled(inputs[0])
        if self.antialiasing:
            return blurred(out, self.antialiasing, super().strides)
        return out

    def _pooled(self, x: Shape) -> Shape:
        if not self.maxpool_depth:
            return super()._pooled(x)
        if not 1 <= self.out_channels <= x.c:
            message = f"out_channels={self.out_channels} of {x.c} channels"
            raise LayerError(message, f"set out_channels to 1..{x.c}")
        if self.antialiasing:
            raise LayerError("maxpool_depth=1 has no antialiasing", "set antialiasing=0")
        return Shape(self.out_channels, x.h, x.w)

    def channel_order(self, *inputs: Shape) -> ChannelOrder:
        return "fixed" if self.maxpool_depth else "kept"

    def macs(self, out: Shape, *inputs: Shape) -> int:
        return kernel_size(self.antialiasing) ** 2 * out.size if self.antialiasing else 0

    def module(self, *inputs: Shape) -> Module:
        from torch import nn

        from ghostyolo.ops import pooling

        pool = (
            pooling.DepthMax(self.out_channels)
            if self.maxpool_depth
            else pooling.Maxpool(self.size, self.strides, self.padding)
        )
        if not self.antialiasing:
            return pool
        return nn.Sequential(pool, pooling.Blur(kernel_size(self.antialiasing), super().strides))
