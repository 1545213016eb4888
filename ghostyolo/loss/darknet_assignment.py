"""The slots of a `[yolo]` and the truths that Darknet assigns to them.

A slot is one anchor in one cell of one image. Slots have the order of the boxes that `decode`
returns: images outermost, then rows, columns and anchors. The values of a slot are x, y, w, h,
objectness and classes. Source, unless stated: AlexeyAB/darknet src/yolo_layer.c, process_batch.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ghostyolo.layers.yolo import Yolo
from ghostyolo.loss.iou import KINDS, iou

CACHED_PAIRS = 1 << 16  # of boxes, compared at once: the matrices stay in a core's cache


class Slots(NamedTuple):
    """The predictions of a head for a mini-batch."""

    head: Yolo
    values: Tensor  # (S, 5+C), activated
    boxes: Tensor  # (S, 4), cxcywh relative to the network's input
    anchors: Tensor  # (num, 2), w and h relative to the network's input, of all heads
    mask: Tensor  # (A,), indices of this head's anchors
    images: int
    grid: tuple[int, int]

    @classmethod
    def of(cls, head: Yolo, output: Tensor, size: tuple[int, int]) -> Slots:
        output = output.to(torch.promote_types(output.dtype, torch.float32))
        n, _, h, w = output.shape
        values = output.view(n, len(head.mask), -1, h, w).permute(0, 3, 4, 1, 2)
        boxes = head.decode_boxes(output, size)
        anchors = output.new_tensor(head.anchors).view(-1, 2) / output.new_tensor(size[::-1])
        mask = torch.tensor(head.mask, device=output.device)
        values, boxes = values.reshape(-1, 5 + head.classes), boxes.reshape(-1, 4)
        return cls(head, values, boxes, anchors[: head.num], mask, n, (h, w))

    def cell_and_anchor(self, slot: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cells of slots as (column, row) and their anchors as (w, h), (n, 2) each."""
        cell, k = slot // len(self.mask), slot % len(self.mask)
        h, w = self.grid
        return torch.stack((cell % w, cell // w % h), -1), self.anchors[self.mask[k]]

    def valid(self, truths: Tensor) -> Tensor:
        """Return the truths that Darknet reads.

        It reads the rows of an image before the first row with cx = 0, at most `max` of them. Rows
        of other classes than the head's are dropped.
        """
        image, label = truths[:, 0].long(), truths[:, 5].long()
        place, ends = _occurrence(image), truths[:, 1] == 0
        stop = torch.full((self.images,), self.head.max, device=truths.device)
        stop = stop.scatter_reduce(0, image[ends], place[ends], "amin")
        return truths[(place < stop[image]) & (label >= 0) & (label < self.head.classes)]


class Matches(NamedTuple):
    """Slots and the truths assigned to them."""

    slot: Tensor  # (n,)
    truth: Tensor  # (n, 4), cxcywh
    label: Tensor  # (n,), class

    @classmethod
    def of(cls, slot: Tensor, truths: Tensor) -> Matches:
        return cls(slot, truths[:, 1:5], truths[:, 5].long())

    def distinct(self) -> list[Matches]:
        """Split the matches into parts in which each slot occurs once, keeping a slot's order."""
        part = _occurrence(self.slot)
        parts = int(part.max()) + 1 if len(part) else 0
        return [Matches(*(field[part == number] for field in self)) for number in range(parts)]


def _occurrence(key: Tensor) -> Tensor:
    """Return the number of equal elements before each element: 5 3 5 5 3 -> 0 0 1 2 1."""
    ordered, order = key.sort(stable=True)
    count = torch.arange(len(key), device=key.device) - torch.searchsorted(ordered, ordered)
    return torch.empty_like(count).scatter(0, order, count)


def best_truth(slots: Slots, truths: Tensor) -> tuple[Tensor, Tensor]:
    """Return each slot's highest IoU with a truth of its image, 0 if none, and the truth's row."""
    image = truths[:, 0].long()
    place = _occurrence(image)
    width = int(place.max()) + 1 if len(place) else 1
    table = truths.new_zeros(slots.images, width, 4)  # padded with empty boxes
    row = image.new_zeros(slots.images, width)
    table[image, place], row[image, place] = truths[:, 1:5], torch.arange(len(image)).to(image)
    pairs = CACHED_PAIRS if table.device.type == "cpu" else 64 * CACHED_PAIRS
    boxes = slots.boxes.view(slots.images, -1, 1, 4).split(max(1, pairs // row.numel()), 1)
    best = [iou(some, table[:, None]).max(-1) for some in boxes]
    overlap, column = (torch.cat(part, 1) for part in zip(*best, strict=True))
    return overlap.flatten(), row.gather(1, column).flatten()


def assign(slots: Slots, truths: Tensor) -> Matches:
    """Return the slots assigned to each truth, in the order of the truths.

    A truth is assigned to the cell that contains its centre. In that cell it is assigned to the
    anchor with the highest IoU in shape, if that anchor of all heads belongs to this one, and to
    each anchor of this head whose IoU exceeds iou_thresh.
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
    # A centre on the right or lower border is clamped; Darknet writes to a cell of the next row.
    image, column, line = truths[row, 0].long(), truths[row, 1] * w, truths[row, 2] * h
    cell = (image * h + line.long().clamp(0, h - 1)) * w + column.long().clamp(0, w - 1)
    return Matches.of(cell * len(slots.mask) + k, truths[row])
