"""The layer kinds, one file each; `KINDS` maps a section's name to its class.

The files are imported when `KINDS` is first used. Reading a cfg needs all kinds; writing one needs
only the kinds that its generator has imported itself.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

from ghostyolo.layers import base
from ghostyolo.layers.base import ACTIVATIONS, Layer, LayerError, Shape, count
from ghostyolo.layers.head import Head

if TYPE_CHECKING:
    from ghostyolo.layers.base import KINDS

__all__ = ["ACTIVATIONS", "KINDS", "Head", "Layer", "LayerError", "Shape", "count"]


def __getattr__(name: str) -> Any:
    if name != "KINDS":
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    globals()["KINDS"] = base.KINDS
    return base.KINDS
