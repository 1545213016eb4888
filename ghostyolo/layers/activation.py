"""`[activation]`: a function of each value.

Source: AlexeyAB/darknet src/activation_layer.c.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ghostyolo.layers.base import ACTIVATIONS, Layer, Shape
from ghostyolo.layers.options import key

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Activation(Layer):
    """One of Darknet's activations, alone."""

    names = ("activation",)

    activation: str = key("linear", choices=ACTIVATIONS, always=True)

    def module(self, *inputs: Shape) -> nn.Module:
        from ghostyolo import ops

        return ops.activation(self.activation)
