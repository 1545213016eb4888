"""The `[yolo]` loss exactly as Darknet trains it.

Darknet does not differentiate a loss. It computes the delta, the negative gradient, of each input
of a head directly, and sums squares of deltas only to print them. This file does the same: `deltas`
returns the deltas and the printed numbers, `head_loss` a scalar with that gradient for autograd.

`darknet_assignment` defines slots and assigns truths to them. Source, unless stated:
AlexeyAB/darknet src/yolo_layer.c, process_batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ghostyolo.layers.yolo import Yolo
from ghostyolo.loss.base import HeadOutput, LossConfig, LossSum
from ghostyolo.loss.darknet_assignment import Matches, Slots, assign, best_truth
from ghostyolo.loss.iou import darknet_gradient, giou, iou

CLASS_THRESH = 0.25  # ignore_thresh needs a class probability above this; compare_yolo_class
COLUMNS = 128  # values of all slots that are squared at once


@dataclass(frozen=True)
class Statistics:
    """The numbers that Darknet prints about one head after a mini-batch."""

    cost: float  # the head's term of the training loss, over the whole mini-batch
    iou: float  # mean over the truths assigned
    count: int  # pairs of a truth and a slot assigned to it; Darknet prints 1 instead of 0
    class_loss: float  # objectness included; class_loss, iou_loss, total_loss are per image
    iou_loss: float
    total_loss: float
    total_bbox: int  # count, plus the slots above truth_thresh
    rewritten_bbox: int  # truths assigned to a slot that already had another truth


@torch.no_grad()
def deltas(
    head: Yolo, output: Tensor, truths: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Statistics]:
    """Return the deltas of a head, the negative gradient by its input, and the printed numbers.

    output: (N, A*(5+C), h, w), the head's activated output. truths: (M, 6), rows of image, cx, cy,
    w, h (relative to the network's input) and class; the order of an image's rows matters, and a
    row with cx = 0 ends the image. size: (h, w) of the network's input in pixels.
    The deltas have the shape of the output. They are sums, not divided by the number of truths or
    images. They are by the logits; with new_coords, where the convolution above applies the
    logistic function, by the output itself. delta_normalizer is not applied: Darknet's CPU build
    ignores it, its GPU build applies it.
    """
    slots = Slots.of(head, output, size)
    truths = slots.valid(truths.to(slots.values))
    overlap, row = best_truth(slots, truths)
    delta = torch.zeros_like(slots.values)
    delta[:, 4] = _background(slots, overlap)
    above = (overlap > head.truth_thresh).nonzero()[:, 0]
    matches_above = Matches.of(above, truths[row[above]])
    delta[above] = _truth_thresh_deltas(slots, delta[above], matches_above, overlap[above])
    matches = assign(slots, truths)
    rewritten = delta.new_zeros(())
    for distinct in matches.distinct():
        old = delta[distinct.slot]
        rewritten += (old[:, :4] != 0).any(1).sum()
        delta[distinct.slot] = _match_deltas(slots, old, distinct)
    if head.iou_thresh < 1:
        own = torch.cat((above, matches.slot)).unique()
        delta[own, :4] /= _class_counts(delta[own])
    statistics = _statistics(slots, delta, matches, len(above), rewritten)
    return _as_maps(delta, output), statistics


def head_loss(
    head: Yolo, raw: Tensor, truths: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Statistics]:
    """Return a scalar whose value is Darknet's cost and whose gradient by `raw` is minus the delta.

    raw: the head's input, (N, A*(5+C), h, w). Other arguments, and the statistics: see `deltas`.
    """
    delta, statistics = deltas(head, _activated(head, raw), truths, size)
    product = (raw.to(delta) * delta).sum()
    return statistics.cost - (product - product.detach()), statistics


def loss(outputs: Sequence[HeadOutput], truths: Tensor, size: tuple[int, int]) -> LossSum:
    """Return the loss of a mini-batch, to be divided by its images; the log has the heads' mean."""
    losses = [
        head.delta_normalizer * head_loss(head, raw, truths, size)[0] for head, raw in outputs
    ]
    total = torch.stack(losses).sum()
    images = total.new_tensor(len(outputs[0].raw))
    return LossSum(total, images, {"loss": total.detach() / len(outputs)})


def _activated(head: Yolo, raw: Tensor) -> Tensor:
    """Return the output of a head, with the values of a slot together in memory, as `Slots` are."""
    return head.module()(raw.detach()).contiguous(memory_format=torch.channels_last)


def _as_maps(delta: Tensor, output: Tensor) -> Tensor:
    """Return the slots in the shape of the output."""
    n, _, h, w = output.shape
    return delta.view(n, h, w, -1, delta.shape[1]).permute(0, 3, 4, 1, 2).reshape(output.shape)


def _background(slots: Slots, overlap: Tensor) -> Tensor:
    """Return the objectness deltas of slots that no truth is assigned to, (S,).

    A slot is ignored if its IoU with a truth exceeds ignore_thresh and the probability of a class
    exceeds CLASS_THRESH.
    """
    head, objectness = slots.head, slots.values[:, 4]
    overlap = overlap.where((slots.values[:, 5:] > CLASS_THRESH).any(1), 0)
    down = head.obj_normalizer * (0 - objectness)
    smooth = torch.maximum(down, head.obj_normalizer * (overlap - objectness))
    ignored = smooth if head.objectness_smooth else torch.zeros_like(down)
    return ignored.where(overlap > head.ignore_thresh, down)


def _truth_thresh_deltas(slots: Slots, old: Tensor, matches: Matches, overlap: Tensor) -> Tensor:
    """Return the deltas of slots whose IoU with a truth exceeds truth_thresh, (n, 5+C)."""
    head, values = slots.head, slots.values[matches.slot]
    new = _match_deltas(slots, old, matches)
    target = overlap**2 if head.objectness_smooth else torch.ones_like(overlap)
    new[:, 4] = head.obj_normalizer * (target - values[:, 4])
    if head.objectness_smooth:
        channel = 5 + matches.label[:, None]
        error = target[:, None] - values.gather(1, channel)
        new.scatter_(1, channel, _multipliers(slots)[matches.label, None] * error)
    return new


def _match_deltas(slots: Slots, old: Tensor, matches: Matches) -> Tensor:
    """Return the deltas of distinct slots, (n, 5+C), with one more truth each; old: without it."""
    head = slots.head
    box = old[:, :4] + _box_delta(slots, matches)
    up = head.obj_normalizer * (1 - slots.values[matches.slot, 4])
    objectness = _multipliers(slots)[matches.label] * up
    if head.objectness_smooth:
        objectness = objectness.where(old[:, 4] == 0, old[:, 4])
    return torch.cat((box, objectness[:, None], _class_delta(slots, old[:, 5:], matches)), 1)


def _box_delta(slots: Slots, matches: Matches) -> Tensor:
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


def _box_target(slots: Slots, matches: Matches) -> Tensor:
    """Return the values x, y, w, h that decode to the truth of a slot, (n, 4)."""
    cell, anchor = slots.cell_and_anchor(matches.slot)
    grid = matches.truth.new_tensor(slots.grid[::-1])
    ratio = matches.truth[:, 2:] / anchor
    size = (ratio / 4).sqrt() if slots.head.new_coords else ratio.log()
    return torch.cat((matches.truth[:, :2] * grid - cell, size), 1)


def _class_delta(slots: Slots, old: Tensor, matches: Matches) -> Tensor:
    """Return the deltas of the classes, (n, C). Source: delta_yolo_class.

    The first truth of a slot sets target 1 for its class and 0 for all others. A further truth sets
    only the delta of its own class, so that a slot may have several classes; if the delta of that
    class is still 0, all classes are set again. cls_normalizer needs counters_per_class.
    """
    head, values, label = slots.head, slots.values[matches.slot, 5:], matches.label[:, None]
    multiplier = _multipliers(slots)[label]
    hot = torch.zeros_like(values).scatter(1, label, 1)
    error = hot * (1 - head.label_smooth_eps) + head.label_smooth_eps / 2 - values
    first = error.clone()
    if head.focal_loss:
        first = (hot - values) * _focus(values.gather(1, label))
    elif head.counters_per_class:
        first.scatter_(1, label, error.gather(1, label) * multiplier * head.cls_normalizer)
    another = old.scatter(1, label, error.gather(1, label) * multiplier)
    return another.where(old.gather(1, label) != 0, first)


def _focus(probability: Tensor) -> Tensor:
    """Return the weight of a slot's classes in the focal loss, with alpha = .5 and gamma = 2."""
    p = probability + 1e-15
    return 0.5 * -(1 - p) * (2 * p * p.log() + p - 1)


def _multipliers(slots: Slots) -> Tensor:
    """Return each class's weight, (C,): the rarer, the higher.

    Source: AlexeyAB/darknet src/parser.c, get_classes_multipliers.
    """
    head = slots.head
    if not head.counters_per_class:
        return slots.values.new_ones(head.classes)
    counters = slots.values.new_tensor(head.counters_per_class).clamp(min=1)
    return (counters.max() / counters).clamp(max=head.max_delta)


def _class_counts(delta: Tensor) -> Tensor:
    """Return the divisor of each slot's box deltas, (S, 1): the number of its target classes.

    Two truths of the same class count once, so their sum is not divided. Source:
    averages_yolo_deltas.
    """
    classes = (delta[:, 5:] > 0).sum(1, keepdim=True)
    return classes.where(delta[:, 4:5] != 0, 1).clamp(min=1)


def _statistics(
    slots: Slots, delta: Tensor, matches: Matches, above: int, rewritten: Tensor
) -> Statistics:
    """Return the numbers that forward_yolo_layer prints, and its cost."""
    head, count = slots.head, len(matches.slot)
    boxes, mean = slots.boxes[matches.slot], 1 / max(count, 1)
    overlap = iou(boxes, matches.truth)
    quality = giou(boxes, matches.truth) if head.iou_loss == "giou" else overlap
    square = torch.cat([some.square().sum(0) for some in delta.split(COLUMNS, 1)])
    numbers = (square.sum(), square[4:].sum(), overlap.sum(), (1 - quality).sum(), rewritten)
    total, rest, overlaps, apart, again = torch.stack(numbers).tolist()
    rest *= head.obj_normalizer  # a second time, as in Darknet: the deltas contain it already
    squares_only = head.iou_loss == "mse" or not head.show_details
    return Statistics(
        cost=total if squares_only else head.iou_normalizer * apart * mean + rest,
        iou=overlaps * mean,
        count=count,
        class_loss=rest / slots.images,
        iou_loss=(total - rest) / slots.images,
        total_loss=total / slots.images,
        total_bbox=count + above,
        rewritten_bbox=int(again),
    )


CONFIG = LossConfig(loss, learning_rate_factor=1.0)
