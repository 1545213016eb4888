"""A loss that learns small data sets faster than Darknet's, for the same `[yolo]` and decoding.

`modern_assignment` assigns slots to truths. The loss reads label_smooth_eps and the keys of
`[yolo]` that decoding reads; the other keys apply to the darknet loss only.
Source: Ge et al., YOLOX, 2021, section 2.3, and its code (IoU as the class target); Zheng et al.
2020 (CIoU). The weights were chosen on validation sets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ghostyolo.loss.base import HeadOutput, LossConfig, LossSum
from ghostyolo.loss.iou import ciou, iou
from ghostyolo.loss.modern_assignment import Slots, assign, boxes_px
from ghostyolo.loss.predictions import Predictions

BOX_WEIGHT = 5.0


def loss(outputs: Sequence[HeadOutput], truths: Tensor, size: tuple[int, int]) -> LossSum:
    """Return box, objectness and class loss, to be divided by the number of slots assigned.

    outputs: the heads of one forward pass. truths: (M, 6), rows of image, cx, cy, w, h relative to
    the network's input, and class. size: (h, w) of the input in pixels.
    """
    heads = [Predictions.of(output, size) for output in outputs]
    truths = truths.to(heads[0].values)
    slots = assign(heads, truths)
    terms = [_loss_terms(head, mine, truths) for head, mine in zip(heads, slots, strict=True)]
    box, objectness, classes = (torch.stack(term).sum() for term in zip(*terms, strict=True))
    count = box.new_tensor(max(1, sum(len(mine.truth) for mine in slots)))
    return weighted_sum(box, objectness, classes, count)


def weighted_sum(box: Tensor, objectness: Tensor, classes: Tensor, count: Tensor) -> LossSum:
    """Return the weighted sum of the three losses, to be divided by a count of 1 or more."""
    parts = {"box": BOX_WEIGHT * box, "objectness": objectness, "class": classes}
    total = BOX_WEIGHT * box + objectness + classes
    return LossSum(total, count, {name: part.detach() for name, part in parts.items()})


def _loss_terms(head: Predictions, slots: Slots, truths: Tensor) -> Iterator[Tensor]:
    """Yield one head's sums of box, objectness and class loss.

    The class target is the IoU of the predicted box with its truth, so that scores rank boxes by
    their quality. The objectness target is 1: if it were the IoU, the objectness of slots with bad
    boxes would stay low.
    """
    objectness, values, classes = head.read(*slots.place)
    mine = truths[slots.truth]
    boxes, wanted = head.boxes(values, slots.anchor, slots.cell), boxes_px(mine, head.size)
    yield (1 - ciou(boxes, wanted)).sum()
    assigned = torch.zeros_like(objectness)
    assigned[slots.place] = 1
    yield F.binary_cross_entropy_with_logits(objectness, assigned, reduction="sum")
    smooth = head.layer.label_smooth_eps
    hot = torch.full_like(classes, smooth / 2)
    hot.scatter_(1, mine[:, 5:].long(), 1 - smooth / 2)
    quality = iou(boxes.detach(), wanted)[:, None]
    yield F.binary_cross_entropy_with_logits(classes, hot * quality, reduction="sum")


# Darknet sums its deltas over all slots of an image. This loss is a mean over the assigned slots,
# about fifty times smaller; the factor lets one `learning_rate` serve both losses. The other values
# were chosen on BCCD's val.
CONFIG = LossConfig(
    loss,
    learning_rate_factor=50.0,
    muon_factor=20.0,
    nesterov=True,
    max_norm=10.0,
    ema=0.04,
    no_mosaic=0.15,
    min_visible=0.25,
    mosaic=1.0,
    mosaic_side=0.2,
    distillation=True,
)
