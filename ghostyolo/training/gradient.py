"""The gradient of an update: forward passes, loss, backward passes, sum over all ranks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ghostyolo.distributed import ALONE, World
from ghostyolo.errors import OptionError
from ghostyolo.loss.base import LossConfig, LossSum
from ghostyolo.model import out_of_memory
from ghostyolo.model.model import Model
from ghostyolo.network import Network
from ghostyolo.network.weights_file import stored
from ghostyolo.training import precision
from ghostyolo.training.config import TrainConfig
from ghostyolo.training.ema import running_statistics
from ghostyolo.training.freezing import freeze, frozen_layers
from ghostyolo.training.state import State
from ghostyolo.training.task import DETECTION, Task

Run = Callable[[Tensor, frozenset[int]], dict[int, Tensor]]  # as Model.run


@dataclass(frozen=True)
class UpdateConfig:
    """How the gradient of an update is computed.

    subdivisions: number of forward passes. amp: dtype of the forward pass, None for float32. run:
    the compiled forward pass, None for `Model.run`. world: the ranks that share a batch. teacher:
    the network whose predictions replace the labels.
    """

    loss: LossConfig
    subdivisions: int = 1
    device: str = "cpu"
    amp: torch.dtype | None = None
    run: Run | None = None
    world: World = ALONE
    task: Task = DETECTION
    teacher: Model | None = None


def update_config(config: TrainConfig, world: World = ALONE) -> UpdateConfig:
    """Return how the gradient of each update of a run is computed.

    Raises `OptionError` where the ranks cannot share a batch, or the precision is unknown.
    """
    subdivisions = config.network.options.subdivisions
    part, left = divmod(config.batch, world.size)
    passes = math.ceil(subdivisions / world.size)  # each at most as large as in a single process
    if left or part % passes:
        passes_of = "" if left else f" in {subdivisions} subdivisions"
        message = f"{world.size} processes cannot share a batch of {config.batch}{passes_of}"
        hint = "give a --batch that is a multiple, and --set net.subdivisions=1"
        raise OptionError(message, hint=hint)
    teacher = None
    if config.teacher:
        teacher = Model(config.teacher.network, config.teacher.weights).requires_grad_(False)
        teacher.to(config.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    amp, loss = precision.dtype_of(config.amp, config.device), config.loss_config
    return UpdateConfig(loss, passes, config.device, amp, None, world, config.task, teacher)


def check_memory(config: TrainConfig, world: World = ALONE) -> None:
    """Raise `OptionError` if main memory is too small for the maps that a forward pass keeps.

    Counted are those of layers with trained weights, each once: a training needs more.
    """
    if torch.device(config.device).type != "cpu":
        return
    network, amp = config.network, precision.dtype_of(config.amp, config.device)
    trained = network.nodes[frozen_layers(network) :]
    values = sum(node.shape.size for node in trained if stored(network, node))
    pictures = min(network.options.mini_batch, config.batch // world.size)
    need = pictures * values * (amp or torch.float32).itemsize
    out_of_memory.check(need, batch=config.batch, size=network.options.size)


def gradient(
    state: State, images: Tensor, targets: Tensor, update: UpdateConfig
) -> dict[str, float]:
    """Compute the gradient of a batch, store it in the model, and return the terms of the loss.

    images: (B, 3, h, w), the part of this rank. targets: (M, columns); the first column is the
    index of a picture, see `Batches`. All ranks get the same gradient, that of the whole batch.
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
    update.world.total([*gradients(state.model), *sums])
    trained = state.model.layers[frozen_layers(state.model.network) :]
    update.world.mean(running_statistics(trained))  # each rank's are of its own pictures
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
    """Return the loss of a mini-batch, computed in float32 or float64."""
    outputs = _outputs(update.run or model.run, model.network, x, update)
    size = (x.shape[2], x.shape[3])
    if update.teacher is None:
        return update.loss.function(outputs, targets, size)
    with torch.no_grad():
        taught = _outputs(update.teacher.run, update.teacher.network, x, update)
    return update.task.distillation_loss(outputs, taught, size)


def _outputs(run: Run, network: Network, x: Tensor, update: UpdateConfig) -> Any:
    """Return the argument of the loss function, in float32 or float64, from one forward pass."""

    def forward(keep: frozenset[int]) -> dict[int, Tensor]:
        with precision.forward(update.amp, update.device):
            out = run(x, keep)
        return {i: y.to(torch.promote_types(y.dtype, torch.float32)) for i, y in out.items()}

    return update.task.outputs(network, forward)


def gradients(module: nn.Module) -> list[Tensor]:
    """Return the gradients of the parameters that have one."""
    return [p.grad for p in module.parameters() if p.grad is not None]


def _divide_and_clip(model: Model, divisor: Tensor, max_norm: float) -> Tensor:
    """Divide the gradient by the divisor of the loss, clip it, and return its norm before that."""
    tensors = gradients(model)
    norm = nn.utils.get_total_norm(tensors) / divisor
    factor = (max_norm / norm).clamp(max=1) / divisor
    torch._foreach_mul_(tensors, factor.to(tensors[0]))
    return norm
