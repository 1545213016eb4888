"""`[empty]`: nothing, at the place of a layer.

Source: AlexeyAB/darknet src/parser.c parse_network_cfg_custom (EMPTY).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ghostyolo.layers.base import Layer, Shape
from ghostyolo.syntax.options import options

if TYPE_CHECKING:
    from torch import nn


@options
class Empty(Layer):
    """The output of the layer above, by another index."""

    names = ("empty", "silence")
    trained = True
    operations = "other"

    def module(self, *inputs: Shape) -> nn.Module:
        from torch import nn

        return nn.Identity()
