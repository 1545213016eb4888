"""Everything that changes during training: its initial values, checkpoints, and the optimizer."""

from __future__ import annotations

import io
import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch
from torch import nn
from torch.amp import GradScaler

from ghostyolo.convert.pretrained import load_start
from ghostyolo.distributed import ALONE, World
from ghostyolo.errors import OptionError, Span, WeightsError
from ghostyolo.files import opened, replace
from ghostyolo.loss.base import LossConfig
from ghostyolo.model.model import Model
from ghostyolo.network.net_options import NetOptions
from ghostyolo.training import label_record, muon, precision
from ghostyolo.training.config import TrainConfig
from ghostyolo.training.ema import Ema
from ghostyolo.training.folder import is_empty
from ghostyolo.training.freezing import freeze, frozen_layers
from ghostyolo.training.schedule import learning_rate

RngState = dict[str, torch.Tensor]  # of torch's random number generators, by device

VERSION = 2  # of the format of a checkpoint
# keys of version 1, which has no key "version"
_RENAMED = {"chances": "rng_states", "noted": "defects"}
_RATES = 4  # number of this stream of random numbers; `Batches` and the input sizes have others
_VALUES = ("iteration", "best", "stale", "skipped", "parts", "rows", "seconds", "defects")
_PARTS = ("model", "optimizer", "ema", "scaler")
_KEYS = {"identity", "rng_states", *_PARTS, *_VALUES}


@dataclass
class State:
    """Everything that changes during training; all of it but network and start is in a checkpoint.

    ema: the moving average of the weights, if the loss has one; it is validated and saved instead
    of the weights. scaler: of the gradient, in fp16. iteration: number of updates done. best:
    highest score on val. stale: number of validations since then. skipped: number of consecutive
    updates whose gradient overflowed fp16. parts: terms of the loss by name, smoothed as Darknet
    smooths the loss that it prints; `loss` is their sum. rows: of results.csv. seconds: time spent,
    by phase. defects: of the training pictures, each as path and defect. start: SHA-256 of the file
    that the weights started from, "" if they were random.
    """

    model: Model
    optimizer: torch.optim.Optimizer
    ema: Ema | None = None
    scaler: GradScaler = field(default_factory=lambda: GradScaler("cpu", enabled=False))
    iteration: int = 0
    best: float = -1.0
    stale: int = 0
    skipped: int = 0
    parts: dict[str, float] = field(default_factory=dict)
    rows: list[dict[str, float]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    defects: list[tuple[str, str]] = field(default_factory=list)
    start: str = ""

    @property
    def loss(self) -> float:
        """Return the smoothed loss, NaN before the first update."""
        return sum(self.parts.values()) if self.parts else math.nan

    def advance(self, parts: dict[str, float]) -> None:
        """Update the weights by the gradient in the model; parts: the terms of its loss.

        If the gradient overflowed fp16, only its scale is lowered. `GradScaler.step` is not used:
        if it skips the first update, fused SGD continues with uninitialised momentum.
        """
        finite = all(map(math.isfinite, parts.values()))
        self.scaler.update()
        self.iteration += 1
        self.skipped = 0 if finite else self.skipped + 1
        if not finite:
            return
        self.optimizer.step()
        self._clamp()
        if self.ema:
            self.ema.update()
        self.parts = {k: 0.9 * self.parts.get(k, part) + 0.1 * part for k, part in parts.items()}

    def record_score(self, score: float) -> bool:
        """Record the score of a validation; return whether it is the highest or equal to it."""
        self.stale = 0 if score > self.best else self.stale + 1
        if score < self.best:
            return False
        self.best = score
        return True

    def averaged(self) -> AbstractContextManager[None]:
        """Return a context in which the model has the averaged weights, if there are any."""
        return self.ema.applied() if self.ema else nullcontext()

    def save_weights(self, path: Path, batch: int) -> None:
        """Write the weights of the model; batch: the batch size."""
        self.model.seen = self.iteration * batch
        self.model.save_weights(path)

    def rng_state(self) -> RngState:
        """Return the states of torch's random number generators."""
        states = {"cpu": torch.get_rng_state()}
        if self.model.device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state()
        return states

    def save(self, path: Path, config: TrainConfig, rng_states: list[RngState]) -> None:
        """Write a checkpoint. rng_states: of every rank."""
        content = {
            "version": VERSION,
            "identity": config.identity(len(rng_states)),
            "labels": config.labels,
            **{name: part.state_dict() if part else None for name, part in self._parts().items()},
            "rng_states": rng_states,
            **{name: getattr(self, name) for name in _VALUES},
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        replace(path, [buffer.getbuffer()])

    def restore(self, path: Path, config: TrainConfig, world: World = ALONE) -> None:
        """Restore a checkpoint, with the random number generators of this rank.

        Raises `WeightsError` if the file is not a checkpoint that can be read, `OptionError` if it
        belongs to another run, or to one with other labels.
        """
        content, identity = _read(path), config.identity(world.size)
        folders = (each["data set"].rpartition(" ")[0] for each in (content["identity"], identity))
        if len(set(folders)) == 1:  # another one is refused below
            label_record.check(content.get("labels"), config.splits, path)
        adam = config.network.options.adam  # older checkpoints do not tell these two
        later = {"decoding": identity["decoding"], "optimizer": "adam" if adam else "sgd"}
        own = later | content["identity"]
        for name, value in identity.items():
            if own.get(name) != value:
                hint = "resume with the options that the run was started with"
                hint += f": --optimizer {own[name]}" * (name == "optimizer")
                raise OptionError(f"the run has another {name}", span=Span(str(path)), hint=hint)
        for name, part in self._parts().items():
            if part:
                part.load_state_dict(content[name])
        for name in _VALUES:
            setattr(self, name, content[name])
        rng_state = content["rng_states"][world.rank]
        torch.set_rng_state(rng_state["cpu"])
        if "cuda" in rng_state:
            torch.cuda.set_rng_state(rng_state["cuda"])

    def _parts(self) -> dict[str, Any]:
        """Return the objects that have a state dict, by key in a checkpoint."""
        return {name: getattr(self, name) for name in _PARTS}

    def _clamp(self) -> None:
        """Clamp weights to the `clip` of their layer.

        Source: AlexeyAB/darknet src/convolutional_kernels.cu update_convolutional_layer_gpu.
        """
        first = frozen_layers(self.model.network)
        for node, module in zip(self.model.network, self.model.layers, strict=True):
            if node.layer.clip and node.index >= first:
                for name in node.layer.clipped:
                    module.get_parameter(name).data.clamp_(-node.layer.clip, node.layer.clip)


def _read(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint, with its keys renamed to those of this version."""
    span = Span(str(path))
    try:
        _check_sums(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
        content = {_RENAMED.get(key, key): value for key, value in content.items()}
        version = int(content.get("version", 1))
        damaged = not content.keys() >= _KEYS
    except FileNotFoundError:
        hint = "start it without --resume"
        if not is_empty(path.parent):
            hint = "it was deleted, so start anew with another --name"
        raise OptionError("no checkpoint to resume", span=span, hint=hint) from None
    except Exception:  # torch raises exceptions of many types for a damaged file
        version, damaged = 0, True
    if version > VERSION:
        message = f"the checkpoint has format version {version}, this program reads up to {VERSION}"
        raise WeightsError(message, span=span, hint="resume with the ghostyolo that wrote it")
    if damaged:
        message, hint = "not a checkpoint, or a damaged one", "start the run anew"
        raise WeightsError(message, span=span, hint=hint)
    return content


def _check_sums(path: Path) -> None:
    """Raise an exception unless all parts of a checkpoint have the checksums that it states.

    It is a zip archive, which holds a CRC-32 of each part. torch writes them and does not check
    them.
    """
    with opened(path) as file, ZipFile(file) as archive:
        if damaged := archive.testzip():
            raise BadZipFile(damaged)


def initial_state(config: TrainConfig, world: World = ALONE) -> State:
    """Return the state before the first update, the same on all ranks."""
    model = Model(config.network)
    model.initialise_heads()  # before loading: a file of the backbone has no weights of the heads
    start = load_start(model, config.weights) if config.weights else ""
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
    return State(model, optimizer(model, loss, config.optimizer_name), ema, scaler, start=start)


def optimizer(model: Model, loss: LossConfig, name: str = "sgd") -> torch.optim.Optimizer:
    """Return an optimizer with a learning rate for each layer. name: "sgd", "muon" or "adam".

    SGD and Muon decay weights only, Adam all parameters. The gradients of Darknet's Adam are sums
    over the batch; here they are means, so eps is divided by the batch size. The learning rate
    factors of a loss apply to SGD and Muon only.
    Source: AlexeyAB/darknet src/convolutional_layer.c update_convolutional_layer, src/blas_kernels
    adam_update_gpu.
    """
    options = model.network.options
    matrices = muon.matrices(model.network) if name == "muon" else frozenset()
    groups: dict[tuple[float, float, bool], list[nn.Parameter]] = {}
    for node, layer in zip(model.network, model.layers, strict=True):
        for key, parameter in layer.named_parameters():
            decay = options.decay if name == "adam" or key in node.layer.decayed else 0.0
            matrix = node.index in matrices and key == muon.WEIGHT
            if node.shares_with is None and parameter.requires_grad:
                kind = (node.layer.learning_rate, decay, matrix)
                groups.setdefault(kind, []).append(parameter)
    factors = {False: 1.0 if name == "adam" else loss.learning_rate_factor, True: loss.muon_factor}
    settings: list[dict[str, Any]] = [
        {
            "params": parameters,
            "weight_decay": decay * (muon.DECAY if matrix else 1),
            "factor": factor * factors[matrix],
            "matrices": matrix,
        }
        for (factor, decay, matrix), parameters in groups.items()
    ]
    if name == "adam":
        betas, batch = (options.B1, options.B2), options.mini_batch * options.subdivisions
        eps = options.eps / batch
        return torch.optim.Adam(settings, options.learning_rate, betas, eps, fused=True)
    return muon.Muon(
        settings,
        lr=options.learning_rate,
        momentum=options.momentum,
        nesterov=loss.nesterov and options.momentum > 0,
        fused=True,
    )


def set_learning_rate(state: State, options: NetOptions, seed: int = 0) -> float:
    """Set the learning rate of the next update and return it. seed: for policy=random."""
    rng = np.random.default_rng((seed, _RATES, state.iteration))
    rate = learning_rate(options, state.iteration + 1, rng)
    for group in state.optimizer.param_groups:
        group["lr"] = rate * group["factor"]
    return rate
