"""What every loss takes and returns, and the hyperparameters that belong to it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from ghostyolo.layers.yolo import Yolo

MIXED = 0.5  # share of the pictures that are mosaics or mixups; src/data.c of Darknet


class HeadOutput(NamedTuple):
    """One `[yolo]` in a forward pass: its input `raw` and its activated `output`.

    Both are (N, A*(5+C), h, w).
    """

    head: Yolo
    raw: Tensor
    output: Tensor


class LossSum(NamedTuple):
    """The loss of a mini-batch as a sum, before the division that makes it a mean.

    total: scalar, the sum whose gradient trains. divisor: scalar, what the sum is to be divided by;
    over several mini-batches or ranks, the sum of totals is divided by the sum of divisors. parts:
    the terms that are logged, by name; sums as well, without gradient.
    """

    total: Tensor
    divisor: Tensor
    parts: dict[str, Tensor]


# outputs of the network (of a detector a list of `HeadOutput`, of a classifier `ClassLogits`),
# targets as `Batches` returns them, (h, w) of the input in pixels
LossFunction = Callable[[Any, Tensor, tuple[int, int]], LossSum]


@dataclass(frozen=True)
class LossConfig:
    """A loss function and those of its hyperparameters for which `[net]` has no key.

    learning_rate_factor: `[net] learning_rate` is multiplied by it, except with Adam. nesterov:
    whether momentum is Nesterov's. max_norm: the norm that the gradient is clipped at. ema: number
    of updates that the moving average of the weights reaches back, as a share of the run; 0 for no
    average. no_mosaic: last share of the run, trained without mosaic and mixup and with little
    jitter. min_visible: least share of a box's area that a crop must leave for the box to stay.
    mosaic: share of the pictures that are mosaics where the cfg has mosaic=1. distillation: whether
    a teacher may replace the labels; its loss is then that of the task, with these hyperparameters.
    """

    function: LossFunction
    learning_rate_factor: float = 1.0
    nesterov: bool = False
    max_norm: float = math.inf
    ema: float = 0.0
    no_mosaic: float = 0.0
    min_visible: float = 0.0
    mosaic: float = MIXED
    distillation: bool = False
