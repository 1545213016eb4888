"""What ghostify changed: for programs and for a person to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ghostyolo.ghostify.rewrite import Ghostified
from ghostyolo.network import Network, info

if TYPE_CHECKING:
    from ghostyolo.ghostify.weight_transfer import LayerFit


def as_dict(network: Network, result: Ghostified, fits: Sequence[LayerFit] = ()) -> dict[str, Any]:
    """Return costs before and after, modules, reasons and what was fitted, for a program."""
    return {
        "before": _costs(network),
        "after": _costs(result.network),
        "ghosts": [
            {"old": old, "filters": network[old].shape.c, **asdict(ghost)}
            for old, ghost in result.ghosts.items()
        ],
        "left": [{"old": old, "reason": reason} for old, reason in result.reasons.items()],
        "kept": [asdict(fit) for fit in fits],
    }


def text(network: Network, result: Ghostified) -> str:
    """Return what became of each convolution, and the sums before and after."""
    lines = [f"{'#':>4} {'options':<22} {'shape':<13} {'MACs':>14} {'now':>14}  result"]
    now = [row.macs for row in info.rows(result.network)]
    for row in info.rows(network):
        ghost, becomes = result.ghosts.get(row.index), result.reasons.get(row.index, "")
        if not ghost and not becomes:
            continue
        if ghost:
            becomes = f"ghost module {ghost.out}: {ghost.split.primary} + {ghost.split.cheap} maps"
        new = ghost.convolutions if ghost else (result.places[row.index],)
        shape, macs = "x".join(map(str, row.shape)), sum(now[index] for index in new)
        lines.append(
            f"{row.index:>4} {row.detail:<22} {shape:<13} {row.macs:>14,} {macs:>14,}  {becomes}"
        )
    before, after = _costs(network), _costs(result.network)
    lines.append("")
    for name, key, unit in (
        ("parameters", "parameters", "M"), ("multiply-adds", "macs", "M"),
        ("memory moved", "bytes", "MB"),
    ):  # fmt: skip
        lines.append(
            f"{name:<14} {before[key] / 1e6:>12,.2f} {unit} -> {after[key] / 1e6:>12,.2f} {unit}  "
            f"({after[key] / max(1, before[key]):.0%})"
        )
    return "\n".join(lines)


def fit_text(fits: Sequence[LayerFit]) -> str:
    """Return how much of the trained network's maps the fitted weights lose."""
    lost = sorted(fit.error for fit in fits if fit.ghost)
    if not lost:
        return "the weights as they were"
    outputs = ", ".join(f"{fit.error:.1%} in layer {fit.index}" for fit in fits if not fit.ghost)
    line = (
        f"of the variance of the maps are lost {lost[len(lost) // 2]:.1%} in the median module, "
        f"{outputs or 'nothing else'}"
    )
    fixed = sum(fit.ghost and not fit.ordered for fit in fits)
    note = f"\n{fixed} modules keep their first maps: what reads them needs their order"
    return line + (note if fixed else "")


def _costs(network: Network) -> dict[str, int]:
    """Return what a network costs for one image."""
    total = info.totals(info.rows(network))
    return {name: getattr(total, name) for name in ("layers", "parameters", "macs", "bytes")}
