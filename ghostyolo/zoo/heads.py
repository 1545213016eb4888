"""Heads: a `[yolo]` for each stride, after a depthwise and a linear convolution."""

from __future__ import annotations

from typing import Any

from ghostyolo.layers.yolo import Yolo
from ghostyolo.network import Network, Node
from ghostyolo.zoo.blocks import conv, depthwise
from ghostyolo.zoo.necks import SIZE

# An anchor (w, h) for COCO at 416x416, by stride: the geometric mean of the three of YOLOv3; that
# of stride 4 is half as large as that of 8. Source: Redmon & Farhadi, YOLOv3, 2018, section 2.3.
ANCHORS = {4: (9, 10), 8: (17, 21), 16: (48, 69), 32: (189, 180)}
ANCHOR_SIZE = 416
# CIoU and its weight as in the cfg of YOLOv4-tiny. Source: Bochkovskiy et al. 2020 and
# AlexeyAB/darknet cfg/yolov4-tiny.cfg; iou_thresh as in yolov4.cfg.
LOSS: dict[str, Any] = {
    "jitter": 0.2,
    "resize": 1.5,
    "scale_x_y": 1.1,
    "iou_loss": "ciou",
    "iou_normalizer": 0.07,
    "iou_thresh": 0.213,
    "cls_normalizer": 1.0,
    "ignore_thresh": 0.7,
    "truth_thresh": 1.0,
}


def default_anchors(strides: tuple[int, ...], size: tuple[int, int]) -> tuple[int, ...]:
    """Return COCO's anchors for an input of (h, w) pixels: w, h, w, h, ..., fine strides first."""
    h, w = size
    return tuple(
        max(1, round(side * scale / ANCHOR_SIZE))
        for stride in sorted(strides)
        for side, scale in zip(ANCHORS[stride], (w, h), strict=True)
    )


def yolo_heads(
    network: Network, maps: dict[int, Node], classes: int, anchors: tuple[float, ...]
) -> list[Node]:
    """Add a head to each map, smallest stride first; each gets the next part of the anchors."""
    num = len(anchors) // 2
    each = num // len(maps)  # anchors
    nodes = []
    for place, (stride, x) in enumerate(sorted(maps.items())):
        name = f"head, stride {stride}"
        x = depthwise(network, x, SIZE, activation="relu", name=f"{name}, depthwise")
        filters = each * (5 + classes)
        x = conv(network, x, filters, norm=False, activation="linear", name=f"{name}, output")
        layer = Yolo(
            mask=tuple(range(place * each, (place + 1) * each)),
            anchors=anchors,
            classes=classes,
            num=num,
            **LOSS,
        )
        nodes.append(network.add(layer, x, name=name))
    return nodes
