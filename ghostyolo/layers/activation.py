"""`[activation]`: a function of each value.

Source: AlexeyAB/darknet src/activation_layer.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ghostyolo.layers.base import ACTIVATIONS, Layer, Shape
from ghostyolo.syntax.options import key, options

if TYPE_CHECKING:
    from torch import nn


@options
class Activation(Layer):
    """One of Darknet's activations, alone."""

    names = ("activation",)

    activation: str = key("linear", choices=ACTIVATIONS, always=True)

    def module(self, *inputs: Shape) -> nn.Module:
        from ghostyolo import ops

        return ops.activation(self.activation)
