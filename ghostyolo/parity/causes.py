"""Why two runs depart: asked in the order in which the answers are certain.

First what was put in (input, cfg, weights), then what was computed: every suspect is computed from
the other side's own inputs of the layer, and named only where it gives that side's output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ghostyolo.model.model import Model
from ghostyolo.model.weights import stored
from ghostyolo.network import IMAGE, Network, Node
from ghostyolo.parity import suspects
from ghostyolo.parity.measure import difference, on_device_of, share
from ghostyolo.parity.peers import Side

FITS = 0.25  # a suspect is named where it leaves at most this part of a difference,
CLOSE = 1e-3  # and at most this share of the largest magnitude
MISALIGNED = 3  # layers in a row, to the end, whose weights all differ


@dataclass(frozen=True)
class Cause:
    """Why, and the layer at fault where it is one."""

    text: str
    index: int | None = None


def find(
    model: Model, x: np.ndarray, side: Side, own: dict[int, float], first: int, tolerance: float
) -> Cause:
    """Return the cause of a departure first seen in layer `first`.

    own: by layer, how far it departs when given the other side's inputs, where these are known.
    """
    cause = _other_input(x, side) or _other_cfg(model, side, first)
    if cause or (cause := _other_weights(model, side, first)):
        return cause
    index = _culprit(own, first, tolerance)
    if index is None:
        return _throughout(model, x, side, first)
    if own[index] <= tolerance:
        return Cause(_adding_up(model, x, side, {i: own[i] for i in own if i <= first}))
    found = _suspect(model, x, side, model.network[index], own[index])
    return Cause(found or _facts(model, x, side, index), index)


def own_departures(model: Model, x: np.ndarray, side: Side) -> dict[int, float]:
    """Return how far each layer departs when it is given the other side's inputs."""
    found = {}
    with torch.inference_mode():
        for node in model.network:
            inputs = _inputs(model, x, side, node)
            if inputs is not None and node.index in side.outputs:
                output = model.layers[node.index](*inputs).cpu().numpy()
                found[node.index] = share(output, side.outputs[node.index])
    return found


def _other_input(x: np.ndarray, side: Side) -> Cause | None:
    if np.array_equal(x, side.x):
        return None
    if np.array_equal(x[:, ::-1], side.x):
        return Cause("another input: its channels are in reversed order (BGR)", IMAGE)
    text = f"another input: it differs by up to {difference(x, side.x):.3g}"
    return Cause(text, IMAGE)


def _other_cfg(model: Model, side: Side, first: int) -> Cause | None:
    for index, text in cfg_differences(model.network, side.network):
        if index <= first:
            return Cause(f"the cfgs differ: {text}", index)
    return None


def cfg_differences(ours: Network, theirs: Network | None) -> Iterator[tuple[int, str]]:
    """Yield the layers in which two networks differ, and how."""
    if theirs is None:
        return
    for a, b in zip(ours, theirs, strict=False):
        if a.layer.kind != b.layer.kind:
            yield a.index, f"layer {a.index} is [{a.layer.kind}] here, [{b.layer.kind}] there"
            return  # nothing below stands beside its like
        mine, other = dict(a.layer.items()), dict(b.layer.items())
        keys = [key for key in {**mine, **other} if mine.get(key) != other.get(key)]
        if keys or a.inputs != b.inputs:
            said = [
                f"{key}={mine.get(key, 'default')} here, {other.get(key, 'default')} there"
                for key in keys
            ]
            if a.inputs != b.inputs:
                said.append(f"reads layers {a.inputs} here, {b.inputs} there")
            yield a.index, f"layer {a.index} [{a.layer.kind}] {'; '.join(said)}"
    if len(ours) != len(theirs):
        at = min(len(ours), len(theirs))
        yield at, f"{len(ours)} layers here, {len(theirs)} there"


def _other_weights(model: Model, side: Side, first: int) -> Cause | None:
    """Return the first layer up to `first` whose stored tensors the other side does not hold."""
    differing = {index: names for index, names in _tensors(model, side) if names is not None}
    wrong = [index for index, names in differing.items() if names]
    if not wrong or wrong[0] > first:
        return None
    index = wrong[0]
    after = [other for other in differing if other >= index]
    place = f"layer {index} [{model.network[index].layer.kind}]"
    if wrong == after and len(after) >= MISALIGNED:
        text = f"weights misaligned from {place} on: those of all {len(after)} layers differ"
        return Cause(text, index)
    others = f"; so do those of {len(wrong) - 1} layers below" if len(wrong) > 1 else ""
    return Cause(f"other weights: {place} {', '.join(differing[index])} differs{others}", index)


def _tensors(model: Model, side: Side) -> Iterator[tuple[int, list[str] | None]]:
    """Yield, by layer, the tensors that differ; None where none can be looked at."""
    tensors = model.tensors()
    for node in model.network:
        seen = {}
        for name, _ in stored(model.network, node):
            values = tensors[node.index][name].detach().float().cpu().numpy()
            seen[name] = side.holds(node.index, name, values)
        if any(known is not None for known in seen.values()):
            yield node.index, [name for name, known in seen.items() if known is False]


def _culprit(own: dict[int, float], first: int, tolerance: float) -> int | None:
    """Return the first layer that departs of itself, else the one that does so most."""
    above = {index: value for index, value in own.items() if index <= first}
    departing = [index for index, value in above.items() if value > tolerance]
    return departing[0] if departing else max(above, key=above.__getitem__, default=None)


def _inputs(model: Model, x: np.ndarray, side: Side, node: Node) -> tuple[Tensor, ...] | None:
    """Return the other side's inputs of a node, where all are known and whole."""
    found = []
    for index in node.inputs:
        array = x if index == IMAGE else side.outputs.get(index)
        if array is None or array.shape != (len(x), *model.network.shape(index)):
            return None
        found.append(on_device_of(model, array))
    return tuple(found)


def _suspect(model: Model, x: np.ndarray, side: Side, node: Node, departure: float) -> str | None:
    """Return the suspect that best explains a layer's own departure, if one does."""
    inputs = _inputs(model, x, side, node)
    assert inputs is not None, "its own departure is known"
    module, shapes = model.layers[node.index], model.network.input_shapes(node)
    layer = model.network.computed_layers()[node.index]
    tried = list(suspects.of_layer(layer, module, shapes, inputs))
    if IMAGE in node.inputs:
        images = suspects.of_image(inputs[0])
        tried += [(words, partial(module, image)) for words, image in images]
    best, words = min(FITS * departure, CLOSE), None
    for text, compute in tried:
        left = _left(compute, side.outputs[node.index])
        if left < best:
            best, words = left, text
    return words


def _adding_up(model: Model, x: np.ndarray, side: Side, own: dict[int, float]) -> str:
    """Say what makes layers depart together, none of which departs by more than the tolerance."""
    best, words = FITS, ""
    for text, change in suspects.changes():
        before = after = 0.0
        for index, departure in own.items():
            altered = suspects.apply(model.layers[index], change)
            inputs = _inputs(model, x, side, model.network[index])
            if altered is not None and inputs is not None:
                before += departure
                after += _left(partial(altered, *inputs), side.outputs[index])
        if before and after / before < best:
            best, words = after / before, f"{text}, in every layer"
    most = max(own.values())
    return words or f"rounding that adds up: no layer alone departs by more than {most:.1e}"


def _left(
    compute: suspects.Compute,
    want: np.ndarray,
    view: Callable[[np.ndarray], np.ndarray] = lambda output: output,
) -> float:
    """Return how far a suspect is from the other side's output; inf where it cannot be run."""
    try:
        with torch.inference_mode():
            return share(view(compute().cpu().numpy()), want)
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError, AssertionError):
        return float("inf")


def _throughout(model: Model, x: np.ndarray, side: Side, first: int) -> Cause:
    """Try suspects in the whole network, where only results are known."""
    want = side.outputs[first]
    image = on_device_of(model, x)

    def left(other: Model, image: Tensor) -> float:
        return _left(lambda: other.run(image, frozenset({first}))[first], want, side.view)

    best, words = min(FITS * left(model, image), CLOSE), ""
    for text, changed in suspects.of_image(image):
        if (now := left(model, changed)) < best:
            best, words = now, text
    for text, change in suspects.changes():
        altered = suspects.apply(model, change)
        if isinstance(altered, Model) and (now := left(altered, image)) < best:
            best, words = now, f"{text}, in every layer"
    node = model.network[first]
    if node.inputs[0] != IMAGE and not side.samples:
        with torch.inference_mode():
            raw = model.run(image, frozenset({node.inputs[0]}))[node.inputs[0]].cpu().numpy()
        if share(raw, want) < best:
            words = f"it holds what [{node.layer.kind}] gets, not what it makes of it"
    return Cause(words or "unknown: no suspect gives these numbers")


def _facts(model: Model, x: np.ndarray, side: Side, index: int) -> str:
    """Say how a layer departs that no suspect explains."""
    inputs = _inputs(model, x, side, model.network[index])
    assert inputs is not None, "its own departure is known"
    with torch.inference_mode():
        ours = model.layers[index](*inputs).cpu().numpy()
    return _pattern(ours, side.outputs[index])


def _pattern(ours: np.ndarray, theirs: np.ndarray) -> str:
    if ours.shape != theirs.shape:
        return f"another shape: {ours.shape[1:]} here, {theirs.shape[1:]} there"
    if not theirs.any():
        return "all its values are 0 there"
    halves = {"float16": theirs.astype(np.float16), "bfloat16": _bfloat16(theirs)}
    for kind, rounded in halves.items():
        if np.array_equal(rounded.astype(np.float32), theirs):
            return f"half precision: all its values there are {kind} numbers"
    apart = np.abs(ours - theirs) > FITS * difference(ours, theirs)
    inner = apart[:, :, 1:-1, 1:-1]
    channels = int(apart.any((0, 2, 3)).sum())
    where = "at the border only, so the padding" if inner.size and not inner.any() else "unknown"
    return f"{where}: {channels} of {apart.shape[1]} channels depart"


def _bfloat16(values: np.ndarray) -> np.ndarray:
    """Cut float32 to the bits that bfloat16 has."""
    return (values.view(np.uint32) & 0xFFFF0000).view(np.float32)
