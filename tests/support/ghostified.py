"""An oracle for ghostify: weights under which a network and its ghost version must be equal.

If each cheap map of the original is a positive multiple of an intrinsic one, the activation ReLU or
none, and each cheap kernel its centre tap with that factor, both compute the same in every layer.
A single reference that pointed elsewhere would show in the first layer behind it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ghostyolo.ghostify import GhostModule, GhostOptions, ghostify
from ghostyolo.layers import Layer
from ghostyolo.model.model import Model
from ghostyolo.network import Network, Node, dumps, loads, passes
from support.cases import random_input, random_model

KEPT = {"relu", "linear"}
Tensors = dict[str, Tensor]


def with_relu(network: Network, options: GhostOptions) -> Network:
    """Return the network with ReLU where convolutions to be replaced have another activation."""
    chosen = set(ghostify(network, options).ghosts)

    def change(node: Node) -> Layer:
        layer = node.layer
        if node.index in chosen and layer.activation not in KEPT:
            return layer.changed(activation="relu")
        return layer

    return passes.rebuild(network, change)


def departures(
    network: Network, options: GhostOptions, dtype: torch.dtype = torch.float32
) -> dict[int, float]:
    """Return how far each old node's output is from the same in the new network, as a share.

    The new network is written and read again before it runs. dtype: in float64 what is left of
    rounding in the deepest networks goes away, and a wrong reference would not.
    """
    network = with_relu(network, options)
    done = ghostify(network, options)
    old = random_model(network).to(dtype)
    new = Model(loads(dumps(done.network))).to(dtype).eval()
    before, after = old.tensors(), new.tensors()
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for index, ghost in done.ghosts.items():
            if "share_index" not in dict(network[index].refs):
                _make_redundant(before[index], ghost, rng)
                _fill(before[index], [after[i] for i in ghost.convolutions], ghost)
        for index, place in done.places.items():
            if index >= 0 and index not in done.ghosts:
                for name, tensor in after[place].items():
                    tensor.copy_(before[index][name])
    x = torch.from_numpy(random_input(network)).to(dtype)
    one, two = old.trace(x), new.trace(x)
    return {
        index: float((two[place] - one[index]).abs().max() / one[index].abs().max().clamp(min=1e-9))
        for index, place in done.places.items()
        if index >= 0
    }


def origins(ghost: GhostModule) -> list[int]:
    """Return the intrinsic map that each map of a ghost module comes from."""
    parts = ghost.split
    found = list(range(parts.primary))
    if parts.rounds:
        found += [i // parts.rounds for i in range(parts.primary * parts.rounds)]
    if parts.rest:
        found += [i // (parts.rest // parts.source) for i in range(parts.rest)]
    return found


def _make_redundant(tensors: Tensors, ghost: GhostModule, rng: np.random.Generator) -> None:
    """Make each cheap map of a convolution half to twice its intrinsic one."""
    of = torch.tensor(origins(ghost))
    factor = torch.ones(len(of))
    cheap = len(of) - ghost.split.primary
    factor[ghost.split.primary :] = torch.from_numpy(rng.uniform(0.5, 2, cheap)).float()
    for name, tensor in tensors.items():
        if tensor.dim():
            tensor.copy_(tensor[of])
        if name in ("norm.weight", "norm.bias", "conv.bias") or (
            name == "conv.weight" and "conv.bias" in tensors
        ):
            tensor.mul_(factor.view(-1, *[1] * (tensor.dim() - 1)))
    tensors["factor"] = factor


def _fill(source: Tensors, parts: list[Tensors], ghost: GhostModule) -> None:
    factor, start = source.pop("factor"), ghost.split.primary
    for name, tensor in parts[0].items():
        tensor.copy_(source[name][:start] if tensor.dim() else source[name])
    for part in parts[1:]:
        count, _, size, _ = part["conv.weight"].shape
        for name, tensor in part.items():
            tensor.fill_(1.0 if name == "norm.weight" else 0.0)
            if name == "norm.running_var":
                tensor.fill_(1 - 1e-5)
        centre = part["conv.weight"][:, 0, size // 2, size // 2]
        centre.copy_(factor[start : start + count])
        start += count
