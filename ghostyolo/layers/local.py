"""`[local]`: a convolution with separate weights for each output position.

Source: AlexeyAB/darknet src/parser.c parse_local, src/local_layer.c.
"""

from __future__ import annotations

from ghostyolo.layers.base import (
    ACTIVATIONS,
    Layer,
    LayerError,
    Module,
    Shape,
    Tensors,
    at_least_one,
    output_size,
)
from ghostyolo.syntax.options import key, options


@options
class Local(Layer):
    """`pad` is the zero pixels on each side; Darknet's output size assumes size=3 with pad=1."""

    names = ("local",)
    decayed = ("weight",)
    trained = True
    operations = "products"

    filters: int = key(1, always=True, training="any")
    size: int = key(1, always=True, training="any")
    stride: int = key(1, always=True, training="any")
    pad: int = key(0, always=True, training="any")
    activation: str = key("logistic", choices=ACTIVATIONS, always=True, training="any")

    def shape(self, *inputs: Shape) -> Shape:
        (x,) = inputs
        at_least_one(self, "filters", "size", "stride")
        stride = self.stride, self.stride
        out = output_size(x, 1 if self.pad else self.size, 0, stride)
        if out != output_size(x, self.size, 2 * self.pad, stride):
            hint = "use size=3 with pad=1, or pad=0; Darknet computes a wrong output size otherwise"
            raise LayerError(f"pad={self.pad} with size={self.size}", hint)
        return Shape(self.filters, *out)

    def weights(self, *inputs: Shape) -> Tensors:
        out = self.shape(*inputs)
        kernel = (out.h * out.w, self.filters, inputs[0].c * self.size**2)
        return [("bias", tuple(out)), ("weight", kernel)]

    def macs(self, out: Shape, *inputs: Shape) -> int:
        return out.size * inputs[0].c * self.size**2

    def summary(self) -> str:
        stride = f"/{self.stride}" if self.stride > 1 else ""
        return f"{self.size}x{self.size}{stride} {self.activation}"

    def module(self, *inputs: Shape) -> Module:
        from ghostyolo.ops import convolution

        return convolution.Local(
            inputs[0].c,
            self.filters,
            size=self.size,
            stride=self.stride,
            padding=self.pad,
            out=self.shape(*inputs)[1:],
            activation=self.activation,
        )
