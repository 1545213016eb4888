"""OpenCV's Darknet importer as an oracle; OpenCV 5 has none."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from ghostyolo.layers.yolo import Yolo
from ghostyolo.model import Model
from ghostyolo.network import dumps

needs_importer = pytest.mark.skipif(
    not hasattr(cv2.dnn, "readNetFromDarknet"),
    reason=f"OpenCV {cv2.__version__} has no Darknet importer",
)
EPS_GAP = 1e-5 - 1e-6  # Darknet's batch-norm epsilon less that of OpenCV's importer


def read(model: Model, folder: Path) -> cv2.dnn.Net:
    """Hand cfg and weights to OpenCV; the variances carry the gap between the epsilons."""
    variances = [t for n, t in model.named_buffers() if n.endswith("running_var")]
    with torch.no_grad():
        torch._foreach_add_(variances, EPS_GAP)
        model.save_weights(folder / "opencv.weights")
        torch._foreach_sub_(variances, EPS_GAP)
    (folder / "opencv.cfg").write_text(dumps(model.network))
    net = cv2.dnn.readNetFromDarknet(str(folder / "opencv.cfg"), str(folder / "opencv.weights"))
    net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
    return net


def before_heads(model: Model, net: cv2.dnn.Net, x: np.ndarray) -> list[np.ndarray]:
    """Return the outputs of the convolutions before each `[yolo]`, (N, C, H, W)."""
    indices = [node.inputs[0] for node in model.network if isinstance(node.layer, Yolo)]
    net.setInput(x)
    return list(net.forward([f"conv_{index}" for index in indices]))
