"""From pictures to the probabilities of their classes, whatever computes the network."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ghostyolo.data.header import Size
from ghostyolo.data.images import to_planes
from ghostyolo.errors import CfgError
from ghostyolo.model.detector import Run
from ghostyolo.network import Network
from ghostyolo.network.outputs import ClassifierOutput, classifier_output


class Classifier:
    """Pictures in, probabilities out, on any runtime.

    run: computes the output of the network's end. Raises `CfgError` for a network that is none.
    """

    def __init__(self, network: Network, run: Run) -> None:
        self.end = classifier_output_of(network)
        self.size, self.run = network.options.size, run

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Return (n, K) float32 for pictures, uint8 RGB (H, W, 3) of any size."""
        inputs = np.empty((len(images), *self.size, 3), np.float32).transpose(0, 3, 1, 2)
        for image, planes in zip(images, inputs, strict=True):
            to_planes(center(image, self.size), planes)
        values = np.asarray(self.run(inputs)[0], np.float32).reshape(len(images), -1)
        return values if self.end.softmax else softmax(values)


def classifier_output_of(network: Network) -> ClassifierOutput:
    """Return how a classifier of pictures ends. Raises `CfgError` if it is none."""
    end = classifier_output(network)
    if end is None:
        span = network[-1].span if len(network) else None
        raise CfgError("no classes of pictures come out", span=span, hint="add a [softmax]")
    if network.options.channels != 3:
        message = f"channels={network.options.channels}, pictures have 3"
        raise CfgError(message, section="net", hint="set channels=3")
    return end


def center(image: np.ndarray, size: Size) -> np.ndarray:
    """Return the middle of a picture, uint8 RGB (h, w, 3), as classifiers are validated on it.

    Its shorter side is resized to the input's width; what the input reaches beyond it repeats the
    edge. Resized on bytes as in `images.fit`.
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
    """Return probabilities, (n, K) as the logits."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def _middle(length: int, wanted: int) -> np.ndarray:
    """Return the indices of the middle of a side, its ends again where it is too short."""
    start = int((length - wanted) / 2)  # towards 0, as in C
    return np.clip(np.arange(start, start + wanted), 0, length - 1)
