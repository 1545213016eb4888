"""A trained network's weights for its ghost version: nothing is drawn, all is fitted.

Old and new network run side by side on calibration pictures. In each module the intrinsic maps
start from their filters, the cheap kernels are fitted to the maps that they replace, then both
together; what reads the module has its input channels in the module's order. Batch norms take up
what the modules miss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ghostyolo.ghostify.batchnorm import match, settle
from ghostyolo.ghostify.channel_order import BY_CHANNEL, Orders, absorbs
from ghostyolo.ghostify.choice import Split
from ghostyolo.ghostify.fit import correction, fit_kernels, seen
from ghostyolo.ghostify.linear import pairwise, samples
from ghostyolo.ghostify.matching import origins, pick
from ghostyolo.ghostify.refine import STEPS, refine
from ghostyolo.ghostify.rewrite import Ghost, Ghostified
from ghostyolo.layers.connected import Connected
from ghostyolo.layers.convolutional import Convolutional
from ghostyolo.model.model import Model
from ghostyolo.network import IMAGE, Node
from ghostyolo.network.liveness import last_uses
from ghostyolo.ops import Convolution

WIDEST = 2304  # weights of a filter that are still corrected: 256 channels of 3 x 3
Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Kept:
    """A replaced layer or a result, by its old index; error: share of its variance that is lost.

    ordered: whether its maps could be put in the order that suits the cheap kernels.
    """

    index: int
    ghost: bool
    ordered: bool
    error: float


def transfer(
    old: Model,
    done: Ghostified,
    pictures: Tensor,
    *,
    reorder: bool = True,
    steps: int = STEPS,
    told: Callable[[int], object] = lambda modules: None,
) -> tuple[Model, list[Kept]]:
    """Return the new network's model with the old one's weights, and what each module keeps.

    pictures: (N, C, h, w), of the kind that the network is for. reorder: whether maps may change
    their order, so that those which stay are the best to make the others from; else the first stay.
    steps: of descent for each module. told: hears how many modules are done.
    """
    old = old.eval()
    new = Model(done.network).eval()
    new.seen = old.seen
    with torch.no_grad():
        orders = Orders(old.network)
        order = _choose(old, done, orders, pictures) if reorder else {}
        kept = list[Kept]()
        for row in _Pair(old, new, done, orders, order, steps).run(pictures):
            kept.append(row)
            told(sum(row.ghost for row in kept))
    return new, kept


def _choose(
    old: Model, done: Ghostified, orders: Orders, pictures: Tensor
) -> dict[int, np.ndarray]:
    """Return the order of maps for each order's number that ghost modules have a say in."""
    splits: dict[int, Split] = {}
    errors: dict[int, np.ndarray] = {}
    weight = _importance(old, orders)
    for node, out, _ in _outputs(old, pictures):
        ghost = done.ghosts.get(node.index)
        if ghost is None:
            continue
        number = orders.order(orders.of[node.index][0])
        if orders.fixed(number):
            continue
        lost = pairwise(out, _kernel(done, ghost)) * (out.var((0, 2, 3)) * weight[number])
        splits[number] = ghost.split
        share = (lost / lost.mean().clamp(min=1e-20)).numpy()
        errors[number] = errors.get(number, 0) + share
    return {number: pick(errors[number], split) for number, split in splits.items()}


def _importance(old: Model, orders: Orders) -> dict[int, Tensor]:
    """Return how strongly each channel of an order is read: the sum of the squared weights."""
    found: dict[int, Tensor] = {}
    for node, tensors in zip(old.network, old.tensors(), strict=True):
        name = next((name for name in ("conv.weight", "linear.weight") if name in tensors), "")
        columns: list[Tensor] | None = None
        if name and absorbs(node.layer):
            channels = old.network.shape(node.inputs[0]).c
            strength = tensors[name].square().flatten(1).sum(0).view(channels, -1).sum(1)
            columns = list(strength.split([size for _, size in orders.sizes(node.inputs[0])]))
        for place, (number, size) in enumerate(orders.sizes(node.inputs[0])):
            own = columns[place] if columns else torch.zeros(size)
            found[number] = found.get(number, torch.zeros(size)) + own
    for number, strength in found.items():
        found[number] = strength if strength.any() else torch.ones_like(strength)
    return found


def _outputs(model: Model, x: Tensor) -> Iterator[tuple[Node, Tensor, list[Tensor]]]:
    """Yield each node with its output and inputs; outputs are let go after their last use."""
    live = {IMAGE: x}
    dead = last_uses(model.network)
    for node, module in zip(model.network, model.layers, strict=True):
        inputs = [live[index] for index in node.inputs]
        live[node.index] = module(*inputs)
        yield node, live[node.index], inputs
        for index in dead[node.index]:
            del live[index]


def _kernel(done: Ghostified, ghost: Ghost) -> int:
    cheap = done.network[ghost.convolutions[1]]
    return int(cheap.layer.size)  # type: ignore[attr-defined]


class _Pair:
    """Old and new network in step, the new one's weights made as it goes."""

    def __init__(
        self,
        old: Model,
        new: Model,
        done: Ghostified,
        orders: Orders,
        order: dict[int, np.ndarray],
        steps: int = 0,
    ) -> None:
        self.old, self.new, self.done, self.orders, self.order = old, new, done, orders, order
        self.steps = steps
        self.before, self.after = old.tensors(), new.tensors()
        self.live: dict[int, Tensor] = {}

    def run(self, pictures: Tensor) -> Iterator[Kept]:
        """Fill the new network node by node; yield what modules and results keep."""
        self.live = {IMAGE: pictures}
        last: dict[int, int] = {}
        for node in self.done.network:
            last.update(dict.fromkeys((node.index, *node.inputs), node.index))
        for node, out, inputs in _outputs(self.old, pictures):
            ghost, place = self.done.ghosts.get(node.index), self.done.places[node.index]
            shares = "share_index" in dict(node.refs)
            if ghost:
                self._ghost(node, ghost, inputs[0])
                if self.steps and not shares:
                    self._refine(ghost, out[:, self._permutation(node.index)])
            elif not shares:
                self._copy(node, place, inputs)
            self._compute(place)
            if ghost or node.index in self.old.ends:
                ordered = ghost is None or not self._stays(node.index)
                error = _lost(self.live[place], out[:, self._permutation(node.index)])
                yield Kept(node.index, ghost is not None, ordered, error)
            for index in [index for index in self.live if last.get(index, -1) <= place]:
                del self.live[index]

    def _stays(self, index: int) -> bool:
        return all(number not in self.order for number, _ in self.orders.sizes(index))

    def _permutation(self, index: int) -> Tensor:
        """Return the old channel of each new one of a node's."""
        parts, start = [], 0
        for number, size in self.orders.sizes(index):
            parts.append(start + torch.from_numpy(self.order.get(number, np.arange(size))))
            start += size
        return torch.cat(parts)

    def _compute(self, index: int) -> Tensor:
        node = self.done.network[index]
        inputs = [self.live[other] for other in node.inputs]
        self.live[index] = self.new.layers[index](*inputs)
        return self.live[index]

    def _copy(self, node: Node, place: int, inputs: list[Tensor]) -> None:
        """Give a node its old numbers, in the order of its new channels."""
        channels = self._permutation(node.index)
        self._fill(node, self.after[place], channels)
        self._correct(node, place, inputs[0], channels)
        self._match(node, place, inputs[0], channels)

    def _fill(self, node: Node, target: Tensors, channels: Tensor) -> None:
        """Copy those channels of a node's tensors, its input channels in their new order."""
        own = isinstance(node.layer, Convolutional | Connected)
        for name, tensor in self.before[node.index].items():
            if tensor.dim() and own:
                tensor = tensor[channels]
            elif tensor.dim() and isinstance(node.layer, BY_CHANNEL):
                tensor = tensor[..., channels] if tensor.shape[-1] > 1 else tensor
            if tensor.dim() > 1 and absorbs(node.layer):
                reads = self._permutation(node.inputs[0])
                columns = tensor.reshape(len(tensor), len(reads), -1)[:, reads]
                tensor = columns.reshape(tensor.shape)
            target[name].copy_(tensor)

    def _ghost(self, node: Node, ghost: Ghost, x: Tensor) -> None:
        """Fill a module's primary convolution, then fit its cheap kernels to the old maps."""
        shares = "share_index" in dict(node.refs)
        module = self.old.layers[node.index]
        assert isinstance(module, Convolution)
        channels, count = self._permutation(node.index), ghost.split.primary
        primary = ghost.convolutions[0]
        if not shares:
            self._fill(node, self.after[primary], channels[:count])
            self._correct(node, primary, x, channels[:count])
            self._match(node, primary, x, channels[:count])
        self._compute(primary)
        wanted = module.conv(x)
        wanted = (wanted if module.norm is None else module.norm(wanted))[:, channels]
        start, of = count, torch.from_numpy(origins(ghost.split))
        for index in ghost.convolutions[1:]:
            if self.done.network[index].inputs[0] != primary:
                self._compute(index - 1)  # the slice that the rest is made from
            stop = start + self.done.network[index].shape.c
            if not shares:
                maps = self.live[self.done.network[index].inputs[0]]
                self._fit(index, maps, wanted[:, start:stop], of[start:stop])
            self._compute(index)
            start = stop

    def _fit(self, index: int, maps: Tensor, wanted: Tensor, source: Tensor) -> None:
        module, tensors = self.new.layers[index], self.after[index]
        assert isinstance(module, Convolution)
        kernel = tensors["conv.weight"]
        windows, targets = samples(maps, wanted, kernel.shape[-1])
        taps, bias = fit_kernels(windows, targets, source, module.act)
        kernel.copy_(taps.view_as(kernel))
        if module.norm is None:
            tensors["conv.bias"].copy_(bias)
            return
        tensors["norm.running_mean"].zero_()
        tensors["norm.running_var"].fill_(1 - module.norm.eps)
        tensors["norm.weight"].fill_(1)
        tensors["norm.bias"].copy_(bias)
        settle(module, maps)

    def _refine(self, ghost: Ghost, wanted: Tensor) -> None:
        """Fit all of a module to the maps that it is to make, from what it now receives."""
        nodes = self.done.network.nodes[ghost.convolutions[0] : ghost.out + 1]
        source, layers = nodes[0].inputs[0], [self.new.layers[node.index] for node in nodes]

        def module(x: Tensor) -> Tensor:
            live = {source: x}
            for node, layer in zip(nodes, layers, strict=True):
                live[node.index] = layer(*(live[index] for index in node.inputs))
            return live[ghost.out]

        parameters = [parameter for layer in layers for parameter in layer.parameters()]
        refine(module, parameters, self.live[source], wanted, self.steps)
        for node, layer in zip(nodes, layers, strict=True):
            if isinstance(layer, Convolution) and layer.norm is not None:
                settle(layer, self.live[node.inputs[0]])
            self._compute(node.index)

    def _match(self, node: Node, place: int, x: Tensor, channels: Tensor) -> None:
        old, new = self.old.layers[node.index], self.new.layers[place]
        if isinstance(new, Convolution) and new.norm is not None and not new.binary_input:
            assert isinstance(old, Convolution)
            maps = self.live[self.done.network[place].inputs[0]]
            match(new, maps, old.conv(x)[:, channels])

    def _correct(self, node: Node, place: int, x: Tensor, channels: Tensor) -> None:
        """Let a dense convolution make up, as far as it can, for what its input has lost."""
        old, new = self.old.layers[node.index], self.new.layers[place]
        if not isinstance(node.layer, Convolutional) or not absorbs(node.layer):
            return
        assert isinstance(old, Convolution) and isinstance(new, Convolution)
        weight, maps = new.conv.weight, self.live[self.done.network[place].inputs[0]]
        if weight[0].numel() > WIDEST or new.binary_input:
            return
        missing = old.conv(x)[:, channels] - new.conv(maps)
        windows, lacking = seen(maps, missing, new.conv)
        weight += correction(windows, lacking).view_as(weight)
        if new.conv.bias is not None:
            new.conv.bias += (old.conv(x)[:, channels] - new.conv(maps)).mean((0, 2, 3))


def _lost(got: Tensor, wanted: Tensor) -> float:
    """Return the share of the variance of maps that others miss."""
    centred = wanted - wanted.mean((0, 2, 3), keepdim=True)
    return float((got - wanted).square().sum() / centred.square().sum().clamp(min=1e-20))
