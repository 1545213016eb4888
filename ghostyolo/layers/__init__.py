"""The layer kinds, one file each; `KINDS` maps a section's name to its class."""

from __future__ import annotations

import importlib
import pkgutil

from ghostyolo.layers.base import ACTIVATIONS, KINDS, Head, Layer, Misfit, Shape, count

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["ACTIVATIONS", "KINDS", "Head", "Layer", "Misfit", "Shape", "count"]
