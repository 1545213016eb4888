"""What quantisation to 8 bits needs: pictures as inputs, and the layers that stay in float."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ghostyolo.data import read_image
from ghostyolo.data.images import preprocess
from ghostyolo.exporters.settings import ExportSettings
from ghostyolo.model.detector import heads_of
from ghostyolo.network import Network
from ghostyolo.network.outputs import output_nodes

MOST = 200  # pictures; ranges hardly change beyond


def inputs(
    network: Network, paths: Sequence[Path], form: ExportSettings, most: int = MOST
) -> np.ndarray:
    """Return pictures as inputs, (n, batch, 3, h, w), spread evenly over those that are given.

    Fewer pictures than one input takes are repeated. Raises `DataError` for one that is none.
    """
    heads_of(network)
    options = network.options
    chosen = [paths[i] for i in np.linspace(0, len(paths) - 1, min(most, len(paths))).astype(int)]
    images = [preprocess(read_image(p), options.size, bool(options.letter_box))[0] for p in chosen]
    count = max(1, len(images) // form.batch) * form.batch
    return np.stack([images[i % len(images)] for i in range(count)]).reshape(
        -1, form.batch, *images[0].shape
    )


def float_layers(network: Network) -> set[int]:
    """Return the layers that stay in float: the heads and what stands right above them.

    A head's values span logits from far below 0 to far above: 256 levels are too few for them, and
    the layer above costs little.
    """
    nodes = output_nodes(network)
    return {index for node in nodes for index in (node.index, *node.inputs)}


def is_float(name: str, layers: set[int]) -> bool:
    """Return whether an operator stays in float, by its name: `/plain/layers.7/...`."""
    parts = name.split("/")
    if len(parts) < 3 or parts[1] != "plain":
        return True  # decoding and suppression
    return int(parts[2].partition(".")[2]) in layers
