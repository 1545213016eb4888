"""One update: forward, loss, backward, and what is added to the weights."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from ghostyolo.layers.yolo import Yolo
from ghostyolo.loss import Cost, HeadRun
from ghostyolo.model import Model
from ghostyolo.network import NetOptions
from ghostyolo.recipe import Recipe
from ghostyolo.schedule import learning_rate
from ghostyolo.state import State

PRIOR = 0.01  # objectness at the start; Lin et al., Focal Loss, ICCV 2017, section 4.1
_RATES = 4  # which stream of chance; the batches have others


def optimizer(model: Model, recipe: Recipe) -> torch.optim.SGD:
    """Return SGD as Darknet updates: decay on weights only, a rate factor per layer.

    Source: AlexeyAB/darknet src/convolutional_layer.c update_convolutional_layer.
    """
    options = model.network.options
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for node, layer in zip(model.network, model.layers, strict=True):
        for name, parameter in layer.named_parameters():
            decay = options.decay if name in node.layer.decayed else 0.0
            factor = node.layer.learning_rate
            if "share_index" not in dict(node.refs):
                groups.setdefault((factor, decay), []).append(parameter)
    return torch.optim.SGD(
        [
            {"params": parameters, "weight_decay": decay, "factor": factor * recipe.rate}
            for (factor, decay), parameters in groups.items()
        ],
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


def gradient(
    state: State, images: Tensor, truths: Tensor, recipe: Recipe, subdivisions: int, device: str
) -> dict[str, float]:
    """Leave a batch's gradient in the model and return the parts of its loss.

    images: (B, 3, h, w). truths: (M, 6), see `Batches`. subdivisions: forward passes it takes.
    """
    state.optimizer.zero_grad(set_to_none=True)
    share, costs = len(images) // subdivisions, []
    for part in range(subdivisions):
        low, high = part * share, (part + 1) * share
        x = images[low:high].to(device, memory_format=torch.channels_last)
        mine = truths[(truths[:, 0] >= low) & (truths[:, 0] < high)].to(device)
        mine[:, 0] -= low
        cost = cost_of(state.model, x, mine, recipe)
        cost.total.backward()
        costs.append(cost)
    count = torch.stack([cost.divisor for cost in costs]).sum()
    norm = _scale(state.model, count, recipe.clip)
    sums = [torch.stack([cost.parts[name] for cost in costs]).sum() for name in costs[0].parts]
    shown = torch.stack(sums) / count + 0 * norm  # no number if the gradient is none
    return dict(zip(costs[0].parts, shown.tolist(), strict=True))


def cost_of(model: Model, x: Tensor, truths: Tensor, recipe: Recipe) -> Cost:
    """Return what a forward pass of a mini-batch costs."""
    heads = [(node, head) for node, head in model.heads if isinstance(head, Yolo)]
    keep = frozenset(index for node, _ in heads for index in (node.index, *node.inputs))
    out = model.run(x, keep)
    runs = [HeadRun(head, out[node.inputs[0]], out[node.index]) for node, head in heads]
    return recipe.loss(runs, truths, (x.shape[2], x.shape[3]))


def _scale(model: Model, count: Tensor, clip: float) -> Tensor:
    """Divide the gradient by what the loss counted, shorten it to `clip`; return its norm."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients) / count
    factor = (clip / norm).clamp(max=1) / count
    torch._foreach_mul_(gradients, factor.to(gradients[0]))
    return norm
