"""State dicts of published PyTorch models, made by the recipe of their goldens."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor

from support import goldens


def state_dict_by_recipe(golden: dict[str, Any]) -> dict[str, Tensor]:
    """Return the state dict of a golden: one counter runs over all its floats."""
    start, states = 0, {}
    ends = {"running_mean": "mean", "running_var": "var", "bias": "bias"}
    for key, shape in golden["keys"]:
        kind = ends.get(key.rsplit(".")[-1], "weight" if len(shape) > 1 else "scale")
        values = goldens.recipe.block(kind, start, prod(shape), prod(shape[1:]))
        states[key], start = torch.from_numpy(values).reshape(shape), start + prod(shape)
    return states
