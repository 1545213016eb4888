"""The cost model: what memory traffic adds to multiply-adds, and the time both predict.

Source: Ma et al., ShuffleNet V2, ECCV 2018, section 2 (memory access cost, guidelines G1 to G4);
Williams et al., Roofline, CACM 2009; Han et al., GhostNet, CVPR 2020, equations 4 and 5.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

from ghostyolo.layers import Layer, Shape, count
from ghostyolo.layers.convolutional import Convolutional
from ghostyolo.layers.route import Route
from ghostyolo.network import Network, Node
from ghostyolo.network.ghost_modules import Module, ghost_modules

FLOAT = 4  # bytes
UNEQUAL = 1.25  # memory access over its least, from which G1 is named; reached at 1 : 4 channels


@dataclass(frozen=True)
class Machine:
    """A roofline: multiply-adds and bytes a second, and what any call takes, in seconds."""

    macs_per_s: float
    bytes_per_s: float
    call_s: float = 0.0

    def seconds(self, macs: float, bytes_: float) -> float:
        """Return the least time of one operator: arithmetic and traffic run side by side."""
        return max(macs / self.macs_per_s, bytes_ / self.bytes_per_s) + self.call_s


@dataclass(frozen=True)
class Gain:
    """What a ghost module saves by the paper's formulas; ratio: its s, maps per intrinsic map.

    speedup: equation 4 as it stands; compression: equation 5, of weights without batch norms;
    estimate: s * c / (s + c - 1), what both come to for kernels of one size.
    """

    ratio: float
    speedup: float
    compression: float
    estimate: float


@dataclass(frozen=True)
class Cost:
    """One node, for one image. numbers: read and written, weights too; seconds: predicted.

    flops_per_byte: of a convolution's two operations a multiply-add. breaks: guidelines, in words.
    """

    index: int
    kind: str
    name: str
    macs: int
    numbers: int
    flops_per_byte: float
    breaks: tuple[str, ...]
    gain: Gain | None
    seconds: float | None


@dataclass(frozen=True)
class Totals:
    """Sums. elementwise: share of the bytes; fragmented: share of the multiply-adds."""

    macs: int
    bytes: int
    flops_per_byte: float
    elementwise: float
    fragmented: float
    seconds: float | None


def rows(network: Network, machine: Machine | None = None) -> list[Cost]:
    """Return what each node costs; with a machine, also the time that it is to take there."""
    gains = {module.out.index: gain(network, module) for module in ghost_modules(network)}
    return [_row(network, node, gains.get(node.index), machine) for node in network]


def totals(network: Network, table: list[Cost]) -> Totals:
    """Return the sums of a network's rows."""
    macs, numbers = sum(row.macs for row in table), sum(row.numbers for row in table)
    elementwise = sum(row.numbers for row in table if is_elementwise(network[row.index]))
    pieces = _pieces(network)
    seconds = [row.seconds for row in table if row.seconds is not None]
    return Totals(
        macs=macs,
        bytes=FLOAT * numbers,
        flops_per_byte=2 * macs / (FLOAT * max(1, numbers)),
        elementwise=elementwise / max(1, numbers),
        fragmented=sum(row.macs for row in table if row.index in pieces) / max(1, macs),
        seconds=sum(seconds) if seconds else None,
    )


def as_dict(network: Network, machine: Machine | None = None) -> dict[str, Any]:
    """Return rows, sums and machine for a program to read."""
    table = rows(network, machine)
    return {
        **asdict(totals(network, table)),
        "machine": asdict(machine) if machine else None,
        "table": [asdict(row) for row in table],
    }


def gain(network: Network, module: Module) -> Gain:
    """Return what a ghost module saves. Source: Han et al. 2020, equations 4 and 5."""
    primary, cheap = module.primary, module.cheap
    one = network.input_shapes(primary)[0]
    out, m = module.out.shape, primary.shape.c
    dense = out.size * primary.layer.macs(primary.shape, one) / primary.shape.size
    taps = count(primary.layer.weights(one)[-1:])
    macs = primary.layer.macs(primary.shape, one)
    for node in cheap:
        (shape,) = network.input_shapes(node)
        macs += node.layer.macs(node.shape, shape)
        taps += count(node.layer.weights(shape)[-1:])
    s, c = out.c / m, one.c
    return Gain(
        ratio=s,
        speedup=dense / macs,
        compression=out.c * count(primary.layer.weights(one)[-1:]) / m / taps,
        estimate=s * c / (s + c - 1),
    )


def is_elementwise(node: Node) -> bool:
    """Return whether a node does little with each number that it moves.

    Depthwise convolutions count, as in ShuffleNet V2 (section 2, G4).
    """
    return node.layer.operations == "elementwise" or _is_depthwise(node)


def _is_depthwise(node: Node) -> bool:
    layer = node.layer
    return isinstance(layer, Convolutional) and 1 < layer.parts == layer.filters


def _row(network: Network, node: Node, gain: Gain | None, machine: Machine | None) -> Cost:
    inputs = network.input_shapes(node)
    macs = node.layer.macs(node.shape, *inputs)
    numbers = node.layer.numbers_moved(node.shape, *inputs)
    seconds = None
    if machine:
        parts = _operators(node.layer, node.shape, *inputs)
        seconds = sum(machine.seconds(part, bytes_) for part, bytes_ in parts)
    return Cost(
        index=node.index,
        kind=node.layer.kind,
        name=node.title,
        macs=macs,
        numbers=numbers,
        flops_per_byte=2 * macs / (FLOAT * numbers) if numbers else 0.0,
        breaks=tuple(_breaks(network, node)),
        gain=gain,
        seconds=seconds,
    )


def _operators(layer: Layer, out: Shape, *inputs: Shape) -> Iterator[tuple[int, int]]:
    """Yield multiply-adds and bytes of the operators that a layer is run as, unfused."""
    if numbers := layer.numbers_moved(out, *inputs):
        yield layer.macs(out, *inputs), FLOAT * numbers
        yield from ((0, FLOAT * moved) for moved in layer.further_passes(out, *inputs))


def _breaks(network: Network, node: Node) -> Iterator[str]:
    """Yield the guidelines of ShuffleNet V2 that a node breaks, with the numbers that say so."""
    layer, inputs = node.layer, network.input_shapes(node)
    if isinstance(layer, Convolutional):
        c1, c2 = inputs[0].c, node.shape.c
        excess = (c1 + c2) / (2 * sqrt(c1 * c2))
        if layer.parts == 1 and excess >= UNEQUAL:
            yield f"G1: {c1} to {c2} channels, {excess:.2f} of the least traffic of maps"
        if layer.parts > 1 and not _is_depthwise(node):
            yield f"G2: {layer.parts} groups"
    if isinstance(layer, Route) and len(inputs) > 1 and _pieces_of(network, node):
        parts = " + ".join(str(shape.c) for shape in inputs)
        yield f"G3: joins {len(inputs)} pieces of {parts} maps"
    if is_elementwise(node):
        yield "G4: depthwise" if _is_depthwise(node) else "G4: element-wise"


def _pieces_of(network: Network, node: Node) -> set[int]:
    """Return the convolutions that a `[route]` joins with others."""
    if not isinstance(node.layer, Route) or len(node.inputs) < 2:
        return set()
    return {i for i in node.inputs if i >= 0 and isinstance(network[i].layer, Convolutional)}


def _pieces(network: Network) -> set[int]:
    return {index for node in network for index in _pieces_of(network, node)}


def text(network: Network, machine: Machine | None = None) -> str:
    """Return the table and the sums for a person to read."""
    table = rows(network, machine)
    total = totals(network, table)
    time = f"{'ms':>8} " if machine else ""
    lines = [
        f"{'#':>4} {'kind':<15} {'MACs':>14} {'KB moved':>10} {'FLOP/B':>7} {time} breaks; saves"
    ]
    lines += [_line(row) for row in table]
    summary = (
        f"\n{total.macs / 1e6:,.1f} M multiply-adds, {total.bytes / 1e6:,.1f} MB moved, "
        f"{total.flops_per_byte:.1f} FLOPs a byte; element-wise: {total.elementwise:.0%} of the "
        f"bytes; in pieces of a [route]: {total.fragmented:.0%} of the multiply-adds"
    )
    lines.append(summary)
    if machine and total.seconds is not None:
        lines.append(
            f"predicted {total.seconds * 1e3:.1f} ms at {machine.macs_per_s / 1e9:.1f} G "
            f"multiply-adds/s, {machine.bytes_per_s / 1e9:.1f} GB/s, "
            f"{machine.call_s * 1e6:.1f} us a call"
        )
    return "\n".join(lines)


def _line(row: Cost) -> str:
    time = f"{row.seconds * 1e3:>8.3f} " if row.seconds is not None else ""
    notes = list(row.breaks)
    if row.gain:
        notes.append(
            f"ghost module of s={row.gain.ratio:g}: speed-up {row.gain.speedup:.2f}, "
            f"compression {row.gain.compression:.2f} (estimate {row.gain.estimate:.2f})"
        )
    return (
        f"{row.index:>4} {row.kind:<15} {row.macs:>14,} {FLOAT * row.numbers / 1e3:>10,.1f} "
        f"{row.flops_per_byte:>7.1f} {time} {'; '.join(notes)}"
    ).rstrip()
