"""The gradient of an update: forward passes, loss, backward passes, sum over all ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ghostyolo.distributed import World
from ghostyolo.loss.base import LossConfig, LossSum
from ghostyolo.model.model import Model
from ghostyolo.network import Network
from ghostyolo.training import precision
from ghostyolo.training.state import State
from ghostyolo.training.task import DETECTION, Task

Run = Callable[[Tensor, frozenset[int]], dict[int, Tensor]]  # as Model.run


@dataclass(frozen=True)
class UpdateConfig:
    """How the gradient of an update is computed.

    subdivisions: forward passes of an update. amp: dtype of the forward pass, None for float32.
    run: the compiled forward pass, None for `Model.run`. world: the ranks that share a batch.
    teacher: the network whose predictions replace the labels.
    """

    loss: LossConfig
    subdivisions: int = 1
    device: str = "cpu"
    amp: torch.dtype | None = None
    run: Run | None = None
    world: World = field(default_factory=World)
    task: Task = DETECTION
    teacher: Model | None = None


def gradient(
    state: State, images: Tensor, targets: Tensor, update: UpdateConfig
) -> dict[str, float]:
    """Compute the gradient of a batch into the model and return the parts of its loss.

    images: (B, 3, h, w), this rank's part. targets: (M, columns), the first of which is the index
    of a picture, see `Batches`. All ranks end with the same gradient, that of the whole batch.
    """
    state.optimizer.zero_grad(set_to_none=True)
    freeze(state.model)
    losses = []
    for x, mine in mini_batches(images, targets, update):
        loss = mini_batch_loss(state.model, x, mine, update)
        state.scaler.scale(loss.total).backward()
        losses.append(loss)
    rows = [(loss.divisor, *loss.parts.values()) for loss in losses]
    sums = [torch.stack(column).sum() for column in zip(*rows, strict=True)]
    update.world.total([*_gradients(state.model), *sums])
    update.world.mean(_running_statistics(state.model))
    state.scaler.unscale_(state.optimizer)
    norm = _divide_and_clip(state.model, sums[0], update.loss.max_norm)
    parts = torch.stack(sums[1:]) / sums[0] + 0 * norm  # NaN if the gradient is not finite
    return dict(zip(losses[0].parts, parts.tolist(), strict=True))


def mini_batches(
    images: Tensor, targets: Tensor, update: UpdateConfig
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield images and targets of each forward pass, on the device, images in [0, 1]."""
    size = len(images) // update.subdivisions
    for low in range(0, size * update.subdivisions, size):
        x = images[low : low + size]
        x = x.to(update.device, memory_format=torch.channels_last, non_blocking=True)
        x = x / 255 if x.dtype == torch.uint8 else x
        mine = targets[(targets[:, 0] >= low) & (targets[:, 0] < low + size)]
        mine[:, 0] -= low
        yield x, mine.to(update.device, non_blocking=True)


def mini_batch_loss(model: Model, x: Tensor, targets: Tensor, update: UpdateConfig) -> LossSum:
    """Return the loss of a mini-batch, computed in float32 or better."""
    outputs = _outputs(update.run or model.run, model.network, x, update)
    size = (x.shape[2], x.shape[3])
    if update.teacher is None:
        return update.loss.function(outputs, targets, size)
    with torch.no_grad():
        taught = _outputs(update.teacher.run, update.teacher.network, x, update)
    return update.task.distillation_loss(outputs, taught, size)


def _outputs(run: Run, network: Network, x: Tensor, update: UpdateConfig) -> Any:
    """Return what the loss needs of a forward pass, in float32 or better."""

    def forward(keep: frozenset[int]) -> dict[int, Tensor]:
        with precision.forward(update.amp, update.device):
            out = run(x, keep)
        return {i: y.to(torch.promote_types(y.dtype, torch.float32)) for i, y in out.items()}

    return update.task.outputs(network, forward)


def freeze(model: Model) -> None:
    """Freeze the layers up to the last `stopbackward=1`, running statistics included.

    Source: AlexeyAB/darknet src/network.c backward_network, src/parser.c. In Darknet, weight decay
    still applies to that last layer.
    """
    stops = [node.index for node in model.network if node.layer.stopbackward]
    for layer in model.layers[: max(stops, default=-1) + 1]:
        layer.eval().requires_grad_(False)


def _gradients(model: Model) -> list[Tensor]:
    return [p.grad for p in model.parameters() if p.grad is not None]


def _running_statistics(model: Model) -> list[Tensor]:
    """Return the running statistics, which each rank computes from its own pictures."""
    return [buffer for buffer in model.buffers() if buffer.is_floating_point()]


def _divide_and_clip(model: Model, divisor: Tensor, max_norm: float) -> Tensor:
    """Divide the gradient by the divisor of the loss and clip its norm, which is returned."""
    gradients = _gradients(model)
    norm = torch.nn.utils.get_total_norm(gradients) / divisor
    factor = (max_norm / norm).clamp(max=1) / divisor
    torch._foreach_mul_(gradients, factor.to(gradients[0]))
    return norm
