"""Classify pictures, with any runtime."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ghostyolo.data.header import Size
from ghostyolo.data.images import to_planes
from ghostyolo.errors import CfgError, OptionError
from ghostyolo.layers.tree import absolute, read_tree
from ghostyolo.model.detector import Run, check_takes_pictures
from ghostyolo.network import Network
from ghostyolo.network.outputs import ClassifierOutput, classifier_output, detection_heads


class Classifier:
    """Pictures in, class probabilities out, on any runtime.

    With a tree of classes those that have classes below them get 0, as in Darknet's validation.

    run: computes the network's last output. Raises `CfgError` if the network is not a classifier.
    """

    def __init__(self, network: Network, run: Run) -> None:
        self.output = classifier_output_of(network)
        self.size, self.channels = network.options.size, network.options.channels
        self.run = run
        end = self.output.softmax
        tree = getattr(end.layer, "tree", "") if end else ""
        self.tree = read_tree(tree) if tree else None

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Return (n, K) float32 for pictures, uint8 RGB (H, W, 3) of any size."""
        shape = (len(images), *self.size, self.channels)
        inputs = np.empty(shape, np.float32).transpose(0, 3, 1, 2)
        for image, planes in zip(images, inputs, strict=True):
            to_planes(center(image, self.size), planes)
        values = np.asarray(self.run(inputs)[0], np.float32).reshape(len(images), -1)
        if self.tree:
            values = absolute(values, self.tree)
            values[:, self.tree.inner()] = 0
        return values if self.output.softmax else softmax(values)


def classifier_output_of(network: Network) -> ClassifierOutput:
    """Return the output of a classifier. Raises `CfgError` if the network is not one."""
    found = classifier_output(network)
    if found is None:
        for node, _ in detection_heads(network):
            message, hint = "is a detection head, not a classifier", "run ghostyolo detect"
            raise node.error(message, hint)
        span = network[-1].span if len(network) else None
        raise CfgError("it has no class probabilities", span=span, hint="add a [softmax]")
    check_takes_pictures(network)
    return found


def check_no_boxes(**options: object) -> None:
    """Raise `OptionError` if an option for detections, such as a threshold, is not None."""
    if given := [name for name, value in options.items() if value is not None]:
        message = f"--{given[0]} is for a detector, and this is a classifier"
        raise OptionError(message, hint="leave it out")


def center(image: np.ndarray, size: Size) -> np.ndarray:
    """Return the centre crop of a picture, uint8 RGB (h, w, 3), as used in validation.

    The picture's shorter side is resized to the input's width, as uint8 like in `images.fit`. Where
    the input is larger than the resized picture, edge pixels are repeated.
    Source: AlexeyAB/darknet src/classifier.c validate_classifier_single, src/image.c resize_min,
    crop_image.
    """
    (h, w), (net_h, net_w) = image.shape[:2], size
    shape = (max(1, h * net_w // w), net_w) if w < h else (net_w, max(1, w * net_w // h))
    resized = cv2.resize(image, shape[::-1], interpolation=cv2.INTER_LINEAR)
    rows = _middle(shape[0], net_h)
    columns = _middle(shape[1], net_w)
    return resized[rows[:, None], columns]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the probabilities of logits, both (n, K)."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def _middle(length: int, wanted: int) -> np.ndarray:
    """Return the indices of the centre of a side; the ends repeat if the side is too short."""
    start = int((length - wanted) / 2)  # towards 0, as in C
    return np.clip(np.arange(start, start + wanted), 0, length - 1)
