"""`[reorg3d]`: space to depth.

Source: AlexeyAB/darknet src/parser.c parse_reorg, src/blas.c reorg_cpu.
"""

from __future__ import annotations

from ghostyolo.layers.base import Layer, LayerError, Module, Shape, at_least_one
from ghostyolo.syntax.options import key, options


@options
class Reorg3d(Layer):
    """Blocks of stride x stride pixels become channels: output channel = offset * c + channel.

    With `reverse` it is not the inverse: it mixes channels and pixels like `[reorg]`.
    """

    names = ("reorg3d",)
    trained = hank_ai = resizable = True
    operations = "other"

    stride: int = key(1, always=True, training="any")
    reverse: int = key(0, training="any")

    @property
    def channel_multiple(self) -> int:
        """Return the divisor that the number of input channels must have for `reverse`."""
        return self.stride**4

    def shape(self, *inputs: Shape) -> Shape:
        c, h, w = inputs[0]
        s = self.stride
        at_least_one(self, "stride")
        if self.reverse:
            if c % self.channel_multiple:
                message = f"{c} channels, stride={s} needs a multiple of {self.channel_multiple}"
                raise LayerError(message, "use a smaller stride", "stride")
            return Shape(c // (s * s), h * s, w * s)
        if h % s or w % s:
            message = f"stride={s} does not divide {h}x{w}"
            raise LayerError(message, "use an input size that it divides", "stride")
        return Shape(c * s * s, h // s, w // s)

    def module(self, *inputs: Shape) -> Module:
        from ghostyolo.ops import arranging

        return arranging.SpaceToDepth(self.stride, bool(self.reverse))
