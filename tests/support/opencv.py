"""OpenCV's Darknet importer as an oracle; OpenCV 5 has none."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from ghostyolo.layers.yolo import Yolo
from ghostyolo.model.detector import Run
from ghostyolo.model.model import Model
from ghostyolo.network import Network, passes
from ghostyolo.parity import opencv_darknet
from support.cases import departure, random_model

needs_importer = pytest.mark.skipif(
    not opencv_darknet.available(), reason=f"OpenCV {cv2.__version__} has no Darknet importer"
)


def read(model: Model, folder: Path) -> cv2.dnn.Net:
    """Hand cfg and weights to OpenCV, its epsilon corrected."""
    return opencv_darknet.read(model)


def before_heads(model: Model, net: cv2.dnn.Net, x: np.ndarray) -> list[np.ndarray]:
    """Return the outputs of the convolutions before each `[yolo]`, (N, C, H, W)."""
    indices = [node.inputs[0] for node in model.network if isinstance(node.layer, Yolo)]
    net.setInput(x)
    return list(net.forward([f"conv_{index}" for index in indices]))


LIMIT = 1e-4  # of the largest magnitude in the tensor


def departures(network: Network, size: tuple[int, int], folder: Path) -> list[float]:
    """Return how far OpenCV is from the model before each head, or at the classifier's end."""
    model = random_model(passes.resize(network, size))
    x = np.random.default_rng(1).random((1, 3, *size), np.float32)
    net = read(model, folder)
    trace = model.trace(torch.from_numpy(x))
    heads = [node.inputs[0] for node in model.network if isinstance(node.layer, Yolo)]
    if heads:
        found, want = before_heads(model, net, x), [trace[index].numpy() for index in heads]
    else:
        net.setInput(x)
        logits = len(model.network) - 2
        found = list(net.forward([f"conv_{logits}", net.getUnconnectedOutLayersNames()[-1]]))
        want = [trace[logits].numpy(), trace[-1].numpy()]
    return [departure(a.reshape(b.shape), b) for a, b in zip(found, want, strict=True)]


def run(model: Model) -> Run:
    """Return a function from inputs to the heads' outputs: OpenCV computes the inputs of the heads.

    Raises as `opencv_darknet.read` does.
    """
    net = opencv_darknet.read(model)
    names = opencv_darknet.layer_names(model.network, net)
    heads = [(model.layers[node.index], names[node.inputs[0]]) for node, _ in model.heads]

    def compute(images: np.ndarray) -> list[np.ndarray]:
        with opencv_darknet.refusals(), torch.inference_mode():
            singles = []
            for image in images:  # the importer's heads take one picture at a time
                net.setInput(image[None])
                singles.append(net.forward([name for _, name in heads]))
            raw = [torch.from_numpy(np.concatenate(parts)) for parts in zip(*singles, strict=True)]
            return [head(out).numpy() for (head, _), out in zip(heads, raw, strict=True)]

    return compute
