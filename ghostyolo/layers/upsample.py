"""`[upsample]`: nearest-neighbour upsampling, or with a negative stride the sum of blocks.

Source: AlexeyAB/darknet src/parser.c parse_upsample, src/upsample_layer.c.
"""

from __future__ import annotations

from collections.abc import Iterator

from ghostyolo.layers.base import Importer, Layer, LayerError, Module, Shape
from ghostyolo.syntax.options import key, options


@options
class Upsample(Layer):
    """The result is multiplied by `scale`."""

    names = ("upsample",)
    trained = hank_ai = resizable = True
    operations = "other"
    order = "kept"
    opencv = Importer(ignores=("scale",), needs=("stride",))

    stride: int = key(2, always=True, training="any")
    scale: float = key(1.0, training="any")

    def shape(self, *inputs: Shape) -> Shape:
        (x,) = inputs
        if self.stride > 0:
            return Shape(x.c, x.h * self.stride, x.w * self.stride)
        step = -self.stride
        if not step or x.h % step or x.w % step:
            message = f"stride={self.stride} does not divide {x.h}x{x.w}"
            raise LayerError(message, "use a divisor", "stride")
        return Shape(x.c, x.h // step, x.w // step)

    def opencv_differences(self, *inputs: Shape) -> Iterator[tuple[str, str, str]]:
        if self.stride < 0:
            yield "stride", "OpenCV's importer has no negative stride", "use [maxpool]"

    def module(self, *inputs: Shape) -> Module:
        from ghostyolo.ops import arranging

        return arranging.Upsample(self.stride, self.scale)
