"""Rewrite a network: copy its nodes to a new one, selected convolutions as ghost modules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ghostyolo.ghostify.options import GhostOptions, Split, split
from ghostyolo.ghostify.selection import reasons_to_stay
from ghostyolo.layers import Layer
from ghostyolo.layers.convolutional import Convolutional
from ghostyolo.layers.route import Route
from ghostyolo.network import IMAGE, Network, Node, info

if TYPE_CHECKING:
    from ghostyolo.ghostify.weight_transfer import LayerFit

# Keys about training and loading that a cheap convolution takes over.
_INHERITED = (
    "clip", "dont_update", "burnin_update", "train_only_bn", "dontload", "dontloadscales",
    "learning_rate", "onlyforward",
)  # fmt: skip


@dataclass(frozen=True)
class GhostModule:
    """The nodes of a new ghost module, by index: the primary convolution, one or two cheap ones.

    out: the `[route]` that joins them.
    """

    split: Split
    convolutions: tuple[int, ...]
    out: int


@dataclass
class Ghostified:
    """A network with ghost modules, and what replaced each node of the old network, by old index.

    places: the new index of each node's output. ghosts: the modules that replace convolutions.
    reasons: why the other convolutions stay.
    """

    old: Network
    network: Network
    options: GhostOptions
    places: dict[int, int] = field(default_factory=dict)
    ghosts: dict[int, GhostModule] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)

    def as_dict(self, fits: Sequence[LayerFit] = ()) -> dict[str, Any]:
        """Return costs before and after, modules, reasons and fits, for a program to read."""
        return {
            "before": _costs(self.old),
            "after": _costs(self.network),
            "ghosts": [
                {"old": old, "filters": self.old[old].shape.c, **asdict(ghost)}
                for old, ghost in self.ghosts.items()
            ],
            "left": [{"old": old, "reason": reason} for old, reason in self.reasons.items()],
            "kept": [asdict(fit) for fit in fits],
        }

    def text(self) -> str:
        """Return a line for each convolution, and the costs before and after."""
        lines = [f"{'#':>4} {'options':<22} {'shape':<13} {'MACs':>14} {'now':>14}  result"]
        macs = [row.macs for row in info.rows(self.network)]
        for row in info.rows(self.old):
            if ghost := self.ghosts.get(row.index):
                counts = f"{ghost.split.primary} + {ghost.split.cheap} maps"
                new, result = ghost.convolutions, f"ghost module {ghost.out}: {counts}"
            elif row.index in self.reasons:
                new, result = (self.places[row.index],), self.reasons[row.index]
            else:
                continue
            shape, now = "x".join(map(str, row.shape)), sum(macs[index] for index in new)
            lines.append(
                f"{row.index:>4} {row.detail:<22} {shape:<13} {row.macs:>14,} {now:>14,}  {result}"
            )
        before, after = _costs(self.old), _costs(self.network)
        lines.append("")
        for name, key, unit in (
            ("parameters", "parameters", "M"), ("multiply-adds", "macs", "M"),
            ("memory moved", "bytes", "MB"),
        ):  # fmt: skip
            lines.append(
                f"{name:<14} {before[key] / 1e6:>12,.2f} {unit} -> {after[key] / 1e6:>12,.2f} "
                f"{unit}  ({after[key] / max(1, before[key]):.0%})"
            )
        return "\n".join(lines)


def ghostify(
    network: Network, options: GhostOptions | None = None, *, comment: str = ""
) -> Ghostified:
    """Return the network with ghost modules in place of the convolutions that the options select.

    A module consists of a convolution to m of the n filters, which keeps size, stride and padding;
    a depthwise d x d convolution at stride 1; and a `[route]` that joins the two, [primary, cheap].
    Both convolutions have the original's batch norm or bias and its activation. References to the
    original convolution become references to the `[route]`. comment: text to put above `[net]`,
    before the comment of the old network.
    Raises `OptionError`, see `reasons_to_stay`.
    """
    options = options or GhostOptions()
    reasons = reasons_to_stay(network, options)
    comments = "\n".join(text for text in (comment, network.comment) if text)
    new = Network(network.options, comment=comments)
    result = Ghostified(network, new, options, places={IMAGE: IMAGE})
    result.reasons = {index: reason for index, reason in reasons.items() if reason}
    for node in network:
        if reasons.get(node.index) == "":
            ghost = _add_module(result, node)
            result.ghosts[node.index], result.places[node.index] = ghost, ghost.out
            continue
        inputs = [result.places[index] for index in node.inputs]
        refs = {key: result.places[index] for key, index in node.refs}
        copy = new.add(node.layer, *inputs, name=node.name, span=node.span, **refs)
        result.places[node.index] = copy.index
    return result


def _add_module(result: Ghostified, node: Node) -> GhostModule:
    """Add a ghost module in place of a convolution to the new network."""
    layer = node.layer
    assert isinstance(layer, Convolutional)
    parts, network = split(layer.filters, result.options.ratio), result.network
    name = node.title or f"ghost of layer {node.index}"
    shared = result.ghosts[node.shares_with].convolutions if node.shares_with is not None else ()
    made: list[Node] = []

    def add(layer: Layer, x: Node | int, word: str) -> Node:
        refs = {"share_index": shared[len(made)]} if shared else {}
        made.append(network.add(layer, x, name=f"{name} {word}", span=node.span, **refs))
        return made[-1]

    first = layer.changed(filters=parts.primary, stopbackward=0)
    primary = add(first, result.places[node.inputs[0]], "primary")
    if parts.rounds:
        maps = parts.primary
        add(_cheap(layer, maps * parts.rounds, maps, result.options.dw), primary, "cheap")
    if parts.rest:
        source = primary
        if parts.source < parts.primary:
            cut = Route(groups=parts.primary // parts.source)
            source = network.add(cut, primary, name=f"{name} slice")
        add(_cheap(layer, parts.rest, parts.source, result.options.dw), source, "rest")
    join = Route(stopbackward=layer.stopbackward)
    out = network.add(join, *made, name=node.name, span=node.span)
    return GhostModule(parts, tuple(item.index for item in made), out.index)


def _cheap(layer: Convolutional, filters: int, maps: int, dw: int) -> Layer:
    """Return the depthwise convolution that makes `filters` cheap maps from `maps` others."""
    inherited = {key: getattr(layer, key) for key in _INHERITED}
    return Convolutional(
        batch_normalize=layer.batch_normalize,
        filters=filters,
        groups=maps,
        size=dw,
        stride=1,
        pad=1,
        activation=layer.activation,
        **inherited,
    )


def _costs(network: Network) -> dict[str, int]:
    """Return what a network costs for one image."""
    total = info.totals(info.rows(network))
    return {name: getattr(total, name) for name in ("layers", "parameters", "macs", "bytes")}
