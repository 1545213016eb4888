"""`[reorg]`: the passthrough layer of YOLOv2, a space to depth that also mixes channels.

Source: AlexeyAB/darknet src/reorg_old_layer.c, src/blas.c reorg_cpu.
"""

from __future__ import annotations

from ghostyolo.layers.base import Importer, LayerError, Module, Shape
from ghostyolo.layers.reorg3d import Reorg3d
from ghostyolo.syntax.options import options


@options
class Reorg(Reorg3d):
    """The space to depth of `[reorg3d]`, on the buffer interpreted as (c / s^2, h * s, w * s).

    With `reverse` it is depth to space, on the input as it is.
    """

    names = ("reorg",)
    hank_ai = False
    opencv = Importer(ignores=("reverse",))

    @property
    def channel_multiple(self) -> int:
        return self.stride**2

    def shape(self, *inputs: Shape) -> Shape:
        shape = super().shape(*inputs)
        if inputs[0].c % self.channel_multiple:
            message = f"stride={self.stride} squared does not divide {inputs[0].c} channels"
            raise LayerError(message, "use a divisor, or [reorg3d]", "stride")
        return shape

    def module(self, *inputs: Shape) -> Module:
        from ghostyolo.ops import arranging

        return arranging.Passthrough(self.stride, bool(self.reverse))
