"""The losses by name, with what `--loss` says of each.

A loss is one file, named as the loss is, whose `CONFIG` is a `LossConfig`. To add one, write its
file and enter its name below, among the losses of what it trains; the first there is the default.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ghostyolo.loss.base import LossConfig

DETECTION = {
    "modern": "learns small data sets faster",
    "darknet": "computes Darknet's gradients to the digit",
}
CLASSIFICATION = {"cross-entropy": "is that of the softmax"}


def loss_config(name: str) -> LossConfig:
    """Return the loss of that name, and its hyperparameters."""
    return importlib.import_module(f"ghostyolo.loss.{name.replace('-', '_')}").CONFIG
