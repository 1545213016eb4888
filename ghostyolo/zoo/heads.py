"""Heads: a `[yolo]` for each stride, after a depthwise separable and a linear convolution."""

from __future__ import annotations

from typing import Any

from ghostyolo.layers.yolo import Yolo
from ghostyolo.network import Network, Node
from ghostyolo.zoo.blocks import conv, depthwise
from ghostyolo.zoo.necks import SIZE

# Anchors (w, h) for COCO at 416x416, by stride. Source: Redmon & Farhadi, YOLOv3, 2018, section
# 2.3; those of stride 4 are half as large as those of stride 8.
ANCHORS = {
    4: ((5, 7), (8, 15), (17, 12)),
    8: ((10, 13), (16, 30), (33, 23)),
    16: ((30, 61), (62, 45), (59, 119)),
    32: ((116, 90), (156, 198), (373, 326)),
}
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
        for pair in ANCHORS[stride]
        for side, scale in zip(pair, (w, h), strict=True)
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
        x = conv(network, x, x.shape.c, name=f"{name}, pointwise")
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
