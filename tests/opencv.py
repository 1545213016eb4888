"""OpenCV's Darknet importer as an oracle; OpenCV 5 has none."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from ghostyolo.layers.yolo import Yolo
from ghostyolo.model import Model
from ghostyolo.runtime import opencv

needs_importer = pytest.mark.skipif(
    not opencv.available(), reason=f"OpenCV {cv2.__version__} has no Darknet importer"
)


def read(model: Model, folder: Path) -> cv2.dnn.Net:
    """Hand cfg and weights to OpenCV, its epsilon corrected."""
    return opencv.read(model)


def before_heads(model: Model, net: cv2.dnn.Net, x: np.ndarray) -> list[np.ndarray]:
    """Return the outputs of the convolutions before each `[yolo]`, (N, C, H, W)."""
    indices = [node.inputs[0] for node in model.network if isinstance(node.layer, Yolo)]
    net.setInput(x)
    return list(net.forward([f"conv_{index}" for index in indices]))
