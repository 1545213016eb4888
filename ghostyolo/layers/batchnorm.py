"""`[batchnorm]`: batch norm on its own.

Source: AlexeyAB/darknet src/batchnorm_layer.c.
"""

from __future__ import annotations

from ghostyolo.layers.base import Layer, Module, Shape, Tensors
from ghostyolo.syntax.options import options


@options
class Batchnorm(Layer):
    """Normalise each channel; inference uses the running statistics."""

    names = ("batchnorm",)
    trained = resizable = True
    operations = "elementwise"
    order = "kept"

    def weights(self, *inputs: Shape) -> Tensors:
        names = ("bias", "weight", "running_mean", "running_var")
        return [(name, (inputs[0].c,)) for name in names]

    def module(self, *inputs: Shape) -> Module:
        from ghostyolo.ops import convolution

        return convolution.batch_norm(inputs[0].c)
