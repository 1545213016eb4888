"""`[sam]`: multiply by an earlier output, element by element.

Source: AlexeyAB/darknet src/parser.c parse_sam, src/sam_layer.c.
"""

from __future__ import annotations

from ghostyolo.layers.base import ACTIVATIONS, Importer, Layer, LayerError, Module, Shape, pair
from ghostyolo.syntax.options import key, options


@options
class Sam(Layer):
    """The node above is the attention map; `from` has the same shape."""

    names = ("sam",)
    refs = {"from": "data"}
    trained = hank_ai = resizable = True
    operations = "elementwise"
    order = "kept"
    opencv = Importer()

    activation: str = key("linear", choices=ACTIVATIONS, always=True, training="any")

    def shape(self, *inputs: Shape) -> Shape:
        above, source = pair(inputs)
        if above != source:
            message = f"the layer above is {above}, from= is {source}"
            raise LayerError(message, "multiply layers of the same shape", "size-mismatch")
        return source

    def module(self, *inputs: Shape) -> Module:
        from ghostyolo.ops import combining

        return combining.Product(self.activation)
