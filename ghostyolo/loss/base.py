"""What every loss takes and returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor

from ghostyolo.layers.yolo import Yolo


class HeadRun(NamedTuple):
    """One head in a forward pass: what it received and what it made of that, (N, A*(5+C), h, w)."""

    head: Yolo
    raw: Tensor
    output: Tensor


class Cost(NamedTuple):
    """What a mini-batch costs.

    total: scalar, a sum over the mini-batch, whose gradient trains. divisor: scalar; the sums of an
    update's mini-batches are to be divided by that of their divisors. parts: what is shown by name,
    sums as well, without gradient.
    """

    total: Tensor
    divisor: Tensor
    parts: dict[str, Tensor]


# heads of a forward pass, truths (M, 6) as `data.Batches` has them, the input's (h, w) in pixels
Loss = Callable[[Sequence[HeadRun], Tensor, tuple[int, int]], Cost]
