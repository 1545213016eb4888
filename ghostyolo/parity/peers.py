"""Peers: runs of the same network by other programs, with which a model is compared."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ghostyolo.errors import DataError, Span
from ghostyolo.model.model import Model
from ghostyolo.network import Network
from ghostyolo.parity.trace import Trace, summary, tensor_hash
from ghostyolo.runtime import onnxruntime

# Takes a node's index, a tensor's name and its values.
Holds = Callable[[int, str, np.ndarray], bool | None]


@dataclass(frozen=True)
class Peer:
    """What another program computed from the same cfg, weights and input.

    x: its input. outputs: by node, in the node's shape, or their `summary` if samples is not 0.
    names: its names of the outputs. network: its own, if known. holds: returns whether the peer has
    the same stored tensor, None if that is unknown. notes: remarks to print with the numbers.
    """

    title: str
    x: np.ndarray
    outputs: Mapping[int, np.ndarray]
    names: Mapping[int, str] = field(default_factory=dict)
    samples: int = 0
    network: Network | None = None
    holds: Holds = lambda index, name, values: None
    notes: tuple[str, ...] = ()

    def view(self, output: np.ndarray) -> np.ndarray:
        """Return an output of the model in the peer's format: all values, or their summary."""
        return summary(output, self.samples) if self.samples else output


def of_trace(trace: Trace, path: str | Path) -> Peer:
    """Return the run in a trace."""

    def holds(index: int, name: str, values: np.ndarray) -> bool | None:
        own = trace.hashes.get(index, {}).get(name)
        return None if own is None else own == tensor_hash(values)

    made = ", ".join(f"{name} {value}" for name, value in trace.versions.items())
    return Peer(
        f"trace {path}",
        trace.x,
        trace.outputs,
        samples=trace.samples,
        network=trace.network,
        holds=holds,
        notes=(f"the trace was made by {made}",),
    )


def of_onnx(model: Model, path: str | Path, x: np.ndarray) -> Peer:
    """Run an ONNX file in onnxruntime and assign its outputs to the model's layers.

    An output named KIND_INDEX or layer_INDEX belongs to that layer; the others belong, in their
    order, to the heads, or to the last layer. Raises `DataError` if no output fits any layer.
    """
    session = onnxruntime.session(path)
    found = onnxruntime.outputs(session, path, x)
    names = {
        index: name
        for name, out in found.items()
        if (index := _named(model.network, name)) is not None
        and onnxruntime.fits(out, model.network[index].shape)
    }
    rest = [name for name in found if name not in names.values()]
    for index in model.output_indices:
        shape = model.network[index].shape
        fitting = [name for name in rest if onnxruntime.fits(found[name], shape)]
        if index not in names and fitting:
            names[index] = fitting[0]
            rest.remove(fitting[0])
    outputs = {index: found[name].astype(np.float32) for index, name in sorted(names.items())}
    if not outputs:
        have = ", ".join(f"{name} {out.shape}" for name, out in found.items())
        want = ", ".join(f"{index}: {model.network[index].shape}" for index in model.output_indices)
        message = f"no output has the shape of a result ({want}); it has {have}"
        hint = "export the heads' outputs, (N, C, H, W), for this cfg"
        raise DataError(message, span=Span(str(path)), hint=hint)
    return Peer(f"onnx {path}", x, outputs, names, notes=_unmatched(model, outputs, rest))


def _named(network: Network, name: str) -> int | None:
    """Return the index of the layer that an output is named after, None if there is none."""
    match = re.fullmatch(r"([a-zA-Z_]+?)_(\d+)", name)
    if not match or int(match[2]) >= len(network):
        return None
    index = int(match[2])
    return index if match[1] in ("layer", network[index].layer.kind) else None


def _unmatched(model: Model, outputs: Mapping[int, np.ndarray], rest: list[str]) -> tuple[str, ...]:
    absent = [str(index) for index in model.output_indices if index not in outputs]
    notes = [f"no output of the file is layer {', '.join(absent)}"] if absent else []
    return (*notes, *(f"output {name} of the file is no result of the cfg" for name in rest))
