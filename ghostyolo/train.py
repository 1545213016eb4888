"""Training: the cfg's `[net]` and `[yolo]`, Darknet's loss and update rule, one visible loop.

Everything that changes while training lies in `State`, which is saved and restored whole.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ghostyolo import evaluate, report
from ghostyolo.data import Dataset
from ghostyolo.data.augment import Augmentation
from ghostyolo.data.batches import Batches
from ghostyolo.errors import GhostyoloError, OptionError, Span
from ghostyolo.files import replace
from ghostyolo.layers.yolo import Yolo
from ghostyolo.limits import check
from ghostyolo.loss.darknet import loss as darknet_loss
from ghostyolo.model import Model
from ghostyolo.network import NetOptions, Network, dumps
from ghostyolo.schedule import input_size, learning_rate
from ghostyolo.state import State

PRIOR = 0.01  # objectness at the start; Lin et al., Focal Loss, ICCV 2017, section 4.1
_SCALES, _RATES = 3, 4  # which stream of chance; the batches have others


class NanError(GhostyoloError):
    """The loss or a weight stopped being a number."""


@dataclass(frozen=True)
class TrainConfig:
    """What a run is made of. network: as trained, its `[net]` included.

    folder: where weights, checkpoint and curves go. val_every, save_every: in iterations; 0 means
    at the end only. bn_momentum: share of a new batch in the running statistics.
    """

    network: Network
    train: Dataset
    val: Dataset | None
    folder: Path
    seed: int = 0
    workers: int = 0
    device: str = "cpu"
    val_every: int = 0
    save_every: int = 0
    bn_momentum: float = 0.1

    @property
    def iterations(self) -> int:
        """Return the length of the run."""
        return self.network.options.max_batches

    @property
    def batch(self) -> int:
        """Return the pictures of an update."""
        options = self.network.options
        return options.mini_batch * options.subdivisions


class Observer(Protocol):
    """Who watches a run."""

    def step(self, state: State, rate: float, images_per_second: float) -> None:
        """Hear of an update; raise KeyboardInterrupt to save the run and leave it there."""

    def validated(self, row: dict[str, float]) -> None:
        """Hear of a validation."""


def train(
    config: TrainConfig, observer: Observer, *, resume: bool = False, weights: str | None = None
) -> State:
    """Train a detector and return the last state.

    weights: a `.weights` file to start from. Writes into `config.folder`: model.cfg, model.names,
    last.weights, best.weights (by AP on val), checkpoint.pt, results.csv and curve.png.
    Raises `CfgError` for keys that training cannot honour, `NanError` when the loss is no number.
    An interruption that does not come from the observer may tear an update, so nothing is saved.
    """
    options, size_of = config.network.options, _sizes(config)
    check(config.network)
    torch.manual_seed(config.seed)
    state = start(config, weights)
    if resume:
        state.restore(config.folder / "checkpoint.pt", _identity(config))
    batches = Batches(
        config.train,
        augmentation(config.network),
        config.batch,
        size_of,
        config.seed,
        config.workers,
    )
    _describe(config)
    clock = time.monotonic()
    for images, truths in batches.iterate(state.iteration, config.iterations):
        rate = set_rate(state, options, config.seed)
        cost = gradient(state, images, truths, options.subdivisions, config.device)
        _check(math.isfinite(cost), f"the loss is {cost}", state, config)
        state.optimizer.step()
        state.iteration += 1
        _check(_is_finite(state.model), "a weight is no number", state, config)
        state.loss = cost if math.isnan(state.loss) else 0.9 * state.loss + 0.1 * cost
        speed = len(images) / max(time.monotonic() - clock, 1e-9)
        if _due(state, config, config.val_every):
            row = _validate(state, config, rate)
            _save(state, config)
            observer.validated(row)
        elif config.save_every and state.iteration % config.save_every == 0:
            _save(state, config)
        try:
            observer.step(state, rate, speed)
        except KeyboardInterrupt:
            _save(state, config)
            raise
        clock = time.monotonic()
    return state


def start(config: TrainConfig, weights: str | None = None) -> State:
    """Return the state before the first update."""
    model = Model(config.network)
    initialise_heads(model)  # also before a partial file, which ends above them
    if weights:
        model.load_weights(weights)
        model.seen = 0
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = config.bn_momentum
    model.to(config.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return State(model.train(), optimizer(model))


def optimizer(model: Model) -> torch.optim.SGD:
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
            {"params": parameters, "weight_decay": decay, "factor": factor}
            for (factor, decay), parameters in groups.items()
        ],
        lr=options.learning_rate,
        momentum=options.momentum,
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


def gradient(state: State, images: Tensor, truths: Tensor, subdivisions: int, device: str) -> float:
    """Accumulate the gradient of a batch, mean over its pictures, and return Darknet's loss.

    images: (B, 3, h, w). truths: (M, 6), see `Batches`. subdivisions: forward passes it takes.
    """
    state.optimizer.zero_grad(set_to_none=True)
    share, total = len(images) // subdivisions, 0.0
    for part in range(subdivisions):
        low, high = part * share, (part + 1) * share
        x = images[low:high].to(device, memory_format=torch.channels_last)
        mine = truths[(truths[:, 0] >= low) & (truths[:, 0] < high)].to(device)
        mine[:, 0] -= low
        cost = cost_of(state.model, x, mine)
        (cost / len(images)).backward()
        total += float(cost.detach())
    return total / len(images) / len(state.model.heads)


def cost_of(model: Model, x: Tensor, truths: Tensor) -> Tensor:
    """Return the sum of the heads' losses over a mini-batch."""
    heads = [(node, head) for node, head in model.heads if isinstance(head, Yolo)]
    keep = frozenset(index for node, _ in heads for index in (node.index, *node.inputs))
    out = model.run(x, keep)
    size = (x.shape[2], x.shape[3])
    costs = [
        head.delta_normalizer
        * darknet_loss(head, out[node.inputs[0]], out[node.index], truths, size)[0]
        for node, head in heads
    ]
    return torch.stack(costs).sum()


def augmentation(network: Network) -> Augmentation:
    """Return how the cfg wants pictures changed; jitter and resize are the last head's."""
    options = network.options
    last = [node.layer for node in network if isinstance(node.layer, Yolo)][-1]
    return Augmentation(
        jitter=last.jitter,
        resize=last.resize,
        flip=bool(options.flip),
        hue=options.hue,
        saturation=options.saturation,
        exposure=options.exposure,
        letter_box=bool(options.letter_box),
    )


def _sizes(config: TrainConfig) -> Callable[[int], tuple[int, int]]:
    """Return the input size as a function of the iteration; ten share one."""
    options = config.network.options
    random = [node.layer.random for node in config.network if isinstance(node.layer, Yolo)][-1:]

    def size(iteration: int) -> tuple[int, int]:
        rng = np.random.default_rng((config.seed, _SCALES, iteration // 10))
        return input_size(options, random[0] if random else 0, iteration, rng)

    return size


def _check(sound: bool, fault: str, state: State, config: TrainConfig) -> None:
    """Raise `NanError` unless all is sound; what was saved before stays."""
    if not sound:
        last = config.folder / "last.weights"
        kept = f"{last} holds what was good; " if last.exists() else ""
        hint = f"{kept}lower the rate with --set net.learning_rate=..."
        message = f"{fault} after iteration {state.iteration}"
        raise NanError(message, span=Span(config.train.path), hint=hint)


def _is_finite(model: Model) -> bool:
    sums = [parameter.detach().sum() for parameter in model.parameters()]
    return bool(torch.stack(sums).isfinite().all())


def _due(state: State, config: TrainConfig, every: int) -> bool:
    return state.iteration == config.iterations or bool(every and state.iteration % every == 0)


def _validate(state: State, config: TrainConfig, rate: float) -> dict[str, float]:
    """Measure, note a row of results, and keep the best weights."""
    row = {
        "iteration": state.iteration,
        "epoch": state.iteration * config.batch / len(config.train),
        "loss": state.loss,
        "rate": rate,
    }
    if config.val is not None:
        scores = evaluate.evaluate(state.model.detector(**evaluate.LIMITS), config.val).mean
        row |= {"AP": scores.ap, "AP50": scores.ap50, "AP75": scores.ap75, "VOC": scores.voc_area}
        row = {key: float(value) for key, value in row.items()}  # a checkpoint holds no numpy
        state.model.train()
    state.rows.append(row)
    state.model.seen = state.iteration * config.batch
    score = row.get("AP", 0.0)
    score = 0.0 if math.isnan(score) else score  # no truths to count
    if score >= state.best or config.val is None:
        state.best = score
        state.model.save_weights(config.folder / "best.weights")
    report.write_rows(config.folder / "results.csv", state.rows)
    report.curve(config.folder / "curve.png", state.rows)
    return row


def _save(state: State, config: TrainConfig) -> None:
    state.model.seen = state.iteration * config.batch
    state.model.save_weights(config.folder / "last.weights")
    state.save(config.folder / "checkpoint.pt", _identity(config))


def _identity(config: TrainConfig) -> dict[str, str]:
    """Return what must be the same for a run to go on exactly."""
    data = config.train
    return {
        "cfg": dumps(config.network),
        "data set": f"{data.path} {data.split} {len(data)}",
        "list of names": "\n".join(data.names),
        "seed": str(config.seed),
        "batch norm momentum": str(config.bn_momentum),
    }


def _describe(config: TrainConfig) -> None:
    """Make the folder and write into it what the run is made of. Raises `OptionError`."""
    try:
        config.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message, hint = f"cannot make it: {error.strerror}", "give a folder that can be written"
        raise OptionError(message, span=Span(str(config.folder)), hint=hint) from None
    replace(config.folder / "model.cfg", [dumps(config.network).encode()])
    names = "".join(f"{name}\n" for name in config.train.names)
    replace(config.folder / "model.names", [names.encode()])
