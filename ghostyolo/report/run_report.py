"""The values that the page of a run, or of a validation, shows."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch

import ghostyolo
from ghostyolo.data import Dataset
from ghostyolo.evaluation.validation import Validation
from ghostyolo.network import Network


@dataclass(frozen=True, eq=False)
class RunReport:
    """A training run, or the validation of weights; sections without values are left out.

    title: the name of the run. network: as trained, with its `[net]`. command: its words. rows: the
    table of results. seconds: by phase, in order. train: the training set. validation: of the
    weights that `weights` names. versions: see `versions`. date: of the run.
    """

    title: str
    network: Network
    command: Sequence[str] = ()
    rows: Sequence[Mapping[str, float]] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    train: Dataset | None = None
    validation: Validation | None = None
    weights: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    date: str = ""

    @property
    def datasets(self) -> list[Dataset]:
        """Return the training set and the validation set, as far as there are any."""
        found = [self.train, self.validation.dataset if self.validation else None]
        return [dataset for dataset in found if dataset is not None]


def versions(device: str) -> dict[str, str]:
    """Return the versions of what computes a run, by name. device: as torch names it."""
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
