"""What `[maxpool]` and `[local_avgpool]` share: windows and their geometry."""

from __future__ import annotations

from ghostyolo.layers.base import Layer, LayerError, Shape, at_least_one
from ghostyolo.syntax.options import key, options


@options
class Pooling(Layer):
    """`padding` is the sum of both sides."""

    stride: int = key(1, always=True, training="any")
    stride_x: int = key(derive=lambda layer: layer.stride, training="any")
    stride_y: int = key(derive=lambda layer: layer.stride, training="any")
    size: int = key(derive=lambda layer: layer.stride, always=True, training="any")
    padding: int = key(derive=lambda layer: layer.size - 1, training="any")

    @property
    def strides(self) -> tuple[int, int]:
        """Return the windows' (y, x) stride."""
        return self.stride_y, self.stride_x

    def shape(self, *inputs: Shape) -> Shape:
        return self._pooled(inputs[0])

    def _pooled(self, x: Shape) -> Shape:
        at_least_one(self, "size", "stride_x", "stride_y")
        h, w = (
            (side + self.padding - self.size) // stride + 1
            for side, stride in zip(x[1:], self.strides, strict=True)
        )
        if h < 1 or w < 1:
            message = f"a {self.size}x{self.size} window leaves nothing of {x}"
            raise LayerError(message, "use a smaller size or a larger network input", "vanishing")
        return Shape(x.c, h, w)

    def bflops(self, out: Shape, *inputs: Shape) -> float:
        _, h, w = self._pooled(inputs[0])
        return self.size**2 * inputs[0].c * h * w / 1e9
