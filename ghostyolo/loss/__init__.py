"""The names of the losses, with their help texts for `--loss`.

A loss is a file of the same name, with _ for -, that defines `CONFIG`, a `LossConfig`. To add a
loss, write its file and enter its name in the dictionary of its task. The first name of a task is
the default.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ghostyolo.loss.base import LossConfig

DETECTION_LOSSES = {
    "modern": "learns small data sets faster",
    "darknet": "computes the gradients of Darknet, to the digit",
}
CLASSIFICATION_LOSSES = {"cross-entropy": "compares the softmax with the labels"}


def loss_config(name: str) -> LossConfig:
    """Return the configuration of a loss: its function and its hyperparameters."""
    return importlib.import_module(f"ghostyolo.loss.{name.replace('-', '_')}").CONFIG
