"""What a network costs: one row per node, and the totals."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ghostyolo.layers import count
from ghostyolo.network import Network, Node

HEADER_BYTES = 20  # of a .weights file
_STATISTICS = ("running_mean", "running_var")


@dataclass(frozen=True)
class Row:
    """One node, for one image. parameters: trained numbers; stored: with running statistics."""

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


@dataclass(frozen=True)
class Totals:
    """Sums over a network. bflops: as Darknet counts; weights_bytes: of the `.weights` file."""

    layers: int
    parameters: int
    macs: int
    bflops: float
    weights_bytes: int


def rows(network: Network) -> list[Row]:
    """Return the table of a network, a row per node."""
    return [_row(network, node) for node in network]


def totals(table: list[Row]) -> Totals:
    """Return the sums of a table."""
    return Totals(
        layers=len(table),
        parameters=sum(row.parameters for row in table),
        macs=sum(row.macs for row in table),
        bflops=sum(row.bflops for row in table),
        weights_bytes=HEADER_BYTES + 4 * sum(row.stored for row in table),
    )


def as_dict(network: Network) -> dict[str, Any]:
    """Return input, rows and totals for a program to read."""
    table = rows(network)
    return {
        "input": list(network.options.shape),
        **asdict(totals(table)),
        "table": [asdict(row) for row in table],
    }


def text(network: Network) -> str:
    """Return the table and the totals for a person to read."""
    table = rows(network)
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
    total = totals(table)
    lines.append(
        f"\n{total.layers} layers at {network.options.shape} (CxHxW): "
        f"{total.parameters:,} parameters, {total.macs / 1e6:,.1f} M multiply-adds, "
        f"{total.bflops:.3f} BFLOPs as Darknet counts, "
        f".weights of {total.weights_bytes:,} bytes"
    )
    return "\n".join(lines)


def _row(network: Network, node: Node) -> Row:
    layer, inputs = node.layer, network.input_shapes(node)
    tensors = [] if node.shares_with is not None else layer.weights(*inputs)
    trained = [item for item in tensors if not item[0].endswith(_STATISTICS)]
    return Row(
        index=node.index,
        kind=layer.kind,
        name=node.title,
        inputs=node.inputs,
        shape=tuple(node.shape),
        stride=round(network.options.height / node.shape.h, 2),
        detail=layer.summary(),
        parameters=count(trained),
        stored=count(tensors),
        macs=layer.macs(node.shape, *inputs),
        bflops=layer.bflops(node.shape, *inputs),
    )
