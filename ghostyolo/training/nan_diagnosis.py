"""Where a loss that is no number came from: the pictures and the first layer at fault."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

from ghostyolo.errors import GhostyoloError, Span
from ghostyolo.files import replace
from ghostyolo.model.model import Model
from ghostyolo.network import Node
from ghostyolo.training.config import TrainConfig
from ghostyolo.training.state import State
from ghostyolo.training.step import Step, cost_of, mini_batches

MOST_SKIPPED = 32  # updates in a row that fp16 may skip: its scale of 2^16 is then below any use
SHOWN = 3  # pictures in the message; the file has all
REPORT = "nan.txt"


class NanError(GhostyoloError):
    """The loss or a weight stopped being a number."""


def sound(state: State, parts: dict[str, float]) -> bool:
    """Return whether a gradient may be used, or be left to the scaler, which skips it."""
    finite = all(map(math.isfinite, parts.values()))
    return finite or (state.scaler.is_enabled() and state.skipped < MOST_SKIPPED)


@dataclass(frozen=True)
class Batch:
    """An update's input as one process has it: images, truths and where the pictures lie."""

    images: Tensor
    truths: Tensor
    paths: list[str]


def failure(
    state: State, config: TrainConfig, step: Step, batch: Batch, parts: dict[str, float]
) -> NanError:
    """Return the error for a batch whose loss or gradient is not finite, after a look into it.

    Writes the pictures of the batch into the run's folder; what was saved before stays.
    """
    found = step.world.gather((origin(state.model, batch, step), batch.paths))
    causes = [cause for cause, _ in found if cause]
    cause = causes[0] if causes else "computed again it is one, so look at the hardware"
    paths = [path for _, some in found for path in some]
    named = ", ".join(f"{name} {value}" for name, value in parts.items())
    message = f"the loss is no number after iteration {state.iteration} ({named}): {cause}"
    if step.world.first:
        lines = [f"{message}\n", *(f"{path}\n" for path in paths)]
        replace(config.folder / REPORT, [line.encode() for line in lines])
    step.world.wait()
    shown = ", ".join(paths[:SHOWN])
    more = f" and {len(paths) - SHOWN} more in {config.folder / REPORT}"
    message += f"; its pictures: {shown}{more if len(paths) > SHOWN else ''}"
    last = config.folder / "last.weights"
    kept = f"{last} holds what was good" if last.exists() else "nothing had been saved"
    hint = f"{kept}; lower the rate with --set net.learning_rate=..."
    return NanError(message, span=Span(config.train.path), hint=hint)


def origin(model: Model, batch: Batch, step: Step) -> str:
    """Compute a batch again and say which layer has the first output that is not finite.

    If all are, which has the first gradient, in the order in which they are computed; else which
    weight. Empty if everything is finite.
    """
    model.zero_grad(set_to_none=True)
    for x, truths in mini_batches(batch.images, batch.truths, step):
        if not _finite(x):
            return "the pictures themselves"
        with _watched(model) as bad:
            cost = cost_of(model, x, truths, _plain(step))
        if bad:
            return _told(bad[0], "output", model)
        if not _finite(cost.total):
            return "all layers give numbers, the loss makes none of them"
        cost.total.backward()
    for what, tensor_of in (("gradient", _gradient), ("weight", _value)):
        order = reversed(list(model.network)) if what == "gradient" else iter(model.network)
        for node in order:
            if not all(map(_finite, tensor_of(model.layers[node.index]))):
                return _told(node, what, model)
    return ""


def _plain(step: Step) -> Step:
    """Return the step without compilation, whose code has no layers to look at."""
    return dataclasses.replace(step, run=None)


@contextmanager
def _watched(model: Model) -> Iterator[list[Node]]:
    """Collect the nodes whose outputs are not finite inside the block, in their order."""
    bad: list[Node] = []

    def look(node: Node) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
            if not _finite(output):
                bad.append(node)

        return hook

    pairs = zip(model.network, model.layers, strict=True)
    hooks = [layer.register_forward_hook(look(node)) for node, layer in pairs]
    try:
        yield bad
    finally:
        for hook in hooks:
            hook.remove()


def _told(node: Node, what: str, model: Model) -> str:
    place = f" ({node.span})" if node.span else ""
    line = f"first in the {what} of layer {node.index} [{node.layer.kind}]{place}"
    weights = all(map(_finite, _value(model.layers[node.index])))
    return line if weights or what == "weight" else f"{line}, whose weights are none either"


def _gradient(module: nn.Module) -> list[Tensor]:
    return [p.grad for p in module.parameters() if p.grad is not None]


def _value(module: nn.Module) -> list[Tensor]:
    return [p.detach() for p in module.parameters()]


def _finite(tensor: Tensor) -> bool:
    return bool(tensor.detach().isfinite().all())
