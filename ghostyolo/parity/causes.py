"""Why two runs differ: compare inputs, cfgs and weights, then try `known_differences`.

A known difference is computed from the peer's own inputs of the layer, or in the whole network if
only outputs are known. It is the cause only if the two runs then agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ghostyolo.model.model import Model
from ghostyolo.network import IMAGE, Network, Node
from ghostyolo.network.difference import node_difference
from ghostyolo.network.weights_file import stored
from ghostyolo.parity import known_differences
from ghostyolo.parity.difference import difference, relative_difference
from ghostyolo.parity.peers import Peer

MOST_LEFT = 0.25  # share of the difference that a known difference may leave unexplained,
CLOSE = 1e-3  # and the relative difference that it may leave
MISALIGNED = 3  # least number of layers, all up to the last one, whose weights differ
Compute = Callable[[], Tensor]


@dataclass(frozen=True)
class Cause:
    """Why two runs differ; index: the layer at fault if there is one, -1 for the input."""

    text: str
    index: int | None = None


def find(
    model: Model,
    x: np.ndarray,
    peer: Peer,
    first: int,
    share: float,
    own: dict[int, float],
    tolerance: float,
) -> Cause:
    """Return the cause of a difference.

    first: the first layer that differs. share: by how much, relative to its largest magnitude. own:
    by layer, the relative difference when the layer gets the peer's inputs, where these are known.
    """
    if put_in := _input(x, peer) or _cfg(model, peer, first) or _weights(model, peer, first):
        return put_in
    own = {index: value for index, value in own.items() if index <= first}
    for index, value in own.items():
        if value > tolerance:
            return Cause(_in_layer(model, x, peer, model.network[index], value), index)
    variants = known_differences.of_network(model, model.network[first], _tensor(model, x))
    text = _explaining(variants, peer.outputs[first], share, peer.view)
    if not text and own:
        text = f"accumulated rounding: no layer alone differs by more than {max(own.values()):.1e}"
    return Cause(text or "unknown: no known difference explains these numbers")


def own_differences(model: Model, x: np.ndarray, peer: Peer) -> dict[int, float]:
    """Return by layer the relative difference when it gets the peer's inputs, if they are known."""
    found = {}
    for node in model.network:
        inputs = _inputs(model, x, peer, node)
        if inputs is not None and node.index in peer.outputs:
            output = _computed(partial(model.layers[node.index], *inputs))
            found[node.index] = relative_difference(output, peer.outputs[node.index])
    return found


def cfg_differences(ours: Network, theirs: Network | None) -> Iterator[tuple[int, str]]:
    """Yield the layers in which two networks differ, and how."""
    if theirs is None:
        return
    for a, b in zip(ours, theirs, strict=False):
        if text := node_difference(a, b):
            yield a.index, f"layer {a.index} [{a.layer.kind}] {text}"
        if a.layer.kind != b.layer.kind:
            return  # later layers no longer correspond
    if len(ours) != len(theirs):
        yield min(len(ours), len(theirs)), f"{len(ours)} layers here, {len(theirs)} there"


def _input(x: np.ndarray, peer: Peer) -> Cause | None:
    if np.array_equal(x, peer.x):
        return None
    if np.array_equal(x[:, ::-1], peer.x):
        return Cause("another input: its channels are in reversed order (BGR)", IMAGE)
    return Cause(f"another input: it differs by up to {difference(x, peer.x):.3g}", IMAGE)


def _cfg(model: Model, peer: Peer, first: int) -> Cause | None:
    for index, text in cfg_differences(model.network, peer.network):
        if index <= first:
            return Cause(f"the cfgs differ: {text}", index)
    return None


def _weights(model: Model, peer: Peer, first: int) -> Cause | None:
    """Return the first layer up to `first` whose stored tensors differ from the peer's."""
    differing = dict[int, list[str]]()  # of the layers that can be compared
    for node, tensors in zip(model.network, model.tensors(), strict=True):
        same = {
            name: peer.holds(node.index, name, tensors[name].detach().float().cpu().numpy())
            for name, _ in stored(model.network, node)
        }
        if set(same.values()) - {None}:
            differing[node.index] = [name for name in same if same[name] is False]
    wrong = [index for index, names in differing.items() if names]
    if not wrong or wrong[0] > first:
        return None
    index = wrong[0]
    place = f"layer {index} [{model.network[index].layer.kind}]"
    if len(wrong) >= MISALIGNED and wrong == [other for other in differing if other >= index]:
        text = f"weights misaligned from {place} on: those of all {len(wrong)} layers differ"
        return Cause(text, index)
    others = f"; so do those of {len(wrong) - 1} layers below" if len(wrong) > 1 else ""
    return Cause(f"other weights: {place} {', '.join(differing[index])} differs{others}", index)


def _inputs(model: Model, x: np.ndarray, peer: Peer, node: Node) -> tuple[Tensor, ...] | None:
    """Return the peer's inputs of a node, None unless all values of all inputs are known."""
    arrays = [x if index == IMAGE else peer.outputs.get(index) for index in node.inputs]
    shapes = [(len(x), *model.network.shape(index)) for index in node.inputs]
    if any(a is None or a.shape != shape for a, shape in zip(arrays, shapes, strict=True)):
        return None
    return tuple(_tensor(model, array) for array in arrays if array is not None)


def _in_layer(model: Model, x: np.ndarray, peer: Peer, node: Node, share: float) -> str:
    """Return why a layer differs though it gets the peer's inputs, or how its values differ."""
    inputs, theirs = _inputs(model, x, peer, node), peer.outputs[node.index]
    assert inputs is not None, "its own difference is known"
    variants = known_differences.of_layer(model, node, inputs)
    ours = _computed(partial(model.layers[node.index], *inputs))
    return _explaining(variants, theirs, share) or _pattern(ours, theirs)


def _explaining(
    variants: Iterable[tuple[str, Compute]],
    theirs: np.ndarray,
    share: float,
    view: Callable[[np.ndarray], np.ndarray] = lambda output: output,
) -> str:
    """Return the variant that leaves the least difference, "" if that is more than rounding."""
    best, name = min(MOST_LEFT * share, CLOSE), ""
    for text, compute in variants:
        try:
            left = relative_difference(view(_computed(compute)), theirs)
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError, AssertionError):
            continue  # the layer cannot be computed in this way
        if left < best:
            best, name = left, text
    return name


def _tensor(model: Model, array: np.ndarray) -> Tensor:
    return torch.from_numpy(array).to(model.device)


@torch.inference_mode()
def _computed(compute: Compute) -> np.ndarray:
    return compute().cpu().numpy()


def _pattern(ours: np.ndarray, theirs: np.ndarray) -> str:
    """Return how the values differ if no known difference explains them."""
    if ours.shape != theirs.shape:
        return f"another shape: {ours.shape[1:]} here, {theirs.shape[1:]} there"
    if not theirs.any():
        return "all its values are 0 there"
    cut = (theirs.view(np.uint32) & 0xFFFF0000).view(np.float32)
    for name, rounded in (("float16", theirs.astype(np.float16)), ("bfloat16", cut)):
        if np.array_equal(rounded.astype(np.float32), theirs):
            return f"half precision: all its values there are {name} numbers"
    apart = np.abs(ours - theirs) > MOST_LEFT * difference(ours, theirs)
    inner = apart[:, :, 1:-1, 1:-1]
    channels = int(apart.any((0, 2, 3)).sum())
    where = "at the border only, so the padding" if inner.size and not inner.any() else "unknown"
    return f"{where}: {channels} of {apart.shape[1]} channels differ"
