"""The slots of all heads that are assigned to truths, dynamically (SimOTA).

Of the slots of all heads near its centre, a truth is assigned the k with the least cost. Dynamic k
is the sum of the best IoUs, but at least MIN_SLOTS: without that minimum, a rare or small object
gets a single slot with a bad box, and the objectness of its slots stays at its initial value.

Source: Ge et al., YOLOX, 2021, section 2.3 (SimOTA: cost, dynamic k). MIN_SLOTS, REACH and the
costs were chosen on validation sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ghostyolo.loss.iou import iou
from ghostyolo.loss.predictions import BOX, CLASSES, OBJECTNESS, TINY, Predictions

REACH = 2  # largest distance of a slot's centre from that of its truth, in cells along each axis
MAX_RATIO = 4.0  # largest ratio of a side of a truth and of its slot's anchor, or the inverse
MIN_SLOTS, MAX_SLOTS = 4, 10  # of a truth; dynamic k sums the MAX_SLOTS best IoUs
IOU_COST, OUTSIDE_COST = 3.0, 10.0  # of -ln(IoU); of a cell whose centre is outside the truth
MISFIT_COST = 1e5  # of an anchor beyond MAX_RATIO: assigned only if there is no other
PART = 1 << 20  # class probabilities held at once


class Slots(NamedTuple):
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
        """Return the values of these slots, (..., n), from a map (N, A, n, h, w) of them."""
        return values[self.image, self.anchor, :, self.row, self.column]

    @property
    def place(self) -> tuple[Tensor, ...]:
        return self[:4]

    def where(self, chosen: Tensor) -> Slots:
        return Slots(*(field[chosen] for field in self))


@torch.no_grad()
def assign(heads: Sequence[Predictions], truths: Tensor) -> list[Slots]:
    """Return the slots of each head that are assigned to truths, (n,)."""
    candidates = [_candidates(head, truths) for head in heads]
    pairs = zip(heads, candidates, strict=True)
    scored = [_assignment_costs(head, *candidate, truths) for head, candidate in pairs]
    costs, ious = (torch.cat(column, 1) for column in zip(*scored, strict=True))
    most = min(MAX_SLOTS, costs.shape[1])
    k = ious.topk(most, 1).values.sum(1).int().clamp(min=MIN_SLOTS)
    best, place = costs.topk(most, 1, largest=False)
    fits = (best < MISFIT_COST) | (best[:, :1] >= MISFIT_COST)  # misfits if there is no other slot
    rank = torch.arange(most, device=costs.device)
    row, nth = ((rank < k[:, None]) & fits & best.isfinite()).nonzero(as_tuple=True)
    chosen = torch.zeros_like(costs, dtype=torch.bool)
    chosen[row, place[row, nth]] = True
    masks = chosen.split([slots.truth.shape[1] for slots, _ in candidates], 1)
    triples = zip(candidates, scored, masks, strict=True)
    return [_resolve_conflicts(slots.where(m), mine[m]) for (slots, _), (mine, _), m in triples]


def _candidates(head: Predictions, truths: Tensor) -> tuple[Slots, Tensor]:
    """Return the slots around each truth's centre, and whether each is in the image, (M, K)."""
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
    return Slots(*(field.flatten(1) for field in fields)), inside


def _assignment_costs(
    head: Predictions, slots: Slots, inside: Tensor, truths: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the cost of assigning each slot to its truth, and their IoU, (M, K) each.

    Outside the image the cost is infinite; there, and where the anchor misfits, the IoU is 0.
    """
    boxes, wanted = slots.of(head.values[:, :, BOX]), boxes_px(truths, head.size)[:, None]
    overlap = iou(head.boxes(boxes, slots.anchor, slots.cell), wanted)
    total = _class_costs(head, slots, truths[:, 5:].long())
    total = total - IOU_COST * overlap.clamp(min=TINY).log()
    centre = (slots.cell + 0.5) * head.stride
    outside = ((centre - wanted[..., :2]).abs() * 2 >= wanted[..., 2:]).any(-1)
    sides = wanted[..., 2:] / head.anchors[slots.anchor]
    fits = torch.maximum(sides, 1 / sides).amax(-1) < MAX_RATIO
    total = total + OUTSIDE_COST * outside + MISFIT_COST * ~fits
    return total.where(inside, torch.inf), overlap.where(inside & fits, 0)


def _class_costs(head: Predictions, slots: Slots, label: Tensor) -> Tensor:
    """Return the binary cross entropy of √(objectness * class) for one class of each slot, (M, K).

    label: (M, 1), the class.
    """
    objectness = head.logits(head.values[:, :, OBJECTNESS][slots.place])
    classes, own = head.values[:, :, CLASSES].movedim(2, -1), (*slots.place, label)
    log_q = (F.logsigmoid(objectness) + F.logsigmoid(head.logits(classes[own]))) / 2
    log_not_q = torch.log1p(-log_q.exp().clamp(max=1 - TINY))
    return _classless_costs(head, slots) + log_not_q - log_q


def _classless_costs(head: Predictions, slots: Slots) -> Tensor:
    """Return the same cross entropy as if all classes were wrong, (M, K).

    It does not depend on the truth, so it is computed once for a slot that is near many truths.
    """
    costs = torch.zeros_like(head.values[:, :, OBJECTNESS])
    near = torch.zeros_like(costs, dtype=torch.bool)
    near[slots.place] = True
    for some in near.nonzero().split(max(1, PART // head.layer.classes)):
        image, anchor, row, column = place = some.unbind(1)
        q = head.logits(head.values[:, :, CLASSES][image, anchor, :, row, column]).sigmoid_()
        objectness = head.logits(head.values[:, :, OBJECTNESS][place]).sigmoid_()
        q = q.mul_(objectness[:, None]).sqrt_().clamp_(max=1 - TINY)
        costs[place] = -q.neg_().log1p_().sum(1)
    return costs[slots.place]


def _resolve_conflicts(slots: Slots, costs: Tensor) -> Slots:
    """Keep one truth for each slot, the one of least cost; costs: (n,)."""
    shape = [int(field.max()) + 1 if len(field) else 1 for field in slots[:4]]
    place = slots.image
    for field, extent in zip(slots[1:4], shape[1:], strict=True):
        place = place * extent + field
    order = costs.argsort(stable=True)
    order = order[place[order].argsort(stable=True)]
    first = torch.ones_like(order, dtype=torch.bool)
    first[1:] = place[order][1:] != place[order][:-1]
    return slots.where(order[first])


def boxes_px(truths: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the boxes of truths, (n, 4) cxcywh in pixels of the input."""
    return truths[:, 1:5] * truths.new_tensor((*size[::-1], *size[::-1]))
