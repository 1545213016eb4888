"""The base of `[maxpool]` and `[local_avgpool]`: size, stride and padding of the windows."""

from __future__ import annotations

from ghostyolo.layers.base import (
    MAX_VALUES,
    Layer,
    LayerError,
    Shape,
    at_least_one,
    output_size,
)
from ghostyolo.syntax.options import key, options


@options
class Pooling(Layer):
    """`padding` is the number of pixels on both sides together."""

    stride: int = key(1, always=True, training="any")
    stride_x: int = key(derive=lambda layer: layer.stride, training="any")
    stride_y: int = key(derive=lambda layer: layer.stride, training="any")
    size: int = key(derive=lambda layer: layer.stride, always=True, training="any")
    padding: int = key(derive=lambda layer: layer.size - 1, training="any")

    @property
    def strides(self) -> tuple[int, int]:
        """Return the (y, x) stride of the windows."""
        return self.stride_y, self.stride_x

    def shape(self, *inputs: Shape) -> Shape:
        return self._pooled(inputs[0])

    def _pooled(self, x: Shape) -> Shape:
        at_least_one(self, "size", "stride_x", "stride_y")
        if x.c * (x.h + self.padding) * (x.w + self.padding) > MAX_VALUES:
            message = f"size={self.size} and padding={self.padding} make a map that is too large"
            raise LayerError(message, f"the input is {x.w}x{x.h}, correct size", "magnitude")
        return Shape(x.c, *output_size(x, self.size, self.padding, self.strides, "window"))

    def bflops(self, out: Shape, *inputs: Shape) -> float:
        _, h, w = self._pooled(inputs[0])
        return self.size**2 * inputs[0].c * h * w / 1e9
