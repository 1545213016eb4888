"""Fit the weights of a network with ghost modules to those of the trained network, layer by layer.

Old and new network run side by side on calibration pictures. In each module, the intrinsic maps
start from their old filters, then the cheap kernels are fitted to the maps that they replace, then
gradient descent fits all parts together. Layers that read the module get their input channels in
its order. The weights and batch norms of the other layers are corrected for the errors of the
modules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ghostyolo.errors import OptionError
from ghostyolo.ghostify import calibration
from ghostyolo.ghostify.channel_order import ChannelOrders, choose_intrinsic, order_of, origins
from ghostyolo.ghostify.layer_fit import (
    correct_weights,
    fit_cheap,
    match_moments,
    recompute_statistics,
    refine,
)
from ghostyolo.ghostify.least_squares import pairwise
from ghostyolo.ghostify.options import REFINE_STEPS, Split
from ghostyolo.ghostify.rewrite import Ghostified, GhostModule
from ghostyolo.model import compute
from ghostyolo.model.model import Model
from ghostyolo.network import IMAGE, Network, Node
from ghostyolo.network.model_files import weights_path
from ghostyolo.ops.convolution import Convolution

Progress = Callable[[int, int], object]  # called with the numbers of fitted modules and of all


@dataclass(frozen=True)
class LayerFit:
    """How well a ghost module or an output of the network was fitted; index: of the old node.

    ordered: whether its maps could be put in the order that suits the cheap kernels. error: the
    squared error as a share of the maps' variance.
    """

    index: int
    ghost: bool
    ordered: bool
    error: float


def fit_text(fits: Sequence[LayerFit]) -> str:
    """Return how much of the variance of the trained network's maps the fitted weights lose."""
    lost = sorted(fit.error for fit in fits if fit.ghost)
    if not lost:
        return "the weights are copied unchanged"
    outputs = "".join(
        f", {fit.error:.1%} in output layer {fit.index}" for fit in fits if not fit.ghost
    )
    line = f"lost variance of the maps: {lost[len(lost) // 2]:.1%} in the median module{outputs}"
    fixed = sum(fit.ghost and not fit.ordered for fit in fits)
    note = f"\n{fixed} modules keep the order of their maps, as layers that read them need it"
    return line + (note if fixed else "")


def fit_weights(
    network: Network,
    result: Ghostified,
    weights: str | Path,
    out: str | Path,
    *,
    pictures: list[Path] | None = None,
    steps: int | None = None,
    seed: int = 0,
    progress: Progress = lambda done, total: None,
) -> list[LayerFit]:
    """Fit the weights of a ghostified network to those of the original and write them to `out`.

    weights: a file, or the folder of a run. pictures: files to calibrate on; None for synthetic
    noise. steps: of gradient descent for each module, `REFINE_STEPS` if None. seed: of the random
    choice of pictures, or of the noise.
    Raises `OptionError` for negative numbers, and the errors of reading weights and pictures.
    """
    steps = REFINE_STEPS if steps is None else steps
    for name, value in (("seed", seed), ("refine", steps)):
        if value < 0:
            raise OptionError(f"--{name} {value}", hint="use 0 or more")
    old, rng = Model(network, weights_path(weights)), np.random.default_rng(seed)
    if pictures is None:
        x = calibration.synthetic_pictures(network, rng)
    else:
        x = calibration.read_pictures(network, pictures, rng)
    new, fits = transfer(old, result, x, steps=steps, progress=progress)
    new.save_weights(out)
    return fits


def transfer(
    old: Model,
    result: Ghostified,
    pictures: Tensor,
    *,
    steps: int = REFINE_STEPS,
    progress: Progress = lambda done, total: None,
) -> tuple[Model, list[LayerFit]]:
    """Return the new network's model with weights fitted to the old one's, and how well they fit.

    pictures: (N, C, h, w), similar to those that the network will see. steps: of gradient descent
    for each module.
    """
    old = old.eval()
    new = Model(result.network)
    new.seen = old.seen
    with torch.no_grad():
        orders = ChannelOrders(old.network)
        permutations = _permutations(old, result, orders, pictures)
        fits = list[LayerFit]()
        for fit in Transfer(old, new, result, orders, permutations, steps).run(pictures):
            fits.append(fit)
            if fit.ghost:
                progress(sum(fit.ghost for fit in fits), len(result.ghosts))
    return new, fits


def _permutations(
    old: Model, result: Ghostified, orders: ChannelOrders, pictures: Tensor
) -> dict[int, np.ndarray]:
    """Return the new permutation of each channel order that ghost modules may change."""
    splits: dict[int, Split] = {}
    errors: dict[int, np.ndarray] = {}
    weight = _importance(old, orders)
    for index, held in compute.run(compute.calls(old.network, old.layers), pictures):
        ghost, out = result.ghosts.get(index), held[index]
        number, _ = orders.parts(index)[0]
        if ghost is None or orders.is_fixed(number):
            continue
        lost = pairwise(out, result.options.dw) * (out.var((0, 2, 3)) * weight[number])
        splits[number] = ghost.split
        relative = (lost / lost.mean().clamp(min=1e-20)).numpy()
        errors[number] = errors.get(number, 0) + relative
    return {number: choose_intrinsic(errors[number], split) for number, split in splits.items()}


def _importance(old: Model, orders: ChannelOrders) -> dict[int, Tensor]:
    """Return for each order the importance of its channels.

    The importance is the sum of the squared weights that read a channel, 1 if nothing reads any.
    """
    found: dict[int, Tensor] = {}
    for node, tensors in zip(old.network, old.tensors(), strict=True):
        name = next((name for name in ("conv.weight", "linear.weight") if name in tensors), "")
        parts = orders.parts(node.inputs[0])
        columns = [torch.zeros(size) for _, size in parts]
        if name and order_of(old.network, node) == "absorbed":
            channels = old.network.shape(node.inputs[0]).c
            strength = tensors[name].square().flatten(1).sum(0).view(channels, -1).sum(1)
            columns = list(strength.split([size for _, size in parts]))
        for (number, size), column in zip(parts, columns, strict=True):
            found[number] = found.get(number, torch.zeros(size)) + column
    return {n: weight if weight.any() else torch.ones_like(weight) for n, weight in found.items()}


class Transfer:
    """Old and new network side by side; the new one's weights are set node by node.

    permutations: the new permutation of each channel order that changes. steps: of gradient descent
    for each module. outputs: those of the new network's nodes that later nodes still read.
    """

    def __init__(
        self,
        old: Model,
        new: Model,
        result: Ghostified,
        orders: ChannelOrders,
        permutations: dict[int, np.ndarray],
        steps: int = 0,
    ) -> None:
        self.old, self.new, self.result, self.steps = old, new, result, steps
        self.orders, self.permutations = orders, permutations
        self.before, self.after = old.tensors(), new.tensors()
        self.outputs: dict[int, Tensor] = {}
        self.computing: Iterator[tuple[int, dict[int, Tensor]]] = iter(())

    def run(self, pictures: Tensor) -> Iterator[LayerFit]:
        """Set the weights of all nodes; yield how well modules and outputs are fitted."""
        self.outputs = {IMAGE: pictures}
        self.computing = compute.run(compute.calls(self.result.network, self.new.layers), pictures)
        for index, held in compute.run(compute.calls(self.old.network, self.old.layers), pictures):
            node, ghost = self.old.network[index], self.result.ghosts.get(index)
            place, channels = self.result.places[index], self.permutation(index)
            x, shares = held[node.inputs[0]], node.shares_with is not None
            if ghost:
                start = self.outputs[self.result.network[ghost.convolutions[0]].inputs[0]]
                self._set_module(node, ghost, x)
                if self.steps and not shares:
                    self._refine(ghost, start, held[index][:, channels])
            else:
                if not shares:
                    self._copy(node, place, x, channels)
                self._compute_to(place)
            if ghost or index in self.old.output_indices:
                changed = any(part in self.permutations for part, _ in self.orders.parts(index))
                error = _relative_error(self.outputs[place], held[index][:, channels])
                yield LayerFit(index, ghost is not None, ghost is None or changed, error)

    def permutation(self, index: int) -> Tensor:
        """Return for each new channel of a node its old channel."""
        parts, start = [], 0
        for number, size in self.orders.parts(index):
            parts.append(start + torch.from_numpy(self.permutations.get(number, np.arange(size))))
            start += size
        return torch.cat(parts)

    def _compute_to(self, index: int) -> None:
        """Compute the new network's next nodes, up to and including `index`."""
        for node, outputs in self.computing:
            self.outputs = outputs
            if node == index:
                break

    def _copy(self, node: Node, place: int, x: Tensor, channels: Tensor) -> None:
        """Copy some channels of an old node to a new node, and correct them for the new input.

        x: the old node's input.
        """
        self._copy_tensors(node, self.after[place], channels)
        old, new = self.old.layers[node.index], self.new.layers[place]
        if isinstance(new, Convolution) and not new.binary:
            assert isinstance(old, Convolution)
            maps = self.outputs[self.result.network[place].inputs[0]]
            wanted = old.conv(x)[:, channels]
            if order_of(self.old.network, node) == "absorbed":
                correct_weights(new, maps, wanted)
            if new.norm is not None:
                match_moments(new, maps, wanted)

    def _copy_tensors(self, node: Node, target: dict[str, Tensor], channels: Tensor) -> None:
        """Copy some channels of a node's tensors, with the input channels in their new order."""
        own = bool(node.layer.channels_key)  # their first axis is that of the channels
        order = order_of(self.old.network, node)
        for name, tensor in self.before[node.index].items():
            if tensor.dim() and own:
                tensor = tensor[channels]
            elif tensor.dim() and order == "kept":
                tensor = tensor[..., channels] if tensor.shape[-1] > 1 else tensor
            if tensor.dim() > 1 and order == "absorbed":
                reads = self.permutation(node.inputs[0])
                columns = tensor.reshape(len(tensor), len(reads), -1)[:, reads]
                tensor = columns.reshape(tensor.shape)
            target[name].copy_(tensor)

    def _set_module(self, node: Node, ghost: GhostModule, x: Tensor) -> None:
        """Copy a module's primary convolution, then fit its cheap kernels to the old maps.

        x: the old node's input.
        """
        shares = node.shares_with is not None
        module = self.old.layers[node.index]
        assert isinstance(module, Convolution)
        channels, start = self.permutation(node.index), ghost.split.primary
        primary = ghost.convolutions[0]
        if not shares:
            self._copy(node, primary, x, channels[:start])
        self._compute_to(primary)
        wanted = module.conv(x)
        wanted = (wanted if module.norm is None else module.norm(wanted))[:, channels]
        sources = torch.from_numpy(origins(ghost.split))
        for index in ghost.convolutions[1:]:
            cheap, layer = self.result.network[index], self.new.layers[index]
            if cheap.inputs[0] != primary:
                self._compute_to(cheap.inputs[0])  # the slice that the rest is made from
            stop = start + cheap.shape.c
            if not shares:
                assert isinstance(layer, Convolution)
                maps = self.outputs[cheap.inputs[0]]
                fit_cheap(layer, maps, wanted[:, start:stop], sources[start:stop])
            self._compute_to(index)
            start = stop
        self._compute_to(ghost.out)

    def _refine(self, ghost: GhostModule, start: Tensor, wanted: Tensor) -> None:
        """Fit all parts of a module together to the wanted maps; start: the module's input."""
        nodes = self.result.network.nodes[ghost.convolutions[0] : ghost.out + 1]
        source, layers = nodes[0].inputs[0], [self.new.layers[node.index] for node in nodes]

        def module(x: Tensor, new_statistics: bool = False) -> Tensor:
            outputs = {source: x}
            for node, layer in zip(nodes, layers, strict=True):
                if new_statistics and isinstance(layer, Convolution) and layer.norm is not None:
                    recompute_statistics(layer, outputs[node.inputs[0]])
                outputs[node.index] = layer(*(outputs[index] for index in node.inputs))
            return outputs[ghost.out]

        parameters = [parameter for layer in layers for parameter in layer.parameters()]
        refine(module, parameters, start, wanted, self.steps)
        self.outputs[ghost.out] = module(start, new_statistics=True)


def _relative_error(got: Tensor, wanted: Tensor) -> float:
    """Return the squared error as a share of the variance of the wanted maps."""
    centred = wanted - wanted.mean((0, 2, 3), keepdim=True)
    return float((got - wanted).square().sum() / centred.square().sum().clamp(min=1e-20))
