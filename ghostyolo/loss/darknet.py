"""The `[yolo]` loss exactly as Darknet trains it.

Darknet does not differentiate a loss: it writes down by how much each number that a head receives
ought to grow, its delta, and adds up squares only to print them. So does this file: `deltas` finds
the deltas and the printed numbers, `loss` dresses them as a scalar for autograd.

A slot is one anchor in one cell of one image. Slots lie in one row as `decode` returns boxes:
images outermost, then rows, columns and anchors. A slot's values are x, y, w, h, objectness and
classes. Source, but where noted: AlexeyAB/darknet src/yolo_layer.c, process_batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ghostyolo.layers.yolo import Yolo
from ghostyolo.loss.base import Cost, HeadRun
from ghostyolo.loss.iou import KINDS, darknet_gradient, giou, iou

SURE = 0.25  # only a slot with some class above this is spared as background; compare_yolo_class


@dataclass(frozen=True)
class Statistics:
    """What Darknet prints about one head after a mini-batch."""

    cost: float  # the head's part of the training loss, over the whole mini-batch
    iou: float  # mean over the truths assigned
    count: int  # truths assigned, once for each slot; where it is 0, Darknet prints 1
    class_loss: float  # objectness included; class_loss, iou_loss, total_loss are for one image
    iou_loss: float
    total_loss: float
    total_bbox: int  # as count, and the slots that lie beyond truth_thresh
    rewritten_bbox: int  # those of total_bbox whose slot another truth had taken before


@torch.no_grad()
def deltas(
    head: Yolo, output: Tensor, truths: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Statistics]:
    """Return a head's deltas, the negative gradient by its input, and what Darknet prints.

    output: (N, A*(5+C), h, w), the head's activated output. truths: (M, 6), rows of image, cx, cy,
    w, h (relative to the network's input) and class; the order of an image's rows matters, and a
    row with cx = 0 ends the image. size: (h, w) of the network's input.
    Returns deltas shaped as the output: sums, divided neither by truths nor by images. They are by
    logits; with new_coords, where the convolution above has the logistic, by the output itself.
    delta_normalizer, which Darknet's CPU build ignores and its GPU build applies, is left out.
    """
    slots = _Slots.of(head, output, size)
    truths = _readable(head, truths.to(slots.values), slots.images)
    overlap, row = _nearest(slots, truths)
    delta = torch.zeros_like(slots.values)
    delta[:, 4] = _background(slots, overlap)
    sure = (overlap > head.truth_thresh).nonzero()[:, 0]
    delta[sure] = _pull_sure(
        slots, delta[sure], _Matches.of(sure, truths[row[sure]]), overlap[sure]
    )
    matches = _assign(slots, truths)
    rewritten = delta.new_zeros(())
    for now in _turns(matches):
        old = delta[now.slot]
        rewritten += (old[:, :4] != 0).any(1).sum()
        delta[now.slot] = _pull(slots, old, now)
    if head.iou_thresh < 1:
        delta[:, :4] /= _sharers(delta)
    statistics = _statistics(slots, delta, matches, len(sure), rewritten)
    return _maps(delta, output), statistics


def loss(
    head: Yolo, raw: Tensor, output: Tensor, truths: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Statistics]:
    """Return a scalar whose value is Darknet's cost and whose gradient by `raw` is minus the delta.

    raw: what the head received, (N, A*(5+C), h, w). The others and the statistics: see `deltas`.
    """
    delta, statistics = deltas(head, output, truths, size)
    pull = (raw.to(delta) * delta).sum()
    return statistics.cost - (pull - pull.detach()), statistics


def cost(runs: Sequence[HeadRun], truths: Tensor, size: tuple[int, int]) -> Cost:
    """Return what a forward pass costs, to be divided by its images; shown as the heads' mean."""
    costs = [
        head.delta_normalizer * loss(head, raw, output, truths, size)[0]
        for head, raw, output in runs
    ]
    total = torch.stack(costs).sum()
    count = total.new_tensor(len(runs[0].raw))
    return Cost(total, count, {"loss": total.detach() / len(runs)})


class _Slots(NamedTuple):
    """What a head has said about a mini-batch."""

    head: Yolo
    values: Tensor  # (S, 5+C), activated
    boxes: Tensor  # (S, 4), cxcywh relative to the network's input
    anchors: Tensor  # (num, 2), w and h relative to the network's input: other heads' as well
    mask: Tensor  # (A,), which of them are this head's
    images: int
    grid: tuple[int, int]

    @classmethod
    def of(cls, head: Yolo, output: Tensor, size: tuple[int, int]) -> _Slots:
        output = output.to(torch.promote_types(output.dtype, torch.float32))
        n, _, h, w = output.shape
        values = output.view(n, len(head.mask), -1, h, w).permute(0, 3, 4, 1, 2)
        boxes = head.decode(output, size)[0]
        anchors = output.new_tensor(head.anchors).view(-1, 2) / output.new_tensor(size[::-1])
        mask = torch.tensor(head.mask, device=output.device)
        values, boxes = values.reshape(-1, 5 + head.classes), boxes.reshape(-1, 4)
        return cls(head, values, boxes, anchors[: head.num], mask, n, (h, w))

    def place(self, slot: Tensor) -> tuple[Tensor, Tensor]:
        """Return cells as (column, row) and anchors as (w, h), (n, 2) each."""
        cell, k = slot // len(self.mask), slot % len(self.mask)
        h, w = self.grid
        return torch.stack((cell % w, cell // w % h), -1), self.anchors[self.mask[k]]


class _Matches(NamedTuple):
    """Slots and the truths that they are to become."""

    slot: Tensor  # (n,)
    truth: Tensor  # (n, 4), cxcywh
    label: Tensor  # (n,), class

    @classmethod
    def of(cls, slot: Tensor, truths: Tensor) -> _Matches:
        return cls(slot, truths[:, 1:5], truths[:, 5].long())


def _maps(delta: Tensor, output: Tensor) -> Tensor:
    """Put slots back into the order of the output."""
    n, _, h, w = output.shape
    return delta.view(n, h, w, -1, delta.shape[1]).permute(0, 3, 4, 1, 2).reshape(output.shape)


def _readable(head: Yolo, truths: Tensor, images: int) -> Tensor:
    """Drop rows from an image's first cx = 0 or from its `max`-th row on, and unknown classes."""
    image, label = truths[:, 0].long(), truths[:, 5].long()
    place, ends = _occurrence(image), truths[:, 1] == 0
    stop = torch.full((images,), head.max, device=truths.device)
    stop = stop.scatter_reduce(0, image[ends], place[ends], "amin")
    return truths[(place < stop[image]) & (label >= 0) & (label < head.classes)]


def _occurrence(key: Tensor) -> Tensor:
    """Count, for each element, the equal elements before it: 5 3 5 5 3 -> 0 0 1 2 1."""
    ordered, order = key.sort(stable=True)
    count = torch.arange(len(key), device=key.device) - torch.searchsorted(ordered, ordered)
    return torch.empty_like(count).scatter(0, order, count)


def _nearest(slots: _Slots, truths: Tensor) -> tuple[Tensor, Tensor]:
    """Return each slot's highest IoU with a truth of its image, 0 without, and that truth's row."""
    image = truths[:, 0].long()
    place = _occurrence(image)
    width = int(place.max()) + 1 if len(place) else 1
    table = truths.new_zeros(slots.images, width, 4)  # padded with boxes that overlap nothing
    row = image.new_zeros(slots.images, width)
    table[image, place], row[image, place] = truths[:, 1:5], torch.arange(len(image)).to(image)
    overlap, column = iou(slots.boxes.view(slots.images, -1, 1, 4), table[:, None]).max(-1)
    return overlap.flatten(), row.gather(1, column).flatten()


def _background(slots: _Slots, overlap: Tensor) -> Tensor:
    """Return the objectness deltas of slots that no truth is assigned to, (S,).

    A slot is spared if it overlaps some truth and is sure of some class, whichever that be.
    """
    head, objectness = slots.head, slots.values[:, 4]
    overlap = overlap.where((slots.values[:, 5:] > SURE).any(1), 0)
    down = head.obj_normalizer * (0 - objectness)
    smooth = torch.maximum(down, head.obj_normalizer * (overlap - objectness))
    spared = smooth if head.objectness_smooth else torch.zeros_like(down)
    return spared.where(overlap > head.ignore_thresh, down)


def _pull_sure(slots: _Slots, old: Tensor, matches: _Matches, overlap: Tensor) -> Tensor:
    """Return the deltas of slots that overlap a truth by more than truth_thresh, (n, 5+C)."""
    head, values = slots.head, slots.values[matches.slot]
    new = _pull(slots, old, matches)
    target = overlap**2 if head.objectness_smooth else torch.ones_like(overlap)
    new[:, 4] = head.obj_normalizer * (target - values[:, 4])
    if head.objectness_smooth:
        channel = 5 + matches.label[:, None]
        short = target[:, None] - values.gather(1, channel)
        new.scatter_(1, channel, _multipliers(slots)[matches.label, None] * short)
    return new


def _assign(slots: _Slots, truths: Tensor) -> _Matches:
    """Return the slots of each truth, truths in their order.

    A truth goes to the cell of its centre: to the anchor, among all heads', whose shape it has, and
    to this head's anchors whose overlap with that shape exceeds iou_thresh.
    """
    head, (h, w) = slots.head, slots.grid
    shape, anchors = (
        torch.cat((torch.zeros_like(wh), wh), -1) for wh in (truths[:, None, 3:5], slots.anchors)
    )
    chosen = iou(anchors, shape).argmax(1, keepdim=True) == slots.mask
    if head.iou_thresh < 1:
        kind = KINDS.get(head.iou_thresh_kind, iou)
        chosen |= kind(anchors[slots.mask], shape) > head.iou_thresh
    row, k = chosen.nonzero(as_tuple=True)
    # A centre on the right or lower border is Darknet's bug: it writes to the next row's cell.
    image, column, line = truths[row, 0].long(), truths[row, 1] * w, truths[row, 2] * h
    cell = (image * h + line.long().clamp(0, h - 1)) * w + column.long().clamp(0, w - 1)
    return _Matches.of(cell * len(slots.mask) + k, truths[row])


def _turns(matches: _Matches) -> list[_Matches]:
    """Part matches so that each part has a slot once at most, truths of a slot in their order."""
    turn = _occurrence(matches.slot)
    turns = int(turn.max()) + 1 if len(turn) else 0
    return [_Matches(*(field[turn == now] for field in matches)) for now in range(turns)]


def _pull(slots: _Slots, old: Tensor, matches: _Matches) -> Tensor:
    """Return the deltas of distinct slots after one more truth each, (n, 5+C) as the old ones."""
    head = slots.head
    box = old[:, :4] + _box_delta(slots, matches)
    up = head.obj_normalizer * (1 - slots.values[matches.slot, 4])
    objectness = _multipliers(slots)[matches.label] * up
    if head.objectness_smooth:
        objectness = objectness.where(old[:, 4] == 0, old[:, 4])
    return torch.cat((box, objectness[:, None], _class_delta(slots, old[:, 5:], matches)), 1)


def _box_delta(slots: _Slots, matches: _Matches) -> Tensor:
    """Return the deltas of x, y, w, h, (n, 4). Source: delta_yolo_box."""
    head, values = slots.head, slots.values[matches.slot, :4]
    normalizer = head.iou_normalizer * _multipliers(slots)[matches.label, None]
    if head.iou_loss == "mse":
        scale = 2 - matches.truth[:, 2:].prod(1, keepdim=True)
        return scale * normalizer * (_box_target(slots, matches) - values)
    boxes = slots.boxes[matches.slot]
    boxes[:, 2:] = boxes[:, 2:].where(boxes[:, 2:] != 0, 1)  # Darknet's guard against NaN
    gradient = darknet_gradient(boxes, matches.truth, head.iou_loss)
    if not head.new_coords:
        gradient[:, 2:] *= values[:, 2:].exp()
    delta = (normalizer * gradient).nan_to_num(0, 0, 0)
    return delta.clamp(-head.max_delta, head.max_delta)


def _box_target(slots: _Slots, matches: _Matches) -> Tensor:
    """Return the x, y, w, h that a slot would have to say for its box to be the truth, (n, 4)."""
    cell, anchor = slots.place(matches.slot)
    grid = matches.truth.new_tensor(slots.grid[::-1])
    ratio = matches.truth[:, 2:] / anchor
    size = (ratio / 4).sqrt() if slots.head.new_coords else ratio.log()
    return torch.cat((matches.truth[:, :2] * grid - cell, size), 1)


def _class_delta(slots: _Slots, old: Tensor, matches: _Matches) -> Tensor:
    """Return the deltas of the classes, (n, C). Source: delta_yolo_class.

    The first truth of a slot pulls its class up and all others down. Another truth then pulls its
    own class up and leaves the rest, so that a slot may be several classes; but where its class has
    no delta yet, it starts anew. cls_normalizer counts only together with counters_per_class.
    """
    head, values, label = slots.head, slots.values[matches.slot, 5:], matches.label[:, None]
    multiplier = _multipliers(slots)[label]
    hot = torch.zeros_like(values).scatter(1, label, 1)
    short = hot * (1 - head.label_smooth_eps) + head.label_smooth_eps / 2 - values
    first = short.clone()
    if head.focal_loss:
        first = (hot - values) * _focus(values.gather(1, label))
    elif head.counters_per_class:
        first.scatter_(1, label, short.gather(1, label) * multiplier * head.cls_normalizer)
    another = old.scatter(1, label, short.gather(1, label) * multiplier)
    return another.where(old.gather(1, label) != 0, first)


def _focus(probability: Tensor) -> Tensor:
    """Return the weight of a slot's classes in the focal loss, with alpha = .5 and gamma = 2."""
    p = probability + 1e-15
    return 0.5 * -(1 - p) * (2 * p * p.log() + p - 1)


def _multipliers(slots: _Slots) -> Tensor:
    """Return each class's weight, (C,): the rarer, the higher.

    Source: AlexeyAB/darknet src/parser.c, get_classes_multipliers.
    """
    head = slots.head
    if not head.counters_per_class:
        return slots.values.new_ones(head.classes)
    counters = slots.values.new_tensor(head.counters_per_class).clamp(min=1)
    return (counters.max() / counters).clamp(max=head.max_delta)


def _sharers(delta: Tensor) -> Tensor:
    """Return by what the box deltas of each slot are divided, (S, 1): the classes it is to be.

    Counts classes, not truths: two truths of one class leave their sum. Source:
    averages_yolo_deltas.
    """
    classes = (delta[:, 5:] > 0).sum(1, keepdim=True)
    return classes.where(delta[:, 4:5] != 0, 1).clamp(min=1)


def _statistics(
    slots: _Slots, delta: Tensor, matches: _Matches, sure: int, rewritten: Tensor
) -> Statistics:
    """Return what forward_yolo_layer prints and what it calls the cost."""
    head, count = slots.head, len(matches.slot)
    boxes, mean = slots.boxes[matches.slot], 1 / max(count, 1)
    overlap = iou(boxes, matches.truth)
    quality = giou(boxes, matches.truth) if head.iou_loss == "giou" else overlap
    square = delta.square().sum(0)
    numbers = (square.sum(), square[4:].sum(), overlap.sum(), (1 - quality).sum(), rewritten)
    total, rest, overlaps, apart, again = torch.stack(numbers).tolist()
    rest *= head.obj_normalizer  # the second time: the delta has it already
    squares_only = head.iou_loss == "mse" or not head.show_details
    return Statistics(
        cost=total if squares_only else head.iou_normalizer * apart * mean + rest,
        iou=overlaps * mean,
        count=count,
        class_loss=rest / slots.images,
        iou_loss=(total - rest) / slots.images,
        total_loss=total / slots.images,
        total_bbox=count + sure,
        rewritten_bbox=int(again),
    )
