"""Pictures and labels: data sets of several layouts, and what turns their pictures into inputs.

Names are imported when first used: reading one picture should not load the readers of data sets.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ghostyolo.data.classification import open_classification
    from ghostyolo.data.dataset import Dataset, Sample
    from ghostyolo.data.images import read_image
    from ghostyolo.data.layouts import open_dataset

__all__ = ["Dataset", "Sample", "open_classification", "open_dataset", "read_image"]
_HOMES = {
    "classification": ("open_classification",),
    "dataset": ("Dataset", "Sample"),
    "images": ("read_image",),
    "layouts": ("open_dataset",),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
