"""Calibration inputs for 8-bit quantisation, and the layers that stay in float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from ghostyolo.data.inputs import picture_input
from ghostyolo.exporters.settings import ExportSettings
from ghostyolo.model.detector import heads_of
from ghostyolo.network import Network
from ghostyolo.network.outputs import output_nodes

OnProgress = Callable[[int, int], object]  # takes the number of inputs done, and of all
MOST_PICTURES = 200  # the ranges hardly change with more
FEW_PICTURES = 100  # with fewer, the ranges depend on the choice of pictures
ALIKE = 4 / 255  # the largest difference of an 8x8 copy of a picture from that of another


def inputs(
    network: Network, paths: Sequence[Path], settings: ExportSettings, most: int = MOST_PICTURES
) -> np.ndarray:
    """Return at most `most` pictures, evenly spaced in the list, as inputs (n, batch, C, h, w).

    Fewer pictures than a batch are repeated. Raises `DataError` for a picture that cannot be read,
    `OptionError` for a network that does not take pictures.
    """
    heads_of(network)
    chosen = [paths[i] for i in np.linspace(0, len(paths) - 1, min(most, len(paths))).astype(int)]
    hint = "calibrate a network with 1 or 3 input channels"
    images = [picture_input(network, path, hint=hint)[0] for path in chosen]
    count = max(1, len(images) // settings.batch) * settings.batch
    return np.stack([images[i % len(images)] for i in range(count)]).reshape(
        -1, settings.batch, *images[0].shape
    )


def shortage(images: np.ndarray) -> str:
    """Return what is wrong with a choice of calibration inputs, "" if nothing is.

    images: as `inputs` returns them. Pictures of one colour, and all but one of those that are
    alike, do not count; fewer than `FEW_PICTURES` are too few.
    """
    flat, different = 0, list[np.ndarray]()
    for image in images.reshape(-1, *images.shape[2:]):
        # 0.5 is the border that a letterbox adds
        if all(len(np.unique(plane[plane != 0.5])) <= 1 for plane in image):
            flat += 1
            continue
        small = cv2.resize(image.transpose(1, 2, 0), (8, 8), interpolation=cv2.INTER_AREA)
        if all(np.abs(small - other).max() > ALIKE for other in different):
            different.append(small)
    if len(different) >= FEW_PICTURES:
        return ""
    given = images.shape[0] * images.shape[1]
    left = f" of {given}, {flat} are of one colour" if len(different) < given else ""
    return f"8-bit ranges from {len(different)} different pictures{left}"


def float_layers(network: Network) -> set[int]:
    """Return the indices of the layers that stay in float32: the heads and their input layers.

    The range of a head's logits is too wide for 256 levels, and the input layer costs little.
    """
    nodes = output_nodes(network)
    return {index for node in nodes for index in (node.index, *node.inputs)}


def is_float(name: str, layers: set[int]) -> bool:
    """Return whether an operator stays in float32, by its name: `/plain/layers.7/...`."""
    parts = name.split("/")
    if len(parts) < 3 or parts[1] != "plain":
        return True  # decoding and suppression
    return int(parts[2].partition(".")[2]) in layers
