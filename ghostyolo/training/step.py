"""One update: forward, loss, backward, and what is added to the weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ghostyolo.distributed import World
from ghostyolo.layers.yolo import Yolo
from ghostyolo.loss import Cost
from ghostyolo.model.model import Model
from ghostyolo.network import Network
from ghostyolo.network.net_options import NetOptions
from ghostyolo.training import precision
from ghostyolo.training.recipe import Recipe
from ghostyolo.training.schedule import learning_rate
from ghostyolo.training.state import State
from ghostyolo.training.task import DETECTION, Task

PRIOR = 0.01  # objectness at the start; Lin et al., Focal Loss, ICCV 2017, section 4.1
_RATES = 4  # which stream of chance; the batches have others
Run = Callable[[Tensor, frozenset[int]], dict[int, Tensor]]  # as Model.run


@dataclass(frozen=True)
class Step:
    """How an update is made.

    subdivisions: forward passes it takes. amp: dtype of the forward pass, None for the weights'
    own. run: what computes it, if not the model as it is. world: who else has a part in it. task:
    what is learned. teacher: from whom, if not from labels.
    """

    recipe: Recipe
    subdivisions: int = 1
    device: str = "cpu"
    amp: torch.dtype | None = None
    run: Run | None = None
    world: World = field(default_factory=World)
    task: Task = DETECTION
    teacher: Model | None = None


def optimizer(model: Model, recipe: Recipe) -> torch.optim.Optimizer:
    """Return what updates as Darknet does: SGD, or with `[net] adam` Adam; a factor per layer.

    SGD decays weights only, Adam everything. In Darknet Adam receives sums over the batch; it does
    not notice, but for eps and the decay, which are made to fit. A recipe's rate is for SGD.
    Source: AlexeyAB/darknet src/convolutional_layer.c update_convolutional_layer, src/blas_kernels
    adam_update_gpu.
    """
    options = model.network.options
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for node, layer in zip(model.network, model.layers, strict=True):
        for name, parameter in layer.named_parameters():
            decay = options.decay if options.adam or name in node.layer.decayed else 0.0
            factor = node.layer.learning_rate
            if node.shares_with is None and parameter.requires_grad:
                groups.setdefault((factor, decay), []).append(parameter)
    rate = 1.0 if options.adam else recipe.rate
    settings: list[dict[str, Any]] = [
        {"params": parameters, "weight_decay": decay, "factor": factor * rate}
        for (factor, decay), parameters in groups.items()
    ]
    if options.adam:
        betas, batch = (options.B1, options.B2), options.mini_batch * options.subdivisions
        eps = options.eps / batch
        return torch.optim.Adam(settings, options.learning_rate, betas, eps, fused=True)
    return torch.optim.SGD(
        settings,
        lr=options.learning_rate,
        momentum=options.momentum,
        nesterov=recipe.nesterov and options.momentum > 0,
        fused=True,
    )


def initialise_heads(model: Model) -> None:
    """Let untrained heads expect an object in one slot of a hundred, and no class over another."""
    for node, head in model.heads:
        feed = model.layers[node.inputs[0]]
        conv = getattr(feed, "conv", None)
        if isinstance(head, Yolo) and isinstance(conv, nn.Conv2d) and conv.bias is not None:
            nn.init.normal_(conv.weight, std=0.01)
            bias = conv.bias.detach().view(len(head.mask), -1)
            bias.zero_()
            bias[:, 4] = -math.log((1 - PRIOR) / PRIOR)


def set_rate(state: State, options: NetOptions, seed: int = 0) -> float:
    """Set the learning rate of the next update and return it; seed: of policy=random."""
    rng = np.random.default_rng((seed, _RATES, state.iteration))
    rate = learning_rate(options, state.iteration + 1, rng)
    for group in state.optimizer.param_groups:
        group["lr"] = rate * group["factor"]
    return rate


def gradient(state: State, images: Tensor, truths: Tensor, step: Step) -> dict[str, float]:
    """Leave a batch's gradient in the model and return the parts of its loss.

    images: (B, 3, h, w), this process's share. truths: of which the first column is the index of
    a picture, see `Batches`. All processes get the same.
    """
    state.optimizer.zero_grad(set_to_none=True)
    freeze(state.model)
    costs = []
    for x, mine in mini_batches(images, truths, step):
        cost = cost_of(state.model, x, mine, step)
        state.scaler.scale(cost.total).backward()
        costs.append(cost)
    names = list(costs[0].parts)
    columns = [[cost.divisor for cost in costs]]
    columns += [[cost.parts[name] for cost in costs] for name in names]
    sums = [torch.stack(column).sum() for column in columns]
    step.world.total([*_gradients(state.model), *sums])
    step.world.mean(_statistics(state.model))
    state.scaler.unscale_(state.optimizer)
    norm = _scale(state.model, sums[0], step.recipe.clip)
    shown = torch.stack(sums[1:]) / sums[0] + 0 * norm  # no number if the gradient is none
    return dict(zip(names, shown.tolist(), strict=True))


def mini_batches(images: Tensor, truths: Tensor, step: Step) -> list[tuple[Tensor, Tensor]]:
    """Return the inputs of an update's forward passes, on their device, levels from 0 to 1."""
    share, parts = len(images) // step.subdivisions, []
    for low in range(0, share * step.subdivisions, share):
        x = images[low : low + share]
        x = x.to(step.device, memory_format=torch.channels_last, non_blocking=True)
        x = x / 255 if x.dtype == torch.uint8 else x
        mine = truths[(truths[:, 0] >= low) & (truths[:, 0] < low + share)]
        mine[:, 0] -= low
        parts.append((x, mine.to(step.device, non_blocking=True)))
    return parts


def cost_of(model: Model, x: Tensor, truths: Tensor, step: Step) -> Cost:
    """Return what a forward pass of a mini-batch costs; the loss is in float32 at least."""
    runs, size = _runs(step.run or model.run, model.network, x, step), (x.shape[2], x.shape[3])
    if step.teacher is None:
        return step.recipe.loss(runs, truths, size)
    with torch.no_grad():
        shown = _runs(step.teacher.run, step.teacher.network, x, step)
    return step.task.imitate(runs, shown, size)


def _runs(run: Run, network: Network, x: Tensor, step: Step) -> Any:
    """Return what a loss takes of a forward pass."""
    with precision.forward(step.amp, step.device):
        out = run(x, step.task.keep(network))
    out = {i: y.to(torch.promote_types(y.dtype, torch.float32)) for i, y in out.items()}
    return step.task.runs(network, out)


def freeze(model: Model) -> None:
    """Leave the layers up to the last `stopbackward=1` as they are, running statistics included.

    Source: AlexeyAB/darknet src/network.c backward_network, src/parser.c. There, decay still
    shrinks the weights of that last layer.
    """
    stops = [node.index for node in model.network if node.layer.stopbackward]
    for layer in model.layers[: max(stops, default=-1) + 1]:
        layer.eval().requires_grad_(False)


def _gradients(model: Model) -> list[Tensor]:
    return [p.grad for p in model.parameters() if p.grad is not None]


def _statistics(model: Model) -> list[Tensor]:
    """Return the running statistics, which each process takes from its own pictures."""
    return [buffer for buffer in model.buffers() if buffer.is_floating_point()]


def _scale(model: Model, count: Tensor, clip: float) -> Tensor:
    """Divide the gradient by what the loss counted, shorten it to `clip`; return its norm."""
    gradients = _gradients(model)
    norm = torch.nn.utils.get_total_norm(gradients) / count
    factor = (clip / norm).clamp(max=1) / count
    torch._foreach_mul_(gradients, factor.to(gradients[0]))
    return norm
