"""A loss that learns small data sets faster than Darknet's, for the same `[yolo]` and decoding.

Labels are assigned dynamically (SimOTA). A slot is one anchor in one cell of one image; its values
are x, y, w, h, objectness and classes. Each truth is assigned the slots near its centre, of all
heads, whose predictions have the least cost. Their number, dynamic k, is the sum of the best IoUs,
but at least MIN_SLOTS: without that minimum, rare and small objects get a single slot with a bad
box, and their objectness stays as it was initialised.

Of `[yolo]` the loss reads the keys that decoding reads, and label_smooth_eps; the other keys belong
to Darknet's loss.
Source: Ge et al., YOLOX, 2021, section 2.3 (SimOTA: cost, dynamic k), and its code (IoU in the
classes' targets); Zheng et al. 2020 (CIoU). MIN_SLOTS, REACH and the weights were chosen on
validation sets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ghostyolo.loss.base import HeadOutput, LossConfig, LossSum
from ghostyolo.loss.iou import ciou, iou
from ghostyolo.loss.predictions import TINY, Predictions

REACH = 2  # cells between the centre of a truth and those of its slots, along each axis
MAX_RATIO = 4.0  # of the sides of a truth to those of the anchor of its slot, or the inverse
MIN_SLOTS, MAX_SLOTS = 4, 10  # of a truth; dynamic k sums the MAX_SLOTS best IoUs
IOU_COST, OUTSIDE_COST = 3.0, 10.0  # of -ln(IoU); of a cell whose centre is not inside the truth
MISFIT_COST = 1e5  # of an anchor beyond MAX_RATIO: chosen only where there is no other
BOX_WEIGHT = 5.0


def loss(outputs: Sequence[HeadOutput], truths: Tensor, size: tuple[int, int]) -> LossSum:
    """Return box, objectness and class loss, to be divided by the number of slots assigned.

    outputs: the heads of one forward pass. truths: (M, 6), rows of image, cx, cy, w, h relative to
    the network's input, and class. size: (h, w) of the input in pixels.
    """
    heads = [Predictions.of(output, size) for output in outputs]
    truths = truths.to(heads[0].values)
    slots = _assign(heads, truths)
    terms = [_loss_terms(head, mine, truths) for head, mine in zip(heads, slots, strict=True)]
    box, objectness, classes = (torch.stack(term).sum() for term in zip(*terms, strict=True))
    count = box.new_tensor(max(1, sum(len(mine.truth) for mine in slots)))
    return weighted_sum(box, objectness, classes, count)


def weighted_sum(box: Tensor, objectness: Tensor, classes: Tensor, count: Tensor) -> LossSum:
    """Return the weighted sum of the three losses, to be divided by a count of 1 or more."""
    parts = {"box": BOX_WEIGHT * box, "objectness": objectness, "class": classes}
    total = BOX_WEIGHT * box + objectness + classes
    return LossSum(total, count, {name: part.detach() for name, part in parts.items()})


class _Slots(NamedTuple):
    """Slots by their indices, all (M, K) as candidates of M truths, all (n,) once assigned."""

    image: Tensor
    anchor: Tensor
    row: Tensor
    column: Tensor
    truth: Tensor  # row of the truth in the table of truths

    @property
    def cell(self) -> Tensor:
        return torch.stack((self.column, self.row), -1)

    def of(self, values: Tensor) -> Tensor:
        """Return these slots' values, (..., 5+C), from a map of them."""
        return values[self.image, self.anchor, :, self.row, self.column]

    def where(self, chosen: Tensor) -> _Slots:
        return _Slots(*(field[chosen] for field in self))


@torch.no_grad()
def _assign(heads: Sequence[Predictions], truths: Tensor) -> list[_Slots]:
    """Return the slots of each head that are assigned to truths, (n,)."""
    candidates = [_candidates(head, truths) for head in heads]
    pairs = zip(heads, candidates, strict=True)
    scored = [_assignment_costs(head, *candidate, truths) for head, candidate in pairs]
    costs, ious = (torch.cat(column, 1) for column in zip(*scored, strict=True))
    most = min(MAX_SLOTS, costs.shape[1])
    k = ious.topk(most, 1).values.sum(1).int().clamp(min=MIN_SLOTS)
    best, place = costs.topk(most, 1, largest=False)
    fits = (best < MISFIT_COST) | (best[:, :1] >= MISFIT_COST)  # misfits if there is nothing else
    rank = torch.arange(most, device=costs.device)
    row, nth = ((rank < k[:, None]) & fits & best.isfinite()).nonzero(as_tuple=True)
    chosen = torch.zeros_like(costs, dtype=torch.bool)
    chosen[row, place[row, nth]] = True
    masks = chosen.split([slots.truth.shape[1] for slots, _ in candidates], 1)
    triples = zip(candidates, scored, masks, strict=True)
    return [_resolve_conflicts(slots.where(m), mine[m]) for (slots, _), (mine, _), m in triples]


def _candidates(head: Predictions, truths: Tensor) -> tuple[_Slots, Tensor]:
    """Return the slots around each truth's centre, and which of them lie in the image, (M, K)."""
    _, anchors, _, h, w = head.values.shape
    m, span = len(truths), torch.arange(2 * REACH, device=truths.device)
    first = (truths[:, 1:3] * truths.new_tensor((w, h)) - (REACH - 0.5)).floor().long()
    column, row = (first[:, axis, None] + span for axis in (0, 1))
    shape = (m, len(span), len(span), anchors)
    column, row = column[:, None, :, None].expand(shape), row[:, :, None, None].expand(shape)
    inside = ((column >= 0) & (column < w) & (row >= 0) & (row < h)).flatten(1)
    anchor = torch.arange(anchors, device=truths.device).expand(shape)
    image = truths[:, 0].long()[:, None, None, None].expand(shape)
    truth = torch.arange(m, device=truths.device)[:, None, None, None].expand(shape)
    fields = (image, anchor, row.clamp(0, h - 1), column.clamp(0, w - 1), truth)
    return _Slots(*(field.flatten(1) for field in fields)), inside


def _assignment_costs(
    head: Predictions, slots: _Slots, inside: Tensor, truths: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the cost of assigning each slot to its truth, and their IoU, (M, K) each.

    Outside the image the cost is infinite; there, and where the anchor misfits, the IoU is 0.
    """
    values, wanted = slots.of(head.values), _boxes_px(truths, head.size)[:, None]
    overlap = iou(head.boxes(values, slots.anchor, slots.cell), wanted)
    objectness, classes = head.logits(values[..., 4:5]), head.logits(values[..., 5:])
    log_q = (F.logsigmoid(objectness) + F.logsigmoid(classes)) / 2  # of √(objectness * class)
    log_not_q = torch.log1p(-log_q.exp().clamp(max=1 - TINY))
    label = truths[:, 5].long()[:, None, None].expand(*slots.truth.shape, 1)
    own = (log_q - log_not_q).gather(2, label)[..., 0]
    total = -log_not_q.sum(2) - own - IOU_COST * overlap.clamp(min=TINY).log()
    centre = (slots.cell + 0.5) * head.stride
    outside = ((centre - wanted[..., :2]).abs() * 2 >= wanted[..., 2:]).any(-1)
    sides = wanted[..., 2:] / head.anchors[slots.anchor]
    fits = torch.maximum(sides, 1 / sides).amax(-1) < MAX_RATIO
    total = total + OUTSIDE_COST * outside + MISFIT_COST * ~fits
    return total.where(inside, torch.inf), overlap.where(inside & fits, 0)


def _resolve_conflicts(slots: _Slots, costs: Tensor) -> _Slots:
    """Assign a slot of several truths to the one of least cost, (n,) in and out."""
    shape = [int(field.max()) + 1 if len(field) else 1 for field in slots[:4]]
    place = slots.image
    for field, extent in zip(slots[1:4], shape[1:], strict=True):
        place = place * extent + field
    order = costs.argsort(stable=True)
    order = order[place[order].argsort(stable=True)]
    first = torch.ones_like(order, dtype=torch.bool)
    first[1:] = place[order][1:] != place[order][:-1]
    return slots.where(order[first])


def _loss_terms(head: Predictions, slots: _Slots, truths: Tensor) -> Iterator[Tensor]:
    """Yield one head's sums of box, objectness and class loss.

    The class target is the IoU of the predicted box, so that scores rank boxes by quality. The
    objectness target is 1: with the IoU it would not rise where boxes are bad.
    """
    values, mine = slots.of(head.values), truths[slots.truth]
    boxes, wanted = head.boxes(values, slots.anchor, slots.cell), _boxes_px(mine, head.size)
    yield (1 - ciou(boxes, wanted)).sum()
    objectness = head.logits(head.values[:, :, 4])
    assigned = torch.zeros_like(objectness)
    assigned[slots.image, slots.anchor, slots.row, slots.column] = 1
    yield F.binary_cross_entropy_with_logits(objectness, assigned, reduction="sum")
    smooth = head.layer.label_smooth_eps
    hot = torch.full_like(values[:, 5:], smooth / 2)
    hot.scatter_(1, mine[:, 5:].long(), 1 - smooth / 2)
    classes, quality = head.logits(values[:, 5:]), iou(boxes.detach(), wanted)[:, None]
    yield F.binary_cross_entropy_with_logits(classes, hot * quality, reduction="sum")


def _boxes_px(truths: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the boxes of truths, (n, 4) cxcywh in pixels of the input."""
    return truths[:, 1:5] * truths.new_tensor((*size[::-1], *size[::-1]))


# Darknet sums its deltas over all slots of an image. This loss is a mean over assigned slots, about
# fifty times smaller; so one learning_rate serves both. The rest was chosen on BCCD's val.
CONFIG = LossConfig(
    loss,
    learning_rate_factor=50.0,
    nesterov=True,
    max_norm=10.0,
    ema=0.04,
    no_mosaic=0.15,
    min_visible=0.25,
    mosaic=1.0,
    distillation=True,
)
