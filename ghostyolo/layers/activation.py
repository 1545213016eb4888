"""`[activation]`: a function of each value.

Source: AlexeyAB/darknet src/activation_layer.c.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ghostyolo.layers.base import ACTIVATIONS, Layer, Shape
from ghostyolo.syntax.options import key, options

if TYPE_CHECKING:
    from torch import nn


@options
class Activation(Layer):
    """One of Darknet's activations, alone."""

    names = ("activation",)
    trained = True
    operations = "elementwise"
    order = "kept"

    activation: str = key("linear", choices=ACTIVATIONS, always=True, training="any")

    def further_passes(self, out: Shape, *inputs: Shape) -> Iterator[int]:
        yield from ()

    def module(self, *inputs: Shape) -> nn.Module:
        from ghostyolo import ops

        return ops.activation(self.activation)
