"""`[contrastive]`: a loss on embeddings of pictures, or of the boxes of a `[yolo]`.

Source: AlexeyAB/darknet src/parser.c parse_contrastive, src/softmax_layer.c.
"""

from __future__ import annotations

from ghostyolo.layers.base import Layer, LayerError, Module, Shape, Shapes
from ghostyolo.layers.yolo import Yolo
from ghostyolo.syntax.options import key, options


@options
class Contrastive(Layer):
    """A loss for training, which is not implemented; in inference its output is zero."""

    names = ("contrastive",)
    refs = {"yolo_layer": "side"}
    has_output = False
    hank_ai = True
    operations = "other"

    classes: int = key(1000, always=True)
    temperature: float = key(1.0)
    cls_normalizer: float = key(1.0)
    max_delta: float = key(float("inf"))
    contrastive_neg_max: int = key(3)

    def check_reference(self, inputs: Shapes, other: Layer, other_inputs: Shapes) -> None:
        if not isinstance(other, Yolo):
            raise LayerError(f"yolo_layer refers to a [{other.kind}]", "give the index of a [yolo]")

    def module(self, *inputs: Shape) -> Module:
        from ghostyolo.ops import heads

        return heads.Loss()
