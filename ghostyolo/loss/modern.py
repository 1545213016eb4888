"""A loss that learns small data sets faster than Darknet's, for the same `[yolo]` and decoding.

Labels are assigned dynamically (SimOTA). A slot is one anchor in one cell of one image; its values
are x, y, w, h, objectness and classes. Of the slots of all heads near its centre, a truth is
assigned the k with the least cost. Dynamic k is the sum of the best IoUs, but at least MIN_SLOTS:
without that minimum, a rare or small object gets a single slot with a bad box, and the objectness
of its slots stays at its initial value.

The loss reads label_smooth_eps and the keys of `[yolo]` that decoding reads; the other keys apply
to the darknet loss only.
Source: Ge et al., YOLOX, 2021, section 2.3 (SimOTA: cost, dynamic k), and its code (IoU as the
class target); Zheng et al. 2020 (CIoU). MIN_SLOTS, REACH and the weights were chosen on validation
sets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ghostyolo.layers.yolo import Yolo
from ghostyolo.loss.base import HeadOutput, LossConfig, LossSum
from ghostyolo.loss.iou import ciou, iou

REACH = 2  # largest distance of a slot's centre from that of its truth, in cells along each axis
MAX_RATIO = 4.0  # largest ratio of a side of a truth and of its slot's anchor, or the inverse
MIN_SLOTS, MAX_SLOTS = 4, 10  # of a truth; dynamic k sums the MAX_SLOTS best IoUs
IOU_COST, OUTSIDE_COST = 3.0, 10.0  # of -ln(IoU); of a cell whose centre is outside the truth
MISFIT_COST = 1e5  # of an anchor beyond MAX_RATIO: assigned only if there is no other
BOX_WEIGHT = 5.0
TINY = 1e-7
MAX_LOG_SIDE = 10.0  # log of a side over the anchor's; e^10 is larger than any picture


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


class Predictions(NamedTuple):
    """The input of one `[yolo]` by slot.

    values: (N, A, 5+C, h, w). anchors: (A, 2) as w, h, and size: (h, w), in pixels of the network's
    input.
    """

    layer: Yolo
    values: Tensor
    anchors: Tensor
    size: tuple[int, int]

    @classmethod
    def of(cls, output: HeadOutput, size: tuple[int, int]) -> Predictions:
        raw, anchors = output.raw, len(output.head.mask)
        raw = raw.to(torch.promote_types(raw.dtype, torch.float32))
        n, c, h, w = raw.shape
        values = raw.view(n, anchors, c // anchors, h, w)
        return cls(output.head, values, raw.new_tensor(output.head.own_anchors), size)

    def logits(self, values: Tensor) -> Tensor:
        """Return objectness or classes as logits; with new_coords, values are probabilities."""
        return values.logit(TINY) if self.layer.new_coords else values

    def boxes(self, values: Tensor, anchor: Tensor, cell: Tensor) -> Tensor:
        """Return the boxes of some slots, (..., 4) cxcywh in pixels of the input.

        values: (..., 5+C). anchor: (...), its index. cell: (..., 2), column and row. The boxes are
        those of `Head.decode`, which decodes all slots.
        """
        xy, wh = values[..., :2], values[..., 2:4].clamp(max=MAX_LOG_SIDE)
        xy = xy if self.layer.new_coords else xy.sigmoid()
        scale = self.layer.scale_x_y
        xy = (xy * scale - (scale - 1) / 2 + cell) * self.stride
        return torch.cat((xy, self.layer.side_factor(wh, torch) * self.anchors[anchor]), -1)

    @property
    def stride(self) -> Tensor:
        """Return the width and height of a cell in pixels, (2,)."""
        (h, w), shape = self.size, self.values.shape
        return self.values.new_tensor((w / shape[4], h / shape[3]))


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
        """Return the values of these slots, (..., 5+C), from a map of them."""
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
    fits = (best < MISFIT_COST) | (best[:, :1] >= MISFIT_COST)  # misfits if there is no other slot
    rank = torch.arange(most, device=costs.device)
    row, nth = ((rank < k[:, None]) & fits & best.isfinite()).nonzero(as_tuple=True)
    chosen = torch.zeros_like(costs, dtype=torch.bool)
    chosen[row, place[row, nth]] = True
    masks = chosen.split([slots.truth.shape[1] for slots, _ in candidates], 1)
    triples = zip(candidates, scored, masks, strict=True)
    return [_resolve_conflicts(slots.where(m), mine[m]) for (slots, _), (mine, _), m in triples]


def _candidates(head: Predictions, truths: Tensor) -> tuple[_Slots, Tensor]:
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


def _loss_terms(head: Predictions, slots: _Slots, truths: Tensor) -> Iterator[Tensor]:
    """Yield one head's sums of box, objectness and class loss.

    The class target is the IoU of the predicted box with its truth, so that scores rank boxes by
    their quality. The objectness target is 1: if it were the IoU, the objectness of slots with bad
    boxes would stay low.
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


# Darknet sums its deltas over all slots of an image. This loss is a mean over the assigned slots,
# about fifty times smaller; the factor lets one `learning_rate` serve both losses. The other values
# were chosen on BCCD's val.
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
