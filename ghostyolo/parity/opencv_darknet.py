"""Run a network in OpenCV's Darknet importer (OpenCV 4; OpenCV 5 has none).

The importer adds 1e-6 to a batch norm's variance and Darknet adds 1e-5, so the difference is added
to the running variances in the weights that the importer reads.
Source: opencv/opencv 4.x modules/dnn/src/darknet/darknet_io.cpp, setBatchNorm.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ghostyolo.errors import CfgError, OptionError
from ghostyolo.layers import ACTIVATIONS, Head
from ghostyolo.model import weights
from ghostyolo.model.model import Model
from ghostyolo.network import Network, dumps, weights_file
from ghostyolo.parity.peers import Peer

EPS = 1e-6  # of the importer's batch norms
EPS_GAP = 1e-5 - EPS
# The OpenCV layer that holds a stored tensor: the prefix of its name, and the number of its blob.
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


def of_opencv(model: Model, x: np.ndarray, *, keep_eps: bool = False) -> Peer:
    """Run a model's cfg and weights in OpenCV. Raises as `read` does."""
    net = read(model, keep_eps=keep_eps)
    names = layer_names(model.network, net)
    tensors = stored_tensors(model.network, net, names)
    gap = 0.0 if keep_eps else EPS_GAP

    def holds(index: int, name: str, values: np.ndarray) -> bool | None:
        own = tensors.get((index, name))
        if own is None:
            return None
        added = gap if name.endswith("running_var") else 0.0
        return own.size == values.size and np.allclose(own.ravel() - added, values.ravel(), 1e-5, 0)

    notes = [
        f"OpenCV adds {EPS:g} to a batch norm's variance, Darknet 1e-05: "
        + ("not corrected" if keep_eps else "corrected in the weights that OpenCV reads")
    ]
    if absent := [node for node in model.network if node.index not in names]:
        which = ", ".join(f"{node.index} [{node.layer.kind}]" for node in absent[:6])
        notes.append(f"not compared, as OpenCV has no such outputs: {which}")
    found = outputs(model, net, x, names)
    return Peer(f"OpenCV {cv2.__version__}", x, found, names, holds=holds, notes=tuple(notes))


def read(model: Model, *, keep_eps: bool = False) -> Any:
    """Return the network as OpenCV's `cv2.dnn.Net`.

    keep_eps: whether to leave the running variances uncorrected.
    Raises `OptionError` if OpenCV has no importer, `CfgError` for a cfg that the importer refuses.
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
        dnn: Any = cv2.dnn  # in OpenCV 5 without this function
        net = dnn.readNetFromDarknet(str(cfg), str(stored))
        net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
        return net


@contextmanager
def refusals() -> Iterator[None]:
    """Turn an error of OpenCV into a `CfgError` of one line."""
    try:
        yield
    except cv2.error as error:
        reason = " ".join(str(error.err).split())[:200]
        hint = "compare with onnx: or trace: instead"
        raise CfgError(f"OpenCV refuses the network: {reason}", hint=hint) from None


def layer_names(network: Network, net: Any) -> dict[int, str]:
    """Return the name of the OpenCV layer that holds each node's output.

    A section becomes several layers: conv_7, bn_7, relu_8; the number of an activation is that of
    the next section. Heads are left out, as OpenCV returns boxes above its own threshold there.
    Losses are left out too, as OpenCV copies their input.
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


def outputs(
    model: Model, net: Any, x: np.ndarray, names: Mapping[int, str]
) -> dict[int, np.ndarray]:
    """Return the outputs of the nodes that `names` gives OpenCV layers for.

    Layers are not fused, and no convolution uses Winograd's algorithm, which has large rounding
    errors.
    """
    with refusals():
        net.enableFusion(False)
        net.enableWinograd(False)
        net.setInput(x)
        found = net.forward(list(names.values()))
    shapes = [  # of a matrix OpenCV gives no height and width
        out.shape if out.ndim == 4 else (len(x), *model.network[index].shape)
        for index, out in zip(names, found, strict=True)
    ]
    return {
        index: out.reshape(shape) for index, out, shape in zip(names, found, shapes, strict=True)
    }


def stored_tensors(
    network: Network, net: Any, indices: Iterable[int]
) -> dict[tuple[int, str], np.ndarray]:
    """Return the stored tensors of some nodes in OpenCV, by node and name as in `Layer.weights`."""
    names = set(net.getLayerNames())
    with refusals():
        return {
            (index, name): net.getParam(f"{prefix}_{index}", blob)
            for index in indices
            for name, _ in weights_file.stored(network, network[index])
            for prefix, blob in [_BLOBS.get(name, ("", 0))]
            if f"{prefix}_{index}" in names
        }
