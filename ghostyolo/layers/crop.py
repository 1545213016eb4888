"""`[crop]`: the centre of the picture.

Source: AlexeyAB/darknet src/parser.c parse_crop, src/crop_layer.c.
"""

from __future__ import annotations

from ghostyolo.layers.base import Importer, Layer, LayerError, Module, Shape
from ghostyolo.syntax.options import key, options


@options
class Crop(Layer):
    """Crop to crop_height x crop_width pixels; scale to [-1, 1] unless `noadjust` is set.

    The other keys are for augmentation in training, which is not implemented for this kind.
    """

    names = ("crop",)
    resizable = True
    operations = "other"
    opencv = Importer()

    crop_height: int = key(1, always=True)
    crop_width: int = key(1, always=True)
    flip: int = key(0)
    angle: float = key(0.0)
    saturation: float = key(1.0)
    exposure: float = key(1.0)
    shift: float = key(0.0)
    noadjust: int = key(0)

    def shape(self, *inputs: Shape) -> Shape:
        (x,) = inputs
        if not (0 < self.crop_height <= x.h and 0 < self.crop_width <= x.w):
            message = f"{self.crop_height}x{self.crop_width} (HxW) of a {x.h}x{x.w} picture"
            raise LayerError(message, "set crop_height and crop_width to at most these")
        return Shape(x.c, self.crop_height, self.crop_width)

    def module(self, *inputs: Shape) -> Module:
        from ghostyolo.ops import arranging

        return arranging.Crop(self.crop_height, self.crop_width, adjust=not self.noadjust)
