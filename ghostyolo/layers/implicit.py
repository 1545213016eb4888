"""`[implicit]`: a learned tensor that does not depend on the picture.

Source: AlexeyAB/darknet src/parser.c parse_implicit, src/representation_layer.c; Wang et al. 2021.
"""

from __future__ import annotations

from ghostyolo.layers.base import Layer, LayerError, Module, Shape, Tensors, at_least_one
from ghostyolo.syntax.options import key, options

LARGEST = 1e38  # below the largest float of 32 bits


@options
class Implicit(Layer):
    """Only the batch size depends on the layer above."""

    names = ("implicit",)
    decayed = clipped = ("weight",)
    trained = True
    operations = "other"

    mean: float = key(0.0, always=True, training="any")
    std: float = key(0.2, always=True, training="any")
    filters: int = key(128, always=True, training="any")
    atoms: int = key(1, training="any")

    def shape(self, *inputs: Shape) -> Shape:
        at_least_one(self, "filters", "atoms")
        return Shape(self.filters, self.atoms, 1)

    def check_inference(self, *inputs: Shape) -> None:
        for name, value in (("mean", self.mean), ("std", self.std)):
            if not abs(value) < LARGEST:
                raise LayerError(f"{name}={value:g} is not a number of 32 bits", f"correct {name}")

    def weights(self, *inputs: Shape) -> Tensors:
        return [("weight", (self.filters, self.atoms, 1))]

    def module(self, *inputs: Shape) -> Module:
        from ghostyolo.ops import combining

        return combining.Constant((self.filters, self.atoms, 1), self.mean, self.std)
