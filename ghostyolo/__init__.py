"""ghostyolo: GhostNet-YOLO cfgs for Darknet, written, checked, trained and run in PyTorch.

    network = ghostyolo.network_for("DATA", width=0.5)      # or load("x.cfg"); dumps -> cfg text
    run = ghostyolo.train(network, "DATA", epochs=100)
    print(ghostyolo.val(run.folder, "DATA", split="test"))  # average precision
    model = ghostyolo.Model(run.folder)                     # a torch module
    for found in model.detect("dog.jpg"):                   # boxes in pixels of the picture
        print(found.name, found.score, found.box)
    ghostyolo.export(model, "mine.onnx")

Names that need torch or numpy are imported when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ghostyolo.errors import missing_package

if TYPE_CHECKING:
    from ghostyolo.data import Dataset, Sample, network_for, open_dataset, read_image
    from ghostyolo.data.tiles import Tiles
    from ghostyolo.errors import CfgError, DataError, GhostyoloError, OptionError, WeightsError
    from ghostyolo.jobs.compare import compare
    from ghostyolo.jobs.export import export
    from ghostyolo.jobs.val import val
    from ghostyolo.model.detections import Detection, Detections
    from ghostyolo.model.model import Model
    from ghostyolo.network import Network, Node, dumps, load, loads
    from ghostyolo.training.run import train

__version__ = "0.1.0"
_HOMES = {
    "data": ("Dataset", "Sample", "network_for", "open_dataset", "read_image"),
    "data.tiles": ("Tiles",),
    "errors": ("CfgError", "DataError", "GhostyoloError", "OptionError", "WeightsError"),
    "jobs.compare": ("compare",),
    "jobs.export": ("export",),
    "jobs.val": ("val",),
    "model.detections": ("Detection", "Detections"),
    "model.model": ("Model",),
    "network": ("Network", "Node", "dumps", "load", "loads"),
    "training.run": ("train",),
}
__all__ = [
    "CfgError", "DataError", "Dataset", "Detection", "Detections", "GhostyoloError", "Model",
    "Network", "Node", "OptionError", "Sample", "Tiles", "WeightsError", "compare", "dumps",
    "export", "load", "loads", "network_for", "open_dataset", "read_image", "train", "val",
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
