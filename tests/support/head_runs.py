"""Outputs of two `[yolo]` heads that say something random."""

from __future__ import annotations

import torch

from ghostyolo.layers.yolo import Yolo
from ghostyolo.loss.base import HeadOutput

SIZE = (64, 96)  # of the input, (h, w) in pixels


ANCHORS = (10, 8, 16, 24, 30, 20, 40, 50)


CLASSES = 3


def make_runs(seed: int, images: int = 2, **keys: object) -> list[HeadOutput]:
    """Return two heads, at strides 8 and 16, that say something random."""
    rng = torch.Generator().manual_seed(seed)
    runs = []
    for mask, stride in (((0, 1), 8), ((2, 3), 16)):
        head = Yolo(mask=mask, anchors=ANCHORS, classes=CLASSES, num=4, **keys)
        h, w = SIZE[0] // stride, SIZE[1] // stride
        raw = torch.randn(images, 2 * (5 + CLASSES), h, w, generator=rng)
        raw = raw.sigmoid() if head.new_coords else raw
        runs.append(HeadOutput(head, raw.requires_grad_()))
    return runs
