"""`[dropout]`: in training, zero a fraction of the values and scale the rest.

Source: AlexeyAB/darknet src/parser.c parse_dropout, src/dropout_layer.c.
"""

from __future__ import annotations

from ghostyolo.layers.base import Importer, Layer, LayerError, Module, Shape
from ghostyolo.syntax.options import key, options


@options
class Dropout(Layer):
    """Works in place: other layers that read the layer above get the dropped values, too.

    `dropblock` has no effect here, as in Darknet's CPU build.
    """

    names = ("dropout",)
    in_place = True
    trained = hank_ai = resizable = True
    operations = "none"
    order = "kept"
    opencv = Importer()

    probability: float = key(0.2, always=True, training="any")
    dropblock: int = key(0)
    dropblock_size_rel: float = key(0.0, training="any")
    dropblock_size_abs: int = key(0, training="any")

    def shape(self, *inputs: Shape) -> Shape:
        if not 0 <= self.probability <= 1:
            message = f"probability={self.probability:g} is not in 0..1"
            raise LayerError(message, "set the fraction of values to drop, such as 0.5")
        return inputs[0]

    def module(self, *inputs: object) -> Module:
        from torch import nn

        return nn.Dropout(self.probability)
