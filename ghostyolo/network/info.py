"""The table of a network: one row per node, and the totals.

It is printed in two ways: the layers with their parameters, and the cost model (`--cost`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ghostyolo.layers import LayerError, count
from ghostyolo.network import Network, Node
from ghostyolo.network.cost import (
    FLOAT,
    Gain,
    Machine,
    broken_guidelines,
    gain,
    is_elementwise,
    pieces,
    seconds,
)  # fmt: skip
from ghostyolo.network.ghost_modules import ghost_modules
from ghostyolo.network.summary import parameters

HEADER_BYTES = 20  # of a .weights file
_LAYERS = (
    "index", "kind", "name", "inputs", "shape", "stride", "detail", "parameters", "stored", "macs",
    "bflops",
)  # fmt: skip
_LAYERS_TOTALS = ("layers", "parameters", "macs", "bflops", "weights_bytes")
_COST = (
    "index", "kind", "name", "macs", "numbers", "flops_per_byte", "breaks", "gain", "seconds",
)  # fmt: skip
_COST_TOTALS = ("macs", "bytes", "flops_per_byte", "elementwise", "fragmented", "seconds")


@dataclass(frozen=True)
class Row:
    """The numbers of one node, for one image.

    parameters: trained values. stored: values in the `.weights` file, with running statistics.
    bflops: as Darknet counts them. numbers: values read and written, including weights.
    flops_per_byte: with two FLOPs for a multiply-add. breaks: the guidelines of ShuffleNet V2 that
    it breaks, as text. elementwise: see `is_elementwise`. piece: whether a `[route]` concatenates
    it with other layers. gain: the savings of the ghost module that ends here. seconds: the time
    predicted for a machine.
    """

    index: int
    kind: str
    name: str
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    stride: float
    detail: str
    parameters: int
    stored: int
    macs: int
    bflops: float
    numbers: int
    flops_per_byte: float
    breaks: tuple[str, ...]
    elementwise: bool
    piece: bool
    gain: Gain | None
    seconds: float | None


@dataclass(frozen=True)
class Totals:
    """Sums over a network.

    bflops: as Darknet counts them. weights_bytes: the size of the `.weights` file. bytes: read and
    written. elementwise: the fraction of the bytes in element-wise layers. fragmented: the fraction
    of the multiply-adds in convolutions that a `[route]` concatenates.
    """

    layers: int
    parameters: int
    macs: int
    bflops: float
    weights_bytes: int
    bytes: int
    flops_per_byte: float
    elementwise: float
    fragmented: float
    seconds: float | None


def rows(network: Network, machine: Machine | None = None) -> list[Row]:
    """Return the table of a network, a row per node; with a machine, also the predicted times.

    Raises `CfgError` for a kind that does not define its cost.
    """
    gains = {module.out.index: gain(network, module) for module in ghost_modules(network)}
    joined = pieces(network)
    table = []
    for node in network:
        try:
            row = _row(network, node, gains.get(node.index), node.index in joined, machine)
        except LayerError as error:
            raise node.error(error) from None
        table.append(row)
    return table


def totals(table: list[Row]) -> Totals:
    """Return the sums of a table."""
    macs, numbers = sum(row.macs for row in table), sum(row.numbers for row in table)
    times = [row.seconds for row in table if row.seconds is not None]
    return Totals(
        layers=len(table),
        parameters=sum(row.parameters for row in table),
        macs=macs,
        bflops=sum(row.bflops for row in table),
        weights_bytes=HEADER_BYTES + FLOAT * sum(row.stored for row in table),
        bytes=FLOAT * numbers,
        flops_per_byte=2 * macs / (FLOAT * max(1, numbers)),
        elementwise=sum(row.numbers for row in table if row.elementwise) / max(1, numbers),
        fragmented=sum(row.macs for row in table if row.piece) / max(1, macs),
        seconds=sum(times) if times else None,
    )


def as_dict(network: Network) -> dict[str, Any]:
    """Return input shape, totals and rows as a JSON object."""
    return {"input": list(network.options.shape), **_chosen(rows(network), _LAYERS_TOTALS, _LAYERS)}


def cost_as_dict(network: Network, machine: Machine | None = None) -> dict[str, Any]:
    """Return totals, machine and rows of the cost model as a JSON object."""
    found = _chosen(rows(network, machine), _COST_TOTALS, _COST)
    table = found.pop("table")
    return {**found, "machine": asdict(machine) if machine else None, "table": table}


def text(network: Network) -> str:
    """Return the table of layers and the totals as text."""
    table = rows(network)
    total = totals(table)
    lines = [
        f"{'#':>4} {'kind':<15} {'options':<22} {'inputs':<14} {'shape':<13} {'stride':>6} "
        f"{'parameters':>11} {'MACs':>13}  name"
    ]
    for row in table:
        inputs = ",".join("image" if i < 0 else str(i) for i in row.inputs)
        shape = "x".join(map(str, row.shape))
        lines.append(
            f"{row.index:>4} {row.kind:<15} {row.detail:<22} {inputs:<14} {shape:<13} "
            f"{row.stride:>6g} {row.parameters:>11,} {row.macs:>13,}  {row.name}".rstrip()
        )
    lines.append(
        f"\n{total.layers} layers at {network.options.shape} (CxHxW): "
        f"{total.parameters:,} parameters, {total.macs / 1e6:,.1f} M multiply-adds, "
        f"{total.bflops:.3f} BFLOPs as Darknet counts, "
        f".weights of {total.weights_bytes:,} bytes"
    )
    return "\n".join(lines)


def cost_text(network: Network, machine: Machine | None = None) -> str:
    """Return the table and the totals of the cost model as text."""
    table = rows(network, machine)
    total = totals(table)
    time = f"{'ms':>8} " if machine else ""
    lines = [
        f"{'#':>4} {'kind':<15} {'MACs':>14} {'KB moved':>10} {'FLOP/B':>7} {time} breaks; saves",
        *map(_cost_line, table),
        f"\n{total.macs / 1e6:,.1f} M multiply-adds, {total.bytes / 1e6:,.1f} MB moved, "
        f"{total.flops_per_byte:.1f} FLOPs a byte; element-wise: {total.elementwise:.0%} of the "
        f"bytes; in pieces of a [route]: {total.fragmented:.0%} of the multiply-adds",
    ]
    if machine and total.seconds is not None:
        lines.append(
            f"predicted {total.seconds * 1e3:.1f} ms at {machine.macs_per_s / 1e9:.1f} G "
            f"multiply-adds/s, {machine.bytes_per_s / 1e9:.1f} GB/s, "
            f"{machine.call_s * 1e6:.1f} us a call"
        )
    return "\n".join(lines)


def _row(
    network: Network, node: Node, gain: Gain | None, piece: bool, machine: Machine | None
) -> Row:
    layer, inputs = node.layer, network.input_shapes(node)
    tensors = [] if node.shares_with is not None else layer.weights(*inputs)
    macs, numbers = layer.macs(node.shape, *inputs), layer.numbers_moved(node.shape, *inputs)
    return Row(
        index=node.index,
        kind=layer.kind,
        name=node.title,
        inputs=node.inputs,
        shape=tuple(node.shape),
        stride=round(network.options.height / node.shape.h, 2),
        detail=layer.summary(),
        parameters=parameters(tensors),
        stored=count(tensors),
        macs=macs,
        bflops=layer.bflops(node.shape, *inputs),
        numbers=numbers,
        flops_per_byte=2 * macs / (FLOAT * numbers) if numbers else 0.0,
        breaks=tuple(broken_guidelines(network, node)),
        elementwise=is_elementwise(node),
        piece=piece,
        gain=gain,
        seconds=seconds(network, node, machine) if machine else None,
    )


def _chosen(
    table: list[Row], of_totals: tuple[str, ...], of_rows: tuple[str, ...]
) -> dict[str, Any]:
    """Return the named totals and the named columns of each row."""
    sums, columns = asdict(totals(table)), map(asdict, table)
    shown = [{name: row[name] for name in of_rows} for row in columns]
    return {**{name: sums[name] for name in of_totals}, "table": shown}


def _cost_line(row: Row) -> str:
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
