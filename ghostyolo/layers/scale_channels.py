"""`[scale_channels]`: multiply an earlier output by a gate, as in squeeze-and-excitation.

Source: AlexeyAB/darknet src/parser.c parse_scale_channels, src/scale_channels_layer.c.
"""

from __future__ import annotations

from ghostyolo.layers.base import ACTIVATIONS, Importer, Layer, LayerError, Module, Shape, pair
from ghostyolo.syntax.options import key, options


@options
class ScaleChannels(Layer):
    """The node above is the gate, Cx1x1 (or 1xHxW with scale_wh), by which `from` is multiplied."""

    names = ("scale_channels",)
    refs = {"from": "data"}
    trained = hank_ai = resizable = True
    operations = "elementwise"
    order = "kept"
    opencv = Importer(ignores=("scale_wh",))

    scale_wh: int = key(0, training="any")
    activation: str = key("linear", choices=ACTIVATIONS, always=True, training="any")

    def shape(self, *inputs: Shape) -> Shape:
        gate, scaled = pair(inputs)
        wanted = Shape(1, scaled.h, scaled.w) if self.scale_wh else Shape(scaled.c, 1, 1)
        if gate != wanted:
            message = f"the gate is {gate}, scaling {scaled} needs {wanted}"
            hint = f"let the layer above give {wanted}, or correct from="
            raise LayerError(message, hint, "gate-shape")
        return scaled

    def module(self, *inputs: Shape) -> Module:
        from ghostyolo.ops import combining

        return combining.Product(self.activation)
