"""Fold batch norms into the layers of a model, and use operators that every runtime has.

Each module of `ops` has a method `folded` that returns its folded form. The modules of torch that
are listed below are not changed. Any other module is refused.
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

    Raises `CfgError` for a layer whose module has no folded form.
    """
    result = copy.deepcopy(model).cpu().float().eval().requires_grad_(False)
    for node, module in zip(result.network, result.layers, strict=True):
        result.layers[node.index] = folded_layer(module, node)
    return result


def folded_layer(module: nn.Module, node: Node) -> nn.Module:
    """Return the folded form of a node's module. Raises `CfgError` as `folded`."""
    return _folded(module, node).eval().requires_grad_(False)


def _folded(module: nn.Module, node: Node) -> nn.Module:
    if isinstance(module, nn.Sequential):
        return nn.Sequential(*(_folded(part, node) for part in module))
    if type(module) in _KEPT:
        return module
    if make := getattr(module, "folded", None):
        return make()
    message = f"its module {type(module).__name__} has no folded form"
    hint = "give the module a method `folded`"
    raise node.error(message, hint)
