"""`[cost]`: the loss of a classifier.

Source: AlexeyAB/darknet src/parser.c parse_cost, src/cost_layer.c.
"""

from __future__ import annotations

from ghostyolo.layers.base import Importer, Layer, Module, Shape
from ghostyolo.syntax.options import key, options


@options
class Cost(Layer):
    """Used in training only; in inference its output is zero, and is not one of the network's."""

    names = ("cost",)
    has_output = False
    trained = hank_ai = resizable = True
    operations = "other"
    opencv = Importer()

    type: str = key("sse", choices=("sse", "masked", "smooth"), always=True, training="detectors")
    scale: float = key(1.0, training="detectors")
    ratio: float = key(0.0, training="detectors")

    def module(self, *inputs: Shape) -> Module:
        from ghostyolo.ops import heads

        return heads.Loss()
