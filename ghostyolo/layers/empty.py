"""`[empty]`: a layer that changes nothing.

Source: AlexeyAB/darknet src/parser.c parse_network_cfg_custom (EMPTY).
"""

from __future__ import annotations

from ghostyolo.layers.base import Layer, Module, Shape
from ghostyolo.syntax.options import options


@options
class Empty(Layer):
    """The output of the layer above, under an index of its own."""

    names = ("empty", "silence")
    trained = True
    operations = "other"

    def module(self, *inputs: Shape) -> Module:
        from torch import nn

        return nn.Identity()
