"""Distillation: a detector learns the predictions of a trained detector with the same heads.

A label is one box and one class. The teacher predicts an objectness for every slot, and
probabilities of all classes; with these targets a compressed network recovers in few epochs. The
losses of boxes and classes are weighted by the teacher's objectness.
Source: Hinton, Vinyals & Dean, Distilling the Knowledge in a Neural Network, 2015 (predictions as
targets); Mehta & Ozturk, Object Detection at 200 Frames Per Second, 2018 (scaled by objectness).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ghostyolo.loss.base import HeadOutput, LossSum
from ghostyolo.loss.iou import ciou
from ghostyolo.loss.modern import weighted_sum
from ghostyolo.loss.predictions import OBJECTNESS, Predictions

MIN_OBJECTNESS = 0.01  # of the teacher; slots below it have no box loss and no class loss


def distillation_loss(
    outputs: Sequence[HeadOutput], teacher: Sequence[HeadOutput], size: tuple[int, int]
) -> LossSum:
    """Return box, objectness and class loss, to be divided by the sum of the teacher's objectness.

    outputs, teacher: the head outputs of both networks for the same input. size: (h, w) of the
    input in pixels. The heads must be equal.
    """
    pairs = zip(outputs, teacher, strict=True)
    terms = [_loss_terms(*(Predictions.of(each, size) for each in pair)) for pair in pairs]
    box, objectness, classes, count = (torch.stack(term).sum() for term in zip(*terms, strict=True))
    return weighted_sum(box, objectness, classes, count.clamp(min=1))


def _loss_terms(own: Predictions, teacher: Predictions) -> Iterator[Tensor]:
    """Yield one head's sums of box, objectness and class loss, and of the teacher's objectness."""
    confidence = teacher.logits(teacher.values[:, :, OBJECTNESS]).sigmoid()
    place = (confidence > MIN_OBJECTNESS).nonzero(as_tuple=True)
    objectness, mine, logits = own.read(*place)
    _, wanted, probabilities = teacher.read(*place)
    _, anchor, row, column = place
    weight, cell = confidence[place], torch.stack((column, row), -1)
    boxes, target = own.boxes(mine, anchor, cell), teacher.boxes(wanted, anchor, cell)
    yield (weight * (1 - ciou(boxes, target))).sum()
    yield F.binary_cross_entropy_with_logits(objectness, confidence, reduction="sum")
    probabilities, weight = probabilities.sigmoid(), weight[:, None]
    yield F.binary_cross_entropy_with_logits(logits, probabilities, weight, reduction="sum")
    yield confidence.sum()
