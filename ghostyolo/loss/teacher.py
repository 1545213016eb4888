"""The loss of who learns from a trained network with the same heads, and needs no labels.

A label says where something is; a teacher says of every slot how sure it is, and what it would have
answered besides. So little is left to find out, and a network that was compressed recovers in few
epochs. Boxes and classes count as much as the teacher is sure that there is something at all.
Source: Hinton, Vinyals & Dean, Distilling the Knowledge in a Neural Network, 2015 (its answers as
targets); Mehta & Ozturk, Object Detection at 200 Frames Per Second, 2018 (scaled by objectness).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ghostyolo.loss.base import Cost, HeadRun
from ghostyolo.loss.grid import Grid
from ghostyolo.loss.iou import ciou
from ghostyolo.loss.modern import weighed

FAINT = 0.01  # objectness below which boxes and classes are not looked at


def cost(runs: Sequence[HeadRun], shown: Sequence[HeadRun], size: tuple[int, int]) -> Cost:
    """Return box, objectness and class loss, to be divided by the slots that the teacher takes.

    runs, shown: of the network's and of the teacher's forward pass on the same inputs, of size
    (h, w) in pixels; the heads are alike.
    """
    pairs = [
        (Grid.of(run, size), Grid.of(other, size)) for run, other in zip(runs, shown, strict=True)
    ]
    parts = [_parts(own, wanted) for own, wanted in pairs]
    box, objectness, classes, taken = (torch.stack(part).sum() for part in zip(*parts, strict=True))
    return weighed(box, objectness, classes, taken.clamp(min=1))


def _parts(own: Grid, shown: Grid) -> Iterator[Tensor]:
    """Yield one head's sums of box, objectness and class loss, and of the teacher's objectness."""
    sure = shown.logits(shown.values[:, :, 4]).sigmoid()
    image, anchor, row, column = (sure > FAINT).nonzero(as_tuple=True)
    mine, wanted = (grid.values[image, anchor, :, row, column] for grid in (own, shown))
    weight, cell = sure[image, anchor, row, column], torch.stack((column, row), -1)
    boxes, target = own.boxes(mine, anchor, cell), shown.boxes(wanted, anchor, cell)
    yield (weight * (1 - ciou(boxes, target))).sum()
    objectness = own.logits(own.values[:, :, 4])
    yield F.binary_cross_entropy_with_logits(objectness, sure, reduction="sum")
    logits, answers = own.logits(mine[:, 5:]), shown.logits(wanted[:, 5:]).sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, answers, reduction="none")
    yield (weight[:, None] * entropy).sum()
    yield sure.sum()
