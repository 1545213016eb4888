"""Pictures and labels: data sets of four layouts, and what turns their pictures into inputs.

Names are imported when first used: one picture is not to wait for what reads data sets.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ghostyolo.data.classification import open_labelled
    from ghostyolo.data.images import Placement, fit, read_image
    from ghostyolo.data.layouts import open_dataset
    from ghostyolo.data.sample import Dataset, Sample, read_names

__all__ = [
    "Dataset", "Placement", "Sample", "fit", "open_dataset", "open_labelled", "read_image",
    "read_names",
]  # fmt: skip
_HOMES = {
    "images": ("Placement", "fit", "read_image"),
    "classification": ("open_labelled",),
    "layouts": ("open_dataset",),
    "sample": ("Dataset", "Sample", "read_names"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
