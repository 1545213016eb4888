"""The tensors of Darknet's `.weights` files, read and written; see `network.weights_file`."""

from __future__ import annotations

import logging
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ghostyolo.network import Network, Node, run_record, weights_file
from ghostyolo.network.weights_file import Header, Item, stored

logger = logging.getLogger(__name__)


class File(NamedTuple):
    """An open `.weights` file, with the tensors that it holds, in their order."""

    header: Header
    items: list[Item]
    floats: np.ndarray  # mapped into memory, read when used

    def fill(self, tensors: list[dict[str, Tensor]]) -> None:
        """Copy the file's floats into each node's tensors, by name, as `Model` holds them."""
        start = 0
        with torch.no_grad():
            for node, name, shape in self.items:
                size = prod(shape)
                values = torch.from_numpy(self.floats[start : start + size])
                start += size
                if name == node.layer.transposed_name(self.header.transposed):
                    values = values.view(-1, shape[0]).t()
                tensors[node.index][name].copy_(values.reshape(shape))


def opened(path: str | Path, network: Network, *, partial: bool | None = None) -> File:
    """Open a file and find a network's tensors in it. Raises `WeightsError`, see `inspect`.

    Logs a warning for values that are not finite.
    """
    header, items = contents = weights_file.inspect(path, network, partial=partial)
    if found := weights_file.not_finite(path, contents):
        logger.warning("%s: %s; %s", path, found, weights_file.DIVERGED)
    if not items:
        return File(header, items, np.empty(0, np.float32))
    return File(header, items, np.memmap(path, "<f4", "c", header.size))


def read(path: str | Path, network: Network, tensors: list[dict[str, Tensor]]) -> Header:
    """Fill each node's tensors from a file. Raises `WeightsError`, with nothing changed."""
    file = opened(path, network)
    file.fill(tensors)
    return file.header


def write(
    path: str | Path,
    network: Network,
    tensors: list[dict[str, Tensor]],
    *,
    seen: int = 0,
    cutoff: int | None = None,
) -> None:
    """Write the tensors of all nodes, or of the first `cutoff` nodes, as a `.weights` file.

    A crash leaves the old file complete, see `files.replace`. In the folder of a training run, the
    record of the run is given its checksum.
    """
    nodes = network.nodes[:cutoff]
    arrays = (
        _as_stored(node, name, tensors[node.index][name].detach().cpu().float())
        for node in nodes
        for name, _ in stored(network, node)
    )
    run_record.replace(path, [Header(seen=seen).pack(), *(array.tobytes() for array in arrays)])


def _as_stored(node: Node, name: str, tensor: Tensor) -> np.ndarray:
    """Return the values of a tensor in the order of the file."""
    if name == node.layer.transposed_name(Header().transposed):
        tensor = tensor.flatten(1).t()
    return tensor.contiguous().numpy()
