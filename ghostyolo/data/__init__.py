"""Pictures and labels: readers of data sets in several layouts, and the inputs of networks.

Names are imported when first used, so that reading one picture does not load the readers of data
sets.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ghostyolo.data.classification import open_classification
    from ghostyolo.data.dataset import Dataset, Sample
    from ghostyolo.data.fitting import network_for
    from ghostyolo.data.images import read_image
    from ghostyolo.data.layouts import open_dataset

__all__ = ["Dataset", "Sample", "network_for", "open_classification", "open_dataset", "read_image"]
_MODULES = {
    "Dataset": "dataset",
    "Sample": "dataset",
    "network_for": "fitting",
    "open_classification": "classification",
    "open_dataset": "layouts",
    "read_image": "images",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
