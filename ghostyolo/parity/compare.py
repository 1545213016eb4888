"""Compare a model with a peer: a row per layer, the first layer that differs, and the cause."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from ghostyolo.data.inputs import network_input
from ghostyolo.errors import DataError, OptionError, printable
from ghostyolo.model.model import Model
from ghostyolo.parity import causes
from ghostyolo.parity.causes import Cause
from ghostyolo.parity.difference import absmax, difference
from ghostyolo.parity.opencv_darknet import of_opencv
from ghostyolo.parity.peers import Peer, of_onnx, of_trace
from ghostyolo.parity.trace import read

TOLERANCE = 1e-4  # of a layer's largest magnitude
MOST_NOTES = 5  # about differences of the cfgs


@dataclass(frozen=True)
class LayerParity:
    """One layer: the largest difference, the model's largest magnitude, and their quotient.

    name: the peer's name of the layer. share: the quotient. own: the same quotient when the model's
    layer gets the peer's inputs; None if these are unknown or the runs are equal.
    """

    index: int
    kind: str
    name: str
    shape: tuple[int, ...]
    difference: float
    absmax: float
    share: float
    own: float | None = None

    def cells(self) -> tuple[str, ...]:
        """Return the cells of the layer's line in the table."""
        own = "" if self.own is None else f"{self.own:.1e}"
        numbers = (f"{self.difference:.2e}", f"{self.absmax:.3g}", f"{self.share:.1e}", own)
        return (str(self.index), self.kind, self.name, "x".join(map(str, self.shape)), *numbers)


@dataclass(frozen=True)
class Parity:
    """The comparison of a model with a peer.

    outputs: the network's output layers. first: the first layer that differs by more than the
    tolerance.
    """

    title: str
    tolerance: float
    rows: tuple[LayerParity, ...]
    outputs: frozenset[int]
    first: LayerParity | None
    cause: Cause | None
    notes: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Return whether no layer differs by more than the tolerance."""
        return self.first is None

    def as_dict(self) -> dict[str, Any]:
        """Return everything for JSON; infinite numbers become null."""
        rows = [{name: _finite(v) for name, v in asdict(row).items()} for row in self.rows]
        return {
            "against": self.title,
            "tolerance": self.tolerance,
            "equal": self.equal,
            "first": self.first.index if self.first else None,
            "cause": asdict(self.cause) if self.cause else None,
            "notes": list(self.notes),
            "layers": rows,
        }

    def text(self, *, all_layers: bool = False) -> str:
        """Return the table, the verdict and the notes.

        all_layers: whether the table lists all layers, or only outputs and the first that differs.
        """
        peer = self.title.partition(" ")[0]
        lines = [_line("layer", "", peer, "CxHxW", "max diff", "max", "share", "own")]
        for row in self.rows:
            if all_layers or row.index in self.outputs or row == self.first:
                lines.append(_line(*row.cells()))
        lines += [*self._verdict(), *(f"note: {note}" for note in self.notes)]
        return "\n".join(map(printable, lines))

    def _verdict(self) -> list[str]:
        if self.first is None:
            worst = max(self.rows, key=lambda row: row.share)
            return [
                f"equal to {self.title}: {len(self.rows)} layers within {self.tolerance:g} of "
                f"their largest magnitude; worst is layer {worst.index}, {worst.share:.1e}"
            ]
        over = sum(not row.share <= self.tolerance for row in self.rows)
        lines = [
            f"differs from {self.title}: first in layer {self.first.index} [{self.first.kind}] by "
            f"{self.first.share:.1e}; {over} of {len(self.rows)} layers above {self.tolerance:g}"
        ]
        if self.cause:
            at = self.cause.index
            place = f" (layer {at})" if at is not None and at >= 0 else ""
            lines.append(f"likely cause{place}: {self.cause.text}")
        return lines


def compare_with(
    model: Model,
    against: str,
    *,
    picture: str | None = None,
    seed: int | None = None,
    tolerance: float = TOLERANCE,
    keep_eps: bool = False,
) -> Parity:
    """Run a model and another program on one input and compare them, layer by layer.

    against: "opencv", "onnx:FILE" or "trace:FILE". picture, seed: the input, see `network_input`;
    without both the input of the trace, or random numbers. keep_eps: see `opencv_darknet.read`.
    Raises `OptionError` for other words, and the errors of the programs and files.
    """
    if not tolerance > 0:
        raise OptionError(f"--tolerance {tolerance:g}", hint="use a number above 0")
    kind, _, path = against.partition(":")
    trace = read(path) if kind == "trace" and path else None
    if trace and picture is None and seed is None:
        x = trace.x
    else:
        x = network_input(model.network, picture, seed)
    if trace:
        peer = of_trace(trace, path)
    elif kind == "onnx" and path:
        peer = of_onnx(model, path, x)
    elif against == "opencv":
        peer = of_opencv(model, x, keep_eps=keep_eps)
    else:
        raise OptionError(f"--against {against}", hint="use opencv, onnx:FILE or trace:FILE")
    return compare(model, x, peer, tolerance)


def compare(model: Model, x: np.ndarray, peer: Peer, tolerance: float = TOLERANCE) -> Parity:
    """Compare a model's run on x (1, C, h, w) with a peer's run.

    Raises `DataError` if the two have no layer in common, or inputs of different sizes.
    """
    if x.shape != peer.x.shape:
        here, there = ("x".join(map(str, shape[1:])) for shape in (x.shape, peer.x.shape))
        h, w = peer.x.shape[2:]
        message = f"{peer.title}: its input is {there}, the network's {here} (CxHxW)"
        raise DataError(message, hint=f"give --size {h}x{w}")
    ours = model.trace(torch.from_numpy(x).to(model.device))
    rows = [
        _row(model, index, ours[index].float().cpu().numpy(), peer)
        for index in range(len(ours))
        if index in peer.outputs
    ]
    if not rows:
        hint = "compare runs of the same cfg"
        raise DataError(f"{peer.title}: no layer in common", hint=hint)
    first = next((row for row in rows if not row.share <= tolerance), None)
    cause = None
    if first is not None:
        own = {} if peer.samples else causes.own_differences(model, x, peer)
        cause = causes.find(model, x, peer, first.index, first.share, own, tolerance)
        rows = [replace(row, own=own.get(row.index)) for row in rows]
        first = replace(first, own=own.get(first.index))
    outputs = frozenset(
        index if index in peer.outputs else model.network[index].inputs[0]
        for index in model.output_indices
    )
    differences = causes.cfg_differences(model.network, peer.network)
    notes = [f"the cfgs differ: {text}" for _, text in differences][:MOST_NOTES]
    return Parity(peer.title, tolerance, tuple(rows), outputs, first, cause, (*peer.notes, *notes))


def _row(model: Model, index: int, output: np.ndarray, peer: Peer) -> LayerParity:
    node, theirs = model.network[index], peer.outputs[index]
    ours = peer.view(output)
    largest, most = difference(ours, theirs), absmax(ours)
    name = peer.names.get(index, "")
    share = largest / max(most, 1e-30)
    return LayerParity(index, node.layer.kind, name, tuple(node.shape), largest, most, share)


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _line(index: str, kind: str, name: str, shape: str, *numbers: str) -> str:
    return f"{index:>5}  {kind:<14} {name:<18} {shape:>13}" + "".join(f"{n:>10}" for n in numbers)
