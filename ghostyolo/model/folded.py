"""A model for inference and for files: statistics folded in, operators that every runtime has.

Modules of `ops` answer by `folded` what stands for them; of torch's own, those below stay as they
are. Any other is refused, for its statistics or operators are not known.
"""

from __future__ import annotations

import copy

from torch import nn

from ghostyolo.model.model import Model
from ghostyolo.network import Node

_KEPT = (
    nn.Identity, nn.Dropout, nn.AdaptiveAvgPool2d, nn.BatchNorm2d, nn.ReLU, nn.ReLU6, nn.LeakyReLU,
    nn.Sigmoid, nn.Tanh, nn.Hardtanh, nn.SiLU, nn.Mish, nn.ELU,
)  # fmt: skip


def folded(model: Model) -> Model:
    """Return a copy of a model, for inference on the CPU, with every layer folded.

    Raises `CfgError` for a layer whose module does not say how.
    """
    result = copy.deepcopy(model).cpu().float().eval().requires_grad_(False)
    for node, module in zip(result.network, result.layers, strict=True):
        result.layers[node.index] = folded_layer(module, node)
    return result


def folded_layer(module: nn.Module, node: Node) -> nn.Module:
    """Return the module that stands for a node's in inference. Raises `CfgError` as `folded`."""
    return _folded(module, node).eval().requires_grad_(False)


def _folded(module: nn.Module, node: Node) -> nn.Module:
    if isinstance(module, nn.Sequential):
        return nn.Sequential(*(_folded(part, node) for part in module))
    if type(module) in _KEPT:
        return module
    if make := getattr(module, "folded", None):
        return make()
    message = f"its module {type(module).__name__} does not say what it is in inference"
    hint = "give the module a method `folded`"
    raise node.error(message, hint)
