"""The loss of a classifier: cross entropy of its softmax with what the pictures show."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ghostyolo.loss.base import Cost


class LogitRun(NamedTuple):
    """The end of a forward pass: logits (N, K), before the softmax and its temperature.

    smoothing: [net] label_smooth_eps, the probability that a picture shows another class.
    """

    logits: Tensor
    temperature: float = 1.0
    smoothing: float = 0.0


def cost(run: LogitRun, truths: Tensor, size: tuple[int, int]) -> Cost:
    """Return what a mini-batch costs; truths: (M, 3), see `targets`; size has no part in it.

    The total is a sum over pictures, and temperature times their entropy, so that the gradient of a
    logit is its probability less the target, as Darknet has it; what is shown is the entropy.
    Source: AlexeyAB/darknet src/blas.c softmax_x_ent_cpu, src/softmax_layer.c.
    """
    count, classes = run.logits.shape
    wanted = targets(truths, count, classes, run.smoothing)
    return _entropy(run, wanted.to(run.logits.dtype))


def imitation(run: LogitRun, shown: LogitRun, size: tuple[int, int]) -> Cost:
    """Return what a mini-batch costs that is to answer as a teacher does, as `cost` does else.

    Source: Hinton, Vinyals & Dean, Distilling the Knowledge in a Neural Network, 2015.
    """
    wanted = (shown.logits / shown.temperature).softmax(1)
    return _entropy(run, wanted)


def targets(truths: Tensor, count: int, classes: int, smoothing: float = 0.0) -> Tensor:
    """Return the probabilities to be learned, (N, K), rows that add up to 1.

    truths: (M, 3), each the index of a picture, a share of it, and the class that the share shows.
    Of a share, 1 - smoothing goes to its class and the rest in equal parts to all others.
    Source: AlexeyAB/darknet src/data.c fill_truth_smooth.
    """
    shares = torch.zeros((count, classes), dtype=truths.dtype, device=truths.device)
    shares.index_put_((truths[:, 0].long(), truths[:, 2].long()), truths[:, 1], accumulate=True)
    if smoothing == 0 or classes == 1:
        return shares
    return shares * (1 - smoothing) + (1 - shares) * smoothing / (classes - 1)


def _entropy(run: LogitRun, wanted: Tensor) -> Cost:
    """Return what it costs to say other probabilities than those wanted, (N, K)."""
    logs = (run.logits / run.temperature).log_softmax(1)
    entropy = -(wanted * logs).sum()
    divisor = torch.full((), len(wanted), dtype=entropy.dtype, device=entropy.device)
    return Cost(entropy * run.temperature, divisor, {"loss": entropy.detach()})
