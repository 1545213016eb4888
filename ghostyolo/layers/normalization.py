"""`[normalization]`: local response normalisation across channels.

Source: AlexeyAB/darknet src/parser.c parse_normalization, src/normalization_layer.c.
"""

from __future__ import annotations

from ghostyolo.layers.base import Layer, LayerError, Module, Shape
from ghostyolo.syntax.options import key, options


@options
class Normalization(Layer):
    """Divide by (kappa + alpha * sum of squares over `size` neighbouring channels) ** beta."""

    names = ("normalization", "lrn")
    trained = resizable = True
    operations = "other"

    alpha: float = key(0.0001, always=True, training="any")
    beta: float = key(0.75, always=True, training="any")
    kappa: float = key(1.0, always=True, training="any")
    size: int = key(5, always=True, training="any")

    def shape(self, *inputs: Shape) -> Shape:
        if not 0 <= self.size // 2 <= inputs[0].c:
            message = f"size={self.size} over {inputs[0].c} channels"
            raise LayerError(message, "use a size of at most twice the channels")
        return inputs[0]

    def module(self, *inputs: Shape) -> Module:
        from ghostyolo.ops import pooling

        return pooling.LocalResponse(self.size, self.alpha, self.beta, self.kappa)
