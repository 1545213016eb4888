"""The arguments, the result and the hyperparameters of a loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from ghostyolo.layers.yolo import Yolo

MIXED = 0.5  # fraction of the pictures that are mosaics or mixups; src/data.c of Darknet


class HeadOutput(NamedTuple):
    """A `[yolo]` and its input in a forward pass, (N, A*(5+C), h, w)."""

    head: Yolo
    raw: Tensor


class LossSum(NamedTuple):
    """The loss of a mini-batch as a sum, before the division that makes it a mean.

    total: scalar, the sum that is differentiated. divisor: scalar, the number that the sum must be
    divided by; over several mini-batches or ranks, the sum of the totals is divided by the sum of
    the divisors. parts: the terms of the log by name, also sums, without gradient.
    """

    total: Tensor
    divisor: Tensor
    parts: dict[str, Tensor]


# Arguments: the outputs of the network (a list of `HeadOutput` for a detector, `ClassLogits` for a
# classifier); the targets as `Batches` returns them; (h, w) of the input in pixels.
LossFunction = Callable[[Any, Tensor, tuple[int, int]], LossSum]


@dataclass(frozen=True)
class LossConfig:
    """A loss function, and its hyperparameters that are no keys of `[net]`.

    learning_rate_factor: factor of `[net] learning_rate`, not applied with Adam: 1 for a sum over
    the slots of a picture, as Darknet's, about 50 for a mean over the assigned slots. muon_factor:
    the same for Muon; 0 for a loss that was not tried with it. nesterov: whether the momentum is
    Nesterov's. max_norm: the gradient is clipped at this norm. ema: horizon of the moving average
    of the weights (see `Ema`), as a fraction of the run; 0 for no average. no_mosaic: the last
    fraction of the run, trained without mosaic and mixup and with a quarter of the jitter.
    min_visible: a box is dropped if a crop leaves no more than this fraction of its area. mosaic:
    fraction of the pictures that are mosaics if the cfg has mosaic=1. mosaic_side: mosaics show
    their pictures smaller, down to the scale at which the median object has this fraction of a
    side; 0 for Darknet's mosaics. distillation: whether a teacher may replace the labels; the loss
    function is then `Task.distillation_loss`.
    """

    function: LossFunction
    learning_rate_factor: float
    muon_factor: float = 0.0
    nesterov: bool = False
    max_norm: float = math.inf
    ema: float = 0.0
    no_mosaic: float = 0.0
    min_visible: float = 0.0
    mosaic: float = MIXED
    mosaic_side: float = 0.0
    distillation: bool = False
