"""OpenCV's Darknet importer (OpenCV 4; OpenCV 5 has none).

The importer adds 1e-6 to a batch norm's variance where Darknet adds 1e-5, so the copy of the
weights that it reads carries the difference in its running variances.
Source: opencv/opencv 4.x modules/dnn/src/darknet/darknet_io.cpp, setBatchNorm.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from ghostyolo.errors import CfgError, OptionError
from ghostyolo.layers import ACTIVATIONS, Head
from ghostyolo.model import weights
from ghostyolo.model.detector import Run
from ghostyolo.model.model import Model
from ghostyolo.network import Network, dumps, weights_file

EPS = 1e-6  # of the importer's batch norms
EPS_GAP = 1e-5 - EPS
# Where each stored tensor of a section lies: the prefix of OpenCV's layer, the number of its blob.
_BLOBS = {
    "conv.weight": ("conv", 0),
    "conv.bias": ("conv", 1),
    "linear.weight": ("fullyConnected", 0),
    "linear.bias": ("fullyConnected", 1),
    "norm.running_mean": ("bn", 0),
    "norm.running_var": ("bn", 1),
    "norm.weight": ("bn", 2),
    "norm.bias": ("bn", 3),
}


def available() -> bool:
    """Return whether this OpenCV reads cfgs."""
    return hasattr(cv2.dnn, "readNetFromDarknet")


def read(model: Model, *, keep_eps: bool = False) -> Any:
    """Return the network as OpenCV's `cv2.dnn.Net`.

    keep_eps: hand it the weights as they are, to be computed with its own epsilon.
    Raises `OptionError` without an importer, `CfgError` for a cfg that the importer refuses.
    """
    if not available():
        message = f"OpenCV {cv2.__version__} has no Darknet importer"
        raise OptionError(message, hint="install OpenCV 4: pip install 'opencv-python<5'")
    gap = 0.0 if keep_eps else EPS_GAP
    tensors = [
        {name: t + gap if name.endswith("running_var") else t for name, t in named.items()}
        for named in model.tensors()
    ]
    with tempfile.TemporaryDirectory() as folder, refusals():
        cfg, stored = Path(folder, "x.cfg"), Path(folder, "x.weights")
        cfg.write_text(dumps(model.network))
        weights.write(stored, model.network, tensors)
        dnn: Any = cv2.dnn  # which OpenCV 5 has without this function
        net = dnn.readNetFromDarknet(str(cfg), str(stored))
        net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
        return net


@contextmanager
def refusals() -> Iterator[None]:
    """Turn an error of OpenCV's into the one line of a `CfgError`."""
    try:
        yield
    except cv2.error as error:
        reason = " ".join(str(error.err).split())[:200]
        hint = "compare with onnx: or trace: instead"
        raise CfgError(f"OpenCV refuses the network: {reason}", hint=hint) from None


def results(network: Network, net: Any) -> dict[int, str]:
    """Return the name of the OpenCV layer that holds each node's output.

    A section becomes several layers: conv_7, bn_7, relu_8, for an activation is numbered after its
    section. Heads have none: what OpenCV gives there are boxes below a threshold of its own. Nor
    have losses, which OpenCV passes through.
    """
    names, last = set(net.getLayerNames()), dict[int, str]()
    for name in net.getLayerNames():  # in the order of the sections, bn_7 after conv_7
        prefix, _, number = name.rpartition("_")
        if number.isdigit() and prefix not in ACTIVATIONS:
            last[int(number)] = name
    found = {}
    for node in network:
        if len(node.inputs) > 1 and getattr(node.layer, "groups", 1) > 1:
            break  # OpenCV numbers one layer per source from here on
        activated = f"{getattr(node.layer, 'activation', '')}_{node.index + 1}"
        own = activated if activated in names else last.get(node.index)
        if own and node.layer.has_output and not isinstance(node.layer, Head):
            found[node.index] = own
    return found


def run(model: Model) -> Run:
    """Return the function from inputs to the heads' outputs, computed by OpenCV.

    The heads' own activation is Darknet's, computed in torch. Raises as `read` does.
    """
    net = read(model)
    held = results(model.network, net)
    heads = [(model.layers[node.index], held[node.inputs[0]]) for node, _ in model.heads]

    def compute(images: np.ndarray) -> list[np.ndarray]:
        with refusals(), torch.inference_mode():
            singles = []
            for image in images:  # the importer's heads take one picture at a time
                net.setInput(image[None])
                singles.append(net.forward([name for _, name in heads]))
            raw = [torch.from_numpy(np.concatenate(parts)) for parts in zip(*singles, strict=True)]
            return [head(out).numpy() for (head, _), out in zip(heads, raw, strict=True)]

    return compute


def outputs(model: Model, net: Any, x: np.ndarray) -> dict[int, np.ndarray]:
    """Return the outputs of all nodes that OpenCV's layers hold.

    Nothing is fused, and no convolution computed by Winograd's algorithm, which rounds coarsely.
    """
    held = results(model.network, net)
    with refusals():
        net.enableFusion(False)
        net.enableWinograd(False)
        net.setInput(x)
        found = net.forward(list(held.values()))
    return {
        index: out.reshape(len(x), *_shape(out, model.network[index].shape))
        for index, out in zip(held, found, strict=True)
    }


def _shape(out: np.ndarray, declared: tuple[int, ...]) -> tuple[int, ...]:
    """Return the declared shape for an output without height and width, such as of a matrix."""
    return out.shape[1:] if out.ndim == 4 else declared


def stored_tensors(network: Network, net: Any) -> dict[tuple[int, str], np.ndarray]:
    """Return the stored tensors that OpenCV holds, by node and name as `Layer.weights` has them."""
    names = set(net.getLayerNames())
    with refusals():
        return {
            (index, name): net.getParam(f"{prefix}_{index}", blob)
            for index in results(network, net)
            for name, _ in weights_file.stored(network, network[index])
            for prefix, blob in [_BLOBS.get(name, ("", 0))]
            if f"{prefix}_{index}" in names
        }
