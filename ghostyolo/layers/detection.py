"""`[detection]`: the head of YOLOv1, with boxes for each cell of a grid.

Source: AlexeyAB/darknet src/parser.c parse_detection, src/detection_layer.c; Redmon et al. 2016.
"""

from __future__ import annotations

from typing import Any

from ghostyolo.layers.base import Module, Shape
from ghostyolo.layers.head import Head, array_module, cell_indices, check_channels
from ghostyolo.syntax.options import key, options


@options
class Detection(Head):
    """The input holds the class probabilities of all cells, all confidences, then all boxes."""

    names = ("detection",)
    resizable = True

    classes: int = key(1, always=True)
    coords: int = key(1, always=True)
    rescore: int = key(0, always=True)
    side: int = key(7, always=True)
    num: int = key(1, always=True)
    softmax: int = key(0, always=True)
    sqrt: int = key(0, always=True)
    max: int = key(200)
    coord_scale: float = key(1.0)
    forced: int = key(0)
    object_scale: float = key(1.0)
    noobject_scale: float = key(1.0)
    class_scale: float = key(1.0)
    jitter: float = key(0.2, always=True)
    resize: float = key(1.0)
    random: float = key(0.0)
    reorg: int = key(0)

    @property
    def cells(self) -> int:
        """Return the number of cells in the grid."""
        return self.side**2

    def shape(self, *inputs: Shape) -> Shape:
        need = self.cells * ((1 + self.coords) * self.num + self.classes)
        boxes = f"{self.num} boxes * (1 + {self.coords} coords)"
        sum_ = f"{self.side}^2 cells * ({boxes} + {self.classes} classes)"
        check_channels(inputs[0].size, need, sum_, unit="values", key="output")
        return inputs[0]

    def module(self, *inputs: Shape) -> Module:
        from torch import nn

        from ghostyolo.ops import heads

        if not self.softmax:
            return nn.Identity()
        return heads.DetectionActivation(self.cells, self.classes)

    def decode(self, output: Any, size: tuple[int, int]) -> tuple[Any, Any, Any]:
        """Decode the boxes in the order of cells, see `Head.decode`.

        The class probabilities include the confidence, and the objectness returned is 1: Darknet
        applies the confidence threshold to their product only.
        Source: AlexeyAB/darknet src/detection_layer.c get_detection_detections.
        """
        xp = array_module(output)
        n, cells, num = output.shape[0], self.cells, self.num
        flat = output.reshape(n, -1)
        first, second = cells * self.classes, cells * (self.classes + num)
        classes = flat[:, :first].reshape(n, cells, 1, self.classes)
        confidence = flat[:, first:second].reshape(n, cells, num, 1)
        raw = flat[:, second:].reshape(n, self.side, self.side, num, 4)
        plane = xp.ones_like(raw[0, :, :, :1, 0])
        column, row = cell_indices(plane, xp)
        wh = raw[..., 2:] ** 2 if self.sqrt else raw[..., 2:]
        xy = [(raw[..., 0] + column) / self.side, (raw[..., 1] + row) / self.side]
        boxes = xp.concatenate((xp.stack(xy, -1), wh), -1).reshape(n, -1, 4)
        scores = (confidence * classes).reshape(n, -1, self.classes)
        return boxes, xp.ones_like(scores[..., 0]), scores
