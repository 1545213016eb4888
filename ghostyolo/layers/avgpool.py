"""`[avgpool]`: the mean over all pixels.

Source: AlexeyAB/darknet src/avgpool_layer.c.
"""

from __future__ import annotations

from ghostyolo.layers.base import Importer, Layer, Module, Shape
from ghostyolo.syntax.options import options


@options
class Avgpool(Layer):
    """Global average pooling: (C, H, W) to (C, 1, 1)."""

    names = ("avgpool", "avg")
    keeps_logits = True
    trained = hank_ai = resizable = True
    operations = "other"
    order = "kept"
    opencv = Importer()

    def shape(self, *inputs: Shape) -> Shape:
        return Shape(inputs[0].c, 1, 1)

    def module(self, *inputs: Shape) -> Module:
        from torch import nn

        return nn.AdaptiveAvgPool2d(1)
