"""What a page tells of: the values that a run, or a validation, ends with."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch

import ghostyolo
from ghostyolo.boxes import Detections
from ghostyolo.data import Dataset
from ghostyolo.evaluation.classification import Accuracy
from ghostyolo.evaluation.detection import Metrics
from ghostyolo.network import Network


@dataclass(frozen=True, eq=False)
class RunReport:
    """A run, or the validation of weights; what is missing is left out of the page.

    title: the name of the run. network: as trained, its `[net]` included. command: its words.
    rows: the table of results. seconds: by phase, in order. val: what was scored. detections: one
    for each of its samples, down to a score near 0, of the weights that `weights` names; of a
    classifier the probabilities, (K,) each. metrics: the scores of these. versions: see `versions`.
    date: of the run.

    Raises ValueError for detections without val or metrics, or of another number than val has.
    """

    title: str
    network: Network
    command: Sequence[str] = ()
    rows: Sequence[Mapping[str, float]] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    train: Dataset | None = None
    val: Dataset | None = None
    detections: Sequence[Detections] | Sequence[np.ndarray] | None = None
    metrics: Metrics | Accuracy | None = None
    weights: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    date: str = ""

    def __post_init__(self) -> None:
        if self.detections is None:
            return
        if self.val is None or self.metrics is None:
            raise ValueError("detections need the data set that they are of, and its metrics")
        if len(self.detections) != len(self.val):
            raise ValueError(f"{len(self.detections)} detections for {len(self.val)} samples")


def versions(device: str) -> dict[str, str]:
    """Return what computed, by name, for a run on a device of torch."""
    kind = torch.device(device).type
    name = torch.cuda.get_device_name(device) if kind == "cuda" else platform.machine()
    return {
        "ghostyolo": ghostyolo.__version__,
        "Python": platform.python_version(),
        "PyTorch": str(torch.__version__),
        "OpenCV": str(cv2.__version__),
        "NumPy": np.__version__,
        "system": platform.platform(),
        "device": f"{device} ({name})",
        "threads": str(torch.get_num_threads()),
    }
