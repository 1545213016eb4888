"""`[Gaussian_yolo]`: `[yolo]` that also predicts the uncertainty of each coordinate.

Source: AlexeyAB/darknet src/parser.c parse_gaussian_yolo, src/gaussian_yolo_layer.c; Choi et al.
2019.
"""

from __future__ import annotations

from typing import Any

from ghostyolo.layers.anchor_head import Anchored, by_slot
from ghostyolo.layers.base import Module, Shape
from ghostyolo.layers.head import NMS_KINDS, Head, array_module
from ghostyolo.syntax.options import key, options

# The offset from the predicted point x, y to the centre of the box, in widths and heights.
POINTS = {"center": 0.0, "left_top": 0.5, "right_bottom": -0.5}


@options
class GaussianYolo(Anchored):
    """A slot holds x, y, w and h, each followed by its uncertainty, then objectness and classes."""

    names = ("Gaussian_yolo",)
    cxcywh = (0, 2, 4, 6)
    before_classes = 9
    hank_ai = resizable = True

    decode_above = Head.decode_above  # calls `decode`, which applies the uncertainties

    uc_normalizer: float = key(1.0)
    nms_kind: str = key("default", choices=NMS_KINDS)
    yolo_point: str = key("center", choices=tuple(POINTS))

    def module(self, *inputs: Shape) -> Module:
        from ghostyolo.ops import heads

        return heads.GaussianActivation(len(self.mask), self.scale_x_y)

    def decode(self, output: Any, size: tuple[int, int]) -> tuple[Any, Any, Any]:
        """Decode the output; class probabilities are multiplied by 1 - the mean uncertainty.

        Source: AlexeyAB/darknet src/gaussian_yolo_layer.c get_gaussian_yolo_detections.
        """
        boxes, objectness, classes = super().decode(output, size)
        xp = array_module(output)
        certainty = 1 - by_slot(self._slots(output)[:, :, 1:8:2], xp).mean(-1)
        if offset := POINTS[self.yolo_point]:
            centre = boxes[..., :2] + offset * boxes[..., 2:]
            boxes = xp.concatenate((centre, boxes[..., 2:]), -1)
        return boxes, objectness, classes * certainty[..., None]
