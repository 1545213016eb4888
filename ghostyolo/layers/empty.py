"""`[empty]`: the identity.

Source: AlexeyAB/darknet src/parser.c parse_network_cfg_custom (EMPTY).
"""

from __future__ import annotations

from ghostyolo.layers.base import Layer, Module, Shape
from ghostyolo.syntax.options import options


@options
class Empty(Layer):
    """Returns the output of the layer above."""

    names = ("empty", "silence")
    trained = True
    operations = "other"

    def module(self, *inputs: Shape) -> Module:
        from torch import nn

        return nn.Identity()
