"""`[yolo]`: the head of YOLOv3 and later, with anchors in pixels.

Source: AlexeyAB/darknet src/parser.c parse_yolo, src/yolo_layer.c; Redmon & Farhadi 2018.
"""

from __future__ import annotations

from typing import Any

from ghostyolo.layers.anchor_head import Anchored
from ghostyolo.layers.base import Importer, Module, Shape
from ghostyolo.layers.head import NMS_KINDS, Head
from ghostyolo.syntax.options import key, options


@options
class Yolo(Anchored):
    """A slot holds x, y, w, h, objectness and classes; decoded as in yolo_layer.c get_yolo_box."""

    names = ("yolo",)
    trained = True
    refs = {"embedding_layer": "side"}
    cxcywh = (0, 1, 2, 3)
    before_classes = 5
    hank_ai = resizable = True
    opencv = Importer(needs=("mask", "anchors", "num", "classes"))

    new_coords: int = key(0, training="any")
    focal_loss: int = key(0, training="any")
    nms_kind: str = key("default", choices=NMS_KINDS[:3], training="any")
    show_details: int = key(1, training="any")
    track_history_size: int = key(5, training="any")
    sim_thresh: float = key(0.8, training="any")
    dets_for_track: int = key(1, training="any")
    dets_for_show: int = key(1, training="any")
    track_ciou_norm: float = key(0.01, training="any")

    def with_classes(self, classes: int) -> tuple[Head, int]:
        head = self.changed(classes=classes, counters_per_class=())
        return head, head.needed_channels

    def meaning(self, x: Shape) -> str:
        kind = f"scale_x_y={self.scale_x_y:g} new_coords={self.new_coords}"
        anchors = " ".join(f"{w:g},{h:g}" for w, h in self.own_anchors)
        return f"{x.h}x{x.w} cells of anchors {anchors}, {self.classes} classes, {kind}"

    def module(self, *inputs: Shape) -> Module:
        from ghostyolo.ops import heads

        return heads.YoloActivation(len(self.mask), self.scale_x_y, bool(self.new_coords))

    def side_factor(self, value: Any, xp: Any) -> Any:
        return (2 * value) ** 2 if self.new_coords else xp.exp(value)
