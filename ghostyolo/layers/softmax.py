"""`[softmax]`: class probabilities.

Source: AlexeyAB/darknet src/parser.c parse_softmax, src/softmax_layer.c.
"""

from __future__ import annotations

from ghostyolo.layers.base import Importer, Layer, LayerError, Module, Shape
from ghostyolo.layers.tree import check_tree, read_tree
from ghostyolo.syntax.options import key, options


@options
class Softmax(Layer):
    """Over all values of an image, or over each of `groups` equal parts, with a temperature."""

    names = ("softmax", "soft")
    probabilities = True
    trained = hank_ai = True
    operations = "other"
    opencv = Importer(ignores=("groups", "temperature", "tree"))

    groups: int = key(1, training="detectors")
    temperature: float = key(1.0, training="any")
    tree: str = key("", training="detectors")
    spatial: int = key(0, training="detectors")
    noloss: int = key(0, training="detectors")

    def shape(self, *inputs: Shape) -> Shape:
        if self.groups < 1 or inputs[0].size % self.groups:
            message = f"groups={self.groups} does not divide {inputs[0].size} values"
            raise LayerError(message, "choose groups that divide the input", "groups")
        return inputs[0]

    def check_inference(self, *inputs: Shape) -> None:
        if self.tree:
            check_tree(self.tree, inputs[0].size)

    def module(self, *inputs: Shape) -> Module:
        from ghostyolo.ops import heads

        if self.tree:
            return heads.TreeSoftmax(read_tree(self.tree).groups, self.temperature)
        return heads.Softmax(self.groups, self.temperature, bool(self.spatial))
