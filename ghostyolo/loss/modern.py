"""A loss that learns small sets faster than Darknet's, for the same `[yolo]` and its decoding.

Each truth takes the slots that already say it best, of all heads at once, among those near it;
how many depends on how good they are, but never fewer than a floor: rare and small things would
otherwise get one slot with a bad box, and their objectness would stay where it started. A slot is
one anchor in one cell of one image, its values are x, y, w, h, objectness and classes.

Of `[yolo]` it reads what decoding reads, and label_smooth_eps; the rest is Darknet's loss's own.
Source: Ge et al., YOLOX, 2021, section 2.3 (SimOTA: cost, dynamic k), and its code (IoU in the
classes' targets); Zheng et al. 2020 (CIoU).
The floor, the window and the weights were chosen on validation sets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ghostyolo.loss.base import Cost, HeadRun
from ghostyolo.loss.grid import TINY, Grid
from ghostyolo.loss.iou import ciou, iou

REACH = 2  # cells between a truth's centre and those of its slots, along each axis
RATIO = 4.0  # largest quotient of the sides of a truth and of an anchor that may be its slot
FLOOR, MOST = 4, 10  # slots of a truth; of MOST the IoUs are summed to find how many
IOU_COST, OUTSIDE_COST = 3.0, 10.0  # of ln(IoU); of a cell whose centre lies beside the truth
MISFIT_COST = 1e5  # above all others: an anchor of another shape comes only where there is no other
BOX_WEIGHT = 5.0


def cost(runs: Sequence[HeadRun], truths: Tensor, size: tuple[int, int]) -> Cost:
    """Return box, objectness and class loss, to be divided by the number of slots taken.

    runs: of one forward pass. truths: (M, 6), rows of image, cx, cy, w, h relative to the network's
    input, and class. size: (h, w) of the input in pixels.
    """
    grids = [Grid.of(run, size) for run in runs]
    truths = truths.to(grids[0].values)
    matches = _matched(grids, truths)
    parts = [_parts(grid, mine, truths) for grid, mine in zip(grids, matches, strict=True)]
    box, objectness, classes = (torch.stack(part).sum() for part in zip(*parts, strict=True))
    count = box.new_tensor(max(1, sum(len(mine.truth) for mine in matches)))
    return weighed(box, objectness, classes, count)


def weighed(box: Tensor, objectness: Tensor, classes: Tensor, count: Tensor) -> Cost:
    """Return the cost of sums of box, objectness and class loss; count: of slots taken, from 1."""
    shown = {"box": BOX_WEIGHT * box, "objectness": objectness, "class": classes}
    total = BOX_WEIGHT * box + objectness + classes
    return Cost(total, count, {name: part.detach() for name, part in shown.items()})


class _Slots(NamedTuple):
    """Slots by where they lie; all (M, K) in a table of candidates, (n,) once matched."""

    image: Tensor
    anchor: Tensor
    row: Tensor
    column: Tensor
    truth: Tensor  # row of the truths

    @property
    def cell(self) -> Tensor:
        return torch.stack((self.column, self.row), -1)

    def of(self, values: Tensor) -> Tensor:
        """Return these slots' values, (..., 5+C), from a map of them."""
        return values[self.image, self.anchor, :, self.row, self.column]

    def where(self, chosen: Tensor) -> _Slots:
        return _Slots(*(field[chosen] for field in self))


@torch.no_grad()
def _matched(grids: Sequence[Grid], truths: Tensor) -> list[_Slots]:
    """Return the slots that are to become truths, for each grid."""
    tables = [_near(grid, truths) for grid in grids]
    scored = [
        _scored(grid, slots, inside, truths)
        for grid, (slots, inside) in zip(grids, tables, strict=True)
    ]
    costs, overlaps = (torch.cat(column, 1) for column in zip(*scored, strict=True))
    most = min(MOST, costs.shape[1])
    k = overlaps.topk(most, 1).values.sum(1).int().clamp(min=FLOOR)
    best, place = costs.topk(most, 1, largest=False)
    fits = (best < MISFIT_COST) | (best[:, :1] >= MISFIT_COST)  # else nothing else was near
    rank = torch.arange(most, device=costs.device)
    row, nth = ((rank < k[:, None]) & fits & best.isfinite()).nonzero(as_tuple=True)
    chosen = torch.zeros_like(costs, dtype=torch.bool)
    chosen[row, place[row, nth]] = True
    parts = chosen.split([slots.truth.shape[1] for slots, _ in tables], 1)
    found = []
    for (slots, _), (mine, _), part in zip(tables, scored, parts, strict=True):
        found.append(_undisputed(slots.where(part), mine[part]))
    return found


def _near(grid: Grid, truths: Tensor) -> tuple[_Slots, Tensor]:
    """Return the slots around each truth's centre, and which of them lie in the image, (M, K)."""
    _, anchors, _, h, w = grid.values.shape
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


def _scored(grid: Grid, slots: _Slots, inside: Tensor, truths: Tensor) -> tuple[Tensor, Tensor]:
    """Return what each slot would cost its truth, and its IoU if it is a candidate, (M, K) each."""
    values, wanted = slots.of(grid.values), _pixels(truths, grid.size)[:, None]
    overlap = iou(grid.boxes(values, slots.anchor, slots.cell), wanted)
    objectness, classes = grid.logits(values[..., 4:5]), grid.logits(values[..., 5:])
    log_q = (F.logsigmoid(objectness) + F.logsigmoid(classes)) / 2  # of √(objectness * class)
    log_rest = torch.log1p(-log_q.exp().clamp(max=1 - TINY))
    label = truths[:, 5].long()[:, None, None].expand(*slots.truth.shape, 1)
    own = (log_q - log_rest).gather(2, label)[..., 0]
    total = -log_rest.sum(2) - own - IOU_COST * overlap.clamp(min=TINY).log()
    centre = (slots.cell + 0.5) * grid.stride
    outside = ((centre - wanted[..., :2]).abs() * 2 >= wanted[..., 2:]).any(-1)
    sides = wanted[..., 2:] / grid.anchors[slots.anchor]
    fits = torch.maximum(sides, 1 / sides).amax(-1) < RATIO
    total = total + OUTSIDE_COST * outside + MISFIT_COST * ~fits
    return total.where(inside, torch.inf), overlap.where(inside & fits, 0)


def _undisputed(slots: _Slots, costs: Tensor) -> _Slots:
    """Leave a slot that several truths claim to the one that it costs least, (n,) in and out."""
    shape = [int(field.max()) + 1 if len(field) else 1 for field in slots[:4]]
    place = slots.image
    for field, extent in zip(slots[1:4], shape[1:], strict=True):
        place = place * extent + field
    order = costs.argsort(stable=True)
    order = order[place[order].argsort(stable=True)]
    first = torch.ones_like(order, dtype=torch.bool)
    first[1:] = place[order][1:] != place[order][:-1]
    return slots.where(order[first])


def _parts(grid: Grid, slots: _Slots, truths: Tensor) -> Iterator[Tensor]:
    """Yield one head's sums of box, objectness and class loss.

    A slot is to be as sure of its class as its box is good, which ranks boxes; the objectness is to
    be 1, as it would not rise where boxes are bad.
    """
    values, mine = slots.of(grid.values), truths[slots.truth]
    boxes, wanted = grid.boxes(values, slots.anchor, slots.cell), _pixels(mine, grid.size)
    yield (1 - ciou(boxes, wanted)).sum()
    objectness = grid.logits(grid.values[:, :, 4])
    taken = torch.zeros_like(objectness)
    taken[slots.image, slots.anchor, slots.row, slots.column] = 1
    yield F.binary_cross_entropy_with_logits(objectness, taken, reduction="sum")
    smooth = grid.head.label_smooth_eps
    hot = torch.full_like(values[:, 5:], smooth / 2)
    hot.scatter_(1, mine[:, 5:].long(), 1 - smooth / 2)
    classes, quality = grid.logits(values[:, 5:]), iou(boxes.detach(), wanted)[:, None]
    yield F.binary_cross_entropy_with_logits(classes, hot * quality, reduction="sum")


def _pixels(truths: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the truths' boxes, (n, 4) cxcywh in pixels of the input."""
    return truths[:, 1:5] * truths.new_tensor((*size[::-1], *size[::-1]))
