"""A model against another side: a row per layer, the first departure and its cause."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ghostyolo.errors import DataError
from ghostyolo.model.model import Model
from ghostyolo.parity import causes
from ghostyolo.parity.causes import Cause
from ghostyolo.parity.measure import absmax, difference, on_device_of
from ghostyolo.parity.peers import Side

TOLERANCE = 1e-4  # of a layer's largest magnitude


@dataclass(frozen=True)
class Row:
    """One layer: the largest difference, our largest magnitude, and the one over the other.

    name: what the other side calls it. own: the share by which it departs when given the other
    side's inputs; None where these are not known or nobody asked.
    """

    index: int
    kind: str
    name: str
    shape: tuple[int, ...]
    difference: float
    absmax: float
    share: float
    own: float | None = None


@dataclass(frozen=True)
class Parity:
    """The comparison of a model with another side. ends: the rows of the results."""

    title: str
    tolerance: float
    rows: tuple[Row, ...]
    ends: frozenset[int]
    first: Row | None
    cause: Cause | None
    notes: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Return whether no layer departs by more than the tolerance."""
        return self.first is None

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON takes it; an infinite share is null."""
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


def compare(model: Model, x: np.ndarray, side: Side, tolerance: float = TOLERANCE) -> Parity:
    """Compare a model's run on x with what another side computed.

    Raises `DataError` where the two have no layer in common, or inputs of other sizes.
    """
    if x.shape != side.x.shape:
        ours, theirs = ("x".join(map(str, shape[1:])) for shape in (x.shape, side.x.shape))
        h, w = side.x.shape[2:]
        message = f"{side.title}: its input is {theirs}, the network's {ours} (CxHxW)"
        raise DataError(message, hint=f"give --size {h}x{w}")
    outputs = model.trace(on_device_of(model, x))
    rows = [
        _row(model, index, outputs[index].float().cpu().numpy(), side)
        for index in range(len(outputs))
        if index in side.outputs
    ]
    if not rows:
        hint = "compare runs of the same cfg"
        raise DataError(f"{side.title}: no layer in common", hint=hint)
    first = next((row for row in rows if not row.share <= tolerance), None)
    cause, own = None, dict[int, float]()
    if first is not None:
        own = {} if side.samples else causes.own_departures(model, x, side)
        cause = causes.find(model, x, side, own, first.index, tolerance)
    rows = [Row(**{**vars(row), "own": own.get(row.index)}) for row in rows]
    first = next((row for row in rows if first and row.index == first.index), None)
    notes = (*side.notes, *_cfg_notes(model, side))
    return Parity(side.title, tolerance, tuple(rows), _ends(model, side), first, cause, notes)


def _row(model: Model, index: int, output: np.ndarray, side: Side) -> Row:
    node, theirs = model.network[index], side.outputs[index]
    ours = side.view(output)
    apart, most = difference(ours, theirs), absmax(ours)
    name = side.names.get(index, "")
    share = apart / max(most, 1e-30)
    return Row(index, node.layer.kind, name, tuple(node.shape), apart, most, share)


def _ends(model: Model, side: Side) -> frozenset[int]:
    """Return the results that the side has, or what stands above those that it lacks."""
    return frozenset(
        index if index in side.outputs else model.network[index].inputs[0]
        for index in model.output_indices
    )


def _cfg_notes(model: Model, side: Side) -> list[str]:
    return [
        f"the cfgs differ: {text}"
        for _, text in causes.cfg_differences(model.network, side.network)
    ][:5]


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
