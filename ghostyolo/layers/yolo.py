"""`[yolo]`: anchors, objectness and classes per cell.

Source: AlexeyAB/darknet src/parser.c parse_yolo, src/yolo_layer.c; Redmon & Farhadi 2018.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ghostyolo.layers.base import Head, Misfit, Shape
from ghostyolo.layers.options import key

if TYPE_CHECKING:
    from torch import nn

BOX_KINDS = ("mse", "iou", "giou", "diou", "ciou")
NMS_KINDS = ("default", "greedynms", "diounms", "cornersnms")


@dataclass(frozen=True, kw_only=True)
class Yolo(Head):
    """One scale: channel k * (5 + classes) + j is anchor k's x, y, w, h, objectness or a class."""

    names = ("yolo",)
    refs = {"embedding_layer": "side"}

    mask: tuple[int, ...] = key(derive=lambda layer: tuple(range(layer.num)), always=True)
    anchors: tuple[float, ...] = key(derive=lambda layer: (0.5,) * 2 * layer.num, always=True)
    classes: int = key(20, always=True)
    num: int = key(1, always=True)
    jitter: float = key(0.2, always=True)
    ignore_thresh: float = key(0.5, always=True)
    truth_thresh: float = key(1.0, always=True)
    iou_thresh: float = key(1.0)
    iou_thresh_kind: str = key("iou", choices=BOX_KINDS)
    iou_loss: str = key("mse", choices=BOX_KINDS)
    iou_normalizer: float = key(0.75)
    obj_normalizer: float = key(1.0)
    cls_normalizer: float = key(1.0)
    delta_normalizer: float = key(1.0)
    scale_x_y: float = key(1.0, always=True)
    new_coords: int = key(0)
    objectness_smooth: int = key(0)
    focal_loss: int = key(0)
    label_smooth_eps: float = key(0.0)
    counters_per_class: tuple[int, ...] = key(())
    max_delta: float = key(float("inf"))
    resize: float = key(1.0)
    random: float = key(0.0, always=True)
    max: int = key(200)
    nms_kind: str = key("default", choices=NMS_KINDS)
    beta_nms: float = key(0.6)
    map: str = key("")
    show_details: int = key(1)
    track_history_size: int = key(5)
    sim_thresh: float = key(0.8)
    dets_for_track: int = key(1)
    dets_for_show: int = key(1)
    track_ciou_norm: float = key(0.01)

    @property
    def pairs(self) -> tuple[tuple[float, float], ...]:
        """Return all anchors as (w, h) in pixels of the network's input."""
        return tuple(zip(self.anchors[::2], self.anchors[1::2], strict=False))

    @property
    def own_pairs(self) -> tuple[tuple[float, float], ...]:
        """Return this scale's anchors, those of `mask`."""
        return tuple(self.pairs[index] for index in self.mask)

    @property
    def depth(self) -> int:
        """Return the input channels that this head needs."""
        return len(self.mask) * (5 + self.classes)

    def shape(self, *inputs: Shape) -> Shape:
        if len(self.anchors) < 2 * self.num:
            message = f"{len(self.anchors)} anchor numbers for num={self.num} anchors"
            raise Misfit(message, f"give {2 * self.num} numbers, a width and a height each")
        if inputs[0].c != self.depth:
            sum_ = f"{len(self.mask)} anchors * (5 + {self.classes} classes)"
            message = f"gets {inputs[0].c} channels, needs {self.depth} = {sum_}"
            raise Misfit(message, f"set filters={self.depth} in the layer above")
        return inputs[0]

    def check(self) -> None:
        for index in self.mask:
            if not 0 <= index < self.num:
                message = f"mask {index} of num={self.num} anchors"
                raise Misfit(message, f"use masks from 0 to {self.num - 1}")

    def module(self, *inputs: Shape) -> nn.Module:
        from ghostyolo import ops

        return ops.YoloActivation(len(self.mask), self.scale_x_y, bool(self.new_coords))

    def decode(self, output: Any, size: tuple[int, int]) -> tuple[Any, Any, Any]:
        """Turn the activated output into boxes, row by row, cell by cell, anchor by anchor.

        Source: AlexeyAB/darknet src/yolo_layer.c get_yolo_box, get_yolo_detections.
        """
        xp: Any = sys.modules[type(output).__module__.partition(".")[0]]  # numpy or torch
        n, _, h, w = output.shape
        maps = output.reshape(n, len(self.mask), 5 + self.classes, h, w)
        plane = xp.ones_like(maps[0, 0, 0])
        column, row = xp.cumsum(plane, 1) - 1, xp.cumsum(plane, 0) - 1
        anchor_w, anchor_h = (
            xp.stack([plane * (pair[axis] / size[1 - axis]) for pair in self.own_pairs])
            for axis in (0, 1)
        )
        wh = [
            (2 * maps[:, :, i]) ** 2 if self.new_coords else xp.exp(maps[:, :, i]) for i in (2, 3)
        ]
        boxes = [
            (maps[:, :, 0] + column) / w,
            (maps[:, :, 1] + row) / h,
            wh[0] * anchor_w,
            wh[1] * anchor_h,
        ]
        flat = xp.moveaxis(xp.stack(boxes, 2), (3, 4), (1, 2)).reshape(n, -1, 4)
        rest = xp.moveaxis(maps[:, :, 4:], (3, 4), (1, 2)).reshape(n, -1, 1 + self.classes)
        return flat, rest[..., 0], rest[..., 1:]
