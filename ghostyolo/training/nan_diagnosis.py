"""Diagnosis of a loss that is not finite: the pictures, and the first layer that is not finite."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

from ghostyolo.errors import GhostyoloError, Span
from ghostyolo.files import replace
from ghostyolo.model.model import Model
from ghostyolo.network import Node
from ghostyolo.network.model_files import LAST
from ghostyolo.training import precision
from ghostyolo.training.config import TrainConfig
from ghostyolo.training.gradient import UpdateConfig, gradients, mini_batch_loss, mini_batches
from ghostyolo.training.state import State

MAX_SKIPPED = 32  # consecutive updates in fp16; after these the scale of 2^16 is far below 1
SHOWN = 3  # pictures named in the message; the file lists all
REPORT = "nan.txt"


class NanError(GhostyoloError):
    """The loss, its gradient or a weight is not finite."""


def usable(state: State, parts: dict[str, float]) -> bool:
    """Return whether the loss is finite, or the fp16 scaler may skip this update."""
    finite = all(map(math.isfinite, parts.values()))
    return finite or (state.scaler.is_enabled() and state.skipped < MAX_SKIPPED)


@dataclass(frozen=True)
class Batch:
    """The input of an update on one rank: images, targets and the paths of the pictures."""

    images: Tensor
    targets: Tensor
    paths: list[str]


def nan_error(
    state: State, config: TrainConfig, update: UpdateConfig, batch: Batch, parts: dict[str, float]
) -> NanError:
    """Return the error for a batch whose loss or gradient is not finite, with its cause.

    Writes the paths of the pictures into the folder of the run. Files saved before are kept.
    """
    found = update.world.gather((find_cause(state.model, batch, update), batch.paths))
    causes = [cause for cause, _ in found if cause]
    cause = causes[0] if causes else "the loss is finite when computed again, so check the hardware"
    paths = [path for _, some in found for path in some]
    named = ", ".join(f"{name} {value}" for name, value in parts.items())
    message = f"the loss is not finite after iteration {state.iteration} ({named}): {cause}"
    if update.world.first:
        lines = [f"{message}\n", *(f"{path}\n" for path in paths)]
        replace(config.folder / REPORT, [line.encode() for line in lines])
    update.world.wait()
    shown = ", ".join(paths[:SHOWN])
    more = f" and {len(paths) - SHOWN} more in {config.folder / REPORT}"
    message += f"; its pictures: {shown}{more if len(paths) > SHOWN else ''}"
    last = config.folder / LAST
    kept = f"{last} has the last finite weights" if last.exists() else "nothing had been saved"
    hint = f"{kept}; lower the learning rate with --set net.learning_rate=..."
    return NanError(message, span=Span(config.train.path), hint=hint)


def find_cause(model: Model, batch: Batch, update: UpdateConfig) -> str:
    """Compute a batch again and return the first value that is not finite; "" if all are finite.

    They are checked in this order: the input, the outputs of layers, the loss, the gradients of
    layers (from the last layer to the first, as the backward pass computes them), the weights.
    """
    model.zero_grad(set_to_none=True)
    for x, targets in mini_batches(batch.images, batch.targets, update):
        if not _finite(x):
            return "the pictures are not finite"
        with precision.forward(update.amp, update.device):
            outputs = model.run(x, frozenset(range(len(list(model.network)))))
        for node in model.network:
            if not _finite(outputs[node.index]):
                return _described(node, "output", model)
        loss = mini_batch_loss(model, x, targets, update)
        if not _finite(loss.total):
            return "the outputs of all layers are finite, but the loss is not"
        loss.total.backward()
    for what, tensors_of in (("gradient", gradients), ("weight", _weights)):
        order = reversed(list(model.network)) if what == "gradient" else iter(model.network)
        for node in order:
            if not all(map(_finite, tensors_of(model.layers[node.index]))):
                return _described(node, what, model)
    return ""


def _described(node: Node, what: str, model: Model) -> str:
    place = f" ({node.span})" if node.span else ""
    line = f"first in the {what} of layer {node.index} [{node.layer.kind}]{place}"
    finite = all(map(_finite, _weights(model.layers[node.index])))
    return line if finite or what == "weight" else f"{line}, whose weights are not finite either"


def _weights(module: nn.Module) -> list[Tensor]:
    return [p.detach() for p in module.parameters()]


def _finite(tensor: Tensor) -> bool:
    return bool(tensor.detach().isfinite().all())
