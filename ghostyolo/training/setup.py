"""What a run starts from: the initial state, the optimizer, and how updates are computed."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import torch
from torch import nn

from ghostyolo.distributed import World
from ghostyolo.errors import OptionError
from ghostyolo.layers.yolo import Yolo
from ghostyolo.loss.base import LossConfig
from ghostyolo.model.model import Model
from ghostyolo.network.net_options import NetOptions
from ghostyolo.training import precision
from ghostyolo.training.config import TrainConfig
from ghostyolo.training.ema import Ema
from ghostyolo.training.gradient import UpdateConfig, freeze
from ghostyolo.training.schedule import learning_rate
from ghostyolo.training.state import State

PRIOR = 0.01  # objectness at the start; Lin et al., Focal Loss, ICCV 2017, section 4.1
ALONE = World()
_RATES = 4  # number of this stream of random numbers; `Batches` and the input sizes have others


def update_config(config: TrainConfig, world: World = ALONE) -> UpdateConfig:
    """Return how updates are computed.

    Raises `OptionError` where the ranks cannot share a batch, or the precision is unknown.
    """
    subdivisions = config.network.options.subdivisions
    part, left = divmod(config.batch, world.size)
    passes = math.ceil(subdivisions / world.size)  # of no more pictures than in one process
    if left or part % passes:
        passes_of = "" if left else f" in {subdivisions} subdivisions"
        message = f"{world.size} processes cannot share a batch of {config.batch}{passes_of}"
        hint = "give a --batch that is a multiple, and --set net.subdivisions=1"
        raise OptionError(message, hint=hint)
    amp, loss = precision.dtype_of(config.amp, config.device), config.loss_config
    update = UpdateConfig(loss, passes, config.device, amp, None, world, config.task)
    if config.teacher is None:
        return update
    teacher = Model(config.teacher.network, config.teacher.weights).eval().requires_grad_(False)
    teacher.to(config.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return dataclasses.replace(update, teacher=teacher)


def compiled(update: UpdateConfig, model: Model) -> UpdateConfig:
    """Return the update with a forward pass that torch compiles once for each input size."""
    return dataclasses.replace(update, run=torch.compile(model.run))


def initial_state(config: TrainConfig, world: World = ALONE) -> State:
    """Return the state before the first update, the same on all ranks."""
    model = Model(config.network)
    initialise_heads(model)  # before the weights are read: a partial file may end above the heads
    if config.weights:
        model.load_weights(config.weights)
        model.seen = 0
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = config.bn_momentum
    if world.size > 1 and torch.device(config.device).type == "cuda":
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    if world.size > 1:
        torch.manual_seed(config.seed + world.rank)  # so that dropout differs between ranks
    model.to(config.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    freeze(model.train())
    loss, amp = config.loss_config, precision.dtype_of(config.amp, config.device)
    ema = Ema(model, loss.ema * config.iterations) if loss.ema else None
    scaler = precision.scaler(amp, config.device)
    return State(model, optimizer(model, loss), ema, scaler)


def initialise_heads(model: Model) -> None:
    """Initialise the heads to an objectness of `PRIOR` everywhere, and equal classes."""
    for node, head in model.heads:
        feed = model.layers[node.inputs[0]]
        conv = getattr(feed, "conv", None)
        if isinstance(head, Yolo) and isinstance(conv, nn.Conv2d) and conv.bias is not None:
            nn.init.normal_(conv.weight, std=0.01)
            bias = conv.bias.detach().view(len(head.mask), -1)
            bias.zero_()
            bias[:, 4] = -math.log((1 - PRIOR) / PRIOR)


def optimizer(model: Model, loss: LossConfig) -> torch.optim.Optimizer:
    """Return Darknet's optimizer: SGD, or with `[net] adam` Adam; a learning rate for each layer.

    SGD decays weights only, Adam all parameters. Darknet's Adam receives sums over the batch, not
    means; only eps and the decay depend on that, and they are scaled to match. The learning rate
    factor of a loss applies to SGD.
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
    loss_factor = 1.0 if options.adam else loss.learning_rate_factor
    settings: list[dict[str, Any]] = [
        {"params": parameters, "weight_decay": decay, "factor": factor * loss_factor}
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
        nesterov=loss.nesterov and options.momentum > 0,
        fused=True,
    )


def set_learning_rate(state: State, options: NetOptions, seed: int = 0) -> float:
    """Set the learning rate of the next update and return it; seed: for policy=random."""
    rng = np.random.default_rng((seed, _RATES, state.iteration))
    rate = learning_rate(options, state.iteration + 1, rng)
    for group in state.optimizer.param_groups:
        group["lr"] = rate * group["factor"]
    return rate
