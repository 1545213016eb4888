"""The model argument of the library's calls: a `Model`, or what a model or a runtime is made of."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from ghostyolo.errors import OptionError, Span
from ghostyolo.model.model import Model
from ghostyolo.network import Network, load
from ghostyolo.network.model_files import model_files
from ghostyolo.network.passes import resize

ModelArgument = Model | Network | str | Path


def model_on_cpu(
    model: ModelArgument, weights: str | Path | None, size: tuple[int, int] | None
) -> Model:
    """Return a model in evaluation mode and float32 on the CPU, a copy if a `Model` is given.

    weights: None for those of a `Model` or of the folder of a run. size: (h, w) of the input.
    Raises `OptionError` without weights, and the errors of reading the files.
    """
    if isinstance(model, Model):
        check_alone(weights=weights, size=size)
        return copy.deepcopy(model).cpu().float().eval()
    network, weights = network_and_weights(model, weights)
    return Model(resize(network, size) if size else network, weights)


def network_and_weights(
    model: Network | str | Path, weights: str | Path | None
) -> tuple[Network, str | Path]:
    """Return the network of a cfg, or the given one, and the path of its weights.

    Raises `OptionError` without weights, and the errors of reading the cfg.
    """
    span = None
    if not isinstance(model, Network):
        span = Span(str(model))
        cfg, weights = model_files(model, weights)
        model = load(cfg)
    if weights is None:
        hint = "give its weights (weights= in Python), or a Model, whose weights may be random"
        raise OptionError("no weights", span=span, hint=hint)
    return model, weights


def check_alone(**given: Any) -> None:
    """Raise `OptionError` if an argument is given with a `Model` that can have no effect on it."""
    for name, value in given.items():
        if value is not None:
            hint = "leave it out, or give the cfg in place of the Model"
            raise OptionError(f"{name}={value} with a Model", hint=hint)
