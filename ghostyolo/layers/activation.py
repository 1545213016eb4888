"""`[activation]`: an activation function on its own.

Source: AlexeyAB/darknet src/activation_layer.c.
"""

from __future__ import annotations

from collections.abc import Iterator

from ghostyolo.layers.base import ACTIVATIONS, Layer, Module, Shape
from ghostyolo.syntax.options import key, options


@options
class Activation(Layer):
    """Apply one of Darknet's activations to each value."""

    names = ("activation",)
    trained = True
    operations = "elementwise"
    order = "kept"

    activation: str = key("linear", choices=ACTIVATIONS, always=True, training="any")

    def further_passes(self, out: Shape, *inputs: Shape) -> Iterator[int]:
        yield from ()

    def module(self, *inputs: Shape) -> Module:
        from ghostyolo.ops import activations

        return activations.activation(self.activation)
