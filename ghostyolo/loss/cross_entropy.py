"""The loss of a classifier: cross entropy of its softmax with the labels or with a teacher."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ghostyolo.loss.base import LossConfig, LossSum


class ClassLogits(NamedTuple):
    """The output of a classifier: logits (N, K), before temperature and softmax.

    smoothing: `[net] label_smooth_eps`, the target probability of all other classes together.
    """

    logits: Tensor
    temperature: float = 1.0
    smoothing: float = 0.0


def loss(output: ClassLogits, targets: Tensor, size: tuple[int, int]) -> LossSum:
    """Return the loss of a mini-batch, to be divided by the number of its pictures.

    targets: (M, 3), see `probabilities`. size: of the input; it is not used.
    The total is the cross entropy times the temperature, so that the gradient by a logit is its
    probability minus the target, as in Darknet. The log shows the cross entropy.
    Source: AlexeyAB/darknet src/blas.c softmax_x_ent_cpu, src/softmax_layer.c.
    """
    count, classes = output.logits.shape
    wanted = probabilities(targets, count, classes, output.smoothing)
    return _cross_entropy(output, wanted.to(output.logits.dtype))


def distillation_loss(output: ClassLogits, teacher: ClassLogits, size: tuple[int, int]) -> LossSum:
    """Return the loss as `loss` does, with the teacher's probabilities in place of labels.

    Source: Hinton, Vinyals & Dean, Distilling the Knowledge in a Neural Network, 2015.
    """
    return _cross_entropy(output, (teacher.logits / teacher.temperature).softmax(1))


def probabilities(targets: Tensor, count: int, classes: int, smoothing: float = 0.0) -> Tensor:
    """Return the target probabilities of `count` pictures, (N, K); each row adds up to 1.

    targets: (M, 3), rows of a picture's index, a fraction of that picture, and the class that this
    fraction shows. A class gets 1 - smoothing of its fraction; the rest is divided equally among
    the other classes.
    Source: AlexeyAB/darknet src/data.c fill_truth_smooth.
    """
    shares = torch.zeros((count, classes), dtype=targets.dtype, device=targets.device)
    indices = targets[:, 0].long(), targets[:, 2].long()
    shares.index_put_(indices, targets[:, 1], accumulate=True)
    if smoothing == 0 or classes == 1:
        return shares
    return shares * (1 - smoothing) + (1 - shares) * smoothing / (classes - 1)


def _cross_entropy(output: ClassLogits, wanted: Tensor) -> LossSum:
    """Return the cross entropy with target probabilities, (N, K)."""
    log_probabilities = (output.logits / output.temperature).log_softmax(1)
    entropy = -(wanted * log_probabilities).sum()
    divisor = torch.full((), len(wanted), dtype=entropy.dtype, device=entropy.device)
    return LossSum(entropy * output.temperature, divisor, {"loss": entropy.detach()})


# The loss is a mean over pictures, as in Darknet, so the learning rate of the cfg fits unchanged.
CONFIG = LossConfig(loss, learning_rate_factor=1.0, nesterov=True, ema=0.02, distillation=True)
