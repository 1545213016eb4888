"""`[connected]`: a matrix product over the flattened input.

Source: AlexeyAB/darknet src/parser.c parse_connected, src/connected_layer.c.
"""

from __future__ import annotations

from ghostyolo.layers.base import ACTIVATIONS, Importer, Layer, Module, Shape, Tensors, at_least_one
from ghostyolo.syntax.options import key, options


@options
class Connected(Layer):
    """A fully connected layer with `output` values per image, then batch norm and activation."""

    names = ("connected", "conn")
    channels_key = "output"
    trained = hank_ai = True
    operations = "products"
    order = "absorbed"
    opencv = Importer(ignores=("batch_normalize",))

    output: int = key(1, always=True, training="any")
    batch_normalize: int = key(0, training="any")
    activation: str = key("logistic", choices=ACTIVATIONS, always=True, training="any")

    def shape(self, *inputs: Shape) -> Shape:
        at_least_one(self, "output")
        return Shape(self.output, 1, 1)

    def weights(self, *inputs: Shape) -> Tensors:
        matrix = ("linear.weight", (self.output, inputs[0].size))
        if not self.batch_normalize:
            return [("linear.bias", (self.output,)), matrix]
        scales = ("norm.weight", "norm.running_mean", "norm.running_var")
        return [("norm.bias", (self.output,)), matrix] + [(n, (self.output,)) for n in scales]

    def transposed_name(self, transposed: bool) -> str:
        return "linear.weight" if transposed else ""

    def macs(self, out: Shape, *inputs: Shape) -> int:
        return out.size * inputs[0].size

    def module(self, *inputs: Shape) -> Module:
        from ghostyolo.ops import convolution

        norm = bool(self.batch_normalize)
        return convolution.Connected(inputs[0].size, self.output, norm, self.activation)
