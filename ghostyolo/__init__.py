"""ghostyolo: GhostNet-YOLO cfgs for Darknet, written, checked, trained and run in PyTorch.

    network = ghostyolo.load("ghostnet.cfg")     # Network; loads(text); dumps(network) -> text
    model = ghostyolo.Model(network)             # an nn.Module that computes what Darknet computes
    detections = model.detect("dog.jpg")         # boxes of the picture, in pixels
    run = ghostyolo.train("ghostnet.cfg", "DATA", epochs=100, adapt=True)

Names that need torch or numpy are imported when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ghostyolo.errors import missing_package

if TYPE_CHECKING:
    from ghostyolo.data import Dataset, Sample, open_dataset, read_image
    from ghostyolo.errors import CfgError, DataError, GhostyoloError, OptionError, WeightsError
    from ghostyolo.model.detections import Detections
    from ghostyolo.model.model import Model
    from ghostyolo.network import Network, Node, dumps, load, loads
    from ghostyolo.training.run import train

__version__ = "0.1.0"
_HOMES = {
    "data": ("Dataset", "Sample", "open_dataset", "read_image"),
    "errors": ("CfgError", "DataError", "GhostyoloError", "OptionError", "WeightsError"),
    "model.detections": ("Detections",),
    "model.model": ("Model",),
    "network": ("Network", "Node", "dumps", "load", "loads"),
    "training.run": ("train",),
}
__all__ = [
    "CfgError", "DataError", "Dataset", "Detections", "GhostyoloError", "Model", "Network", "Node",
    "OptionError", "Sample", "WeightsError", "dumps", "load", "loads", "open_dataset", "read_image",
    "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            try:
                return getattr(importlib.import_module(f"{__name__}.{module}"), name)
            except ImportError as error:
                raise missing_package(error) from error
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
