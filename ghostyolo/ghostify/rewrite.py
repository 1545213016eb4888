"""The rewriting: every node is added to a new network, chosen ones as ghost modules."""

from __future__ import annotations

from dataclasses import dataclass, field

from ghostyolo.ghostify.eligibility import eligibility
from ghostyolo.ghostify.options import GhostOptions, Split, split
from ghostyolo.layers import Layer
from ghostyolo.layers.convolutional import Convolutional
from ghostyolo.layers.route import Route
from ghostyolo.network import IMAGE, Network, Node

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
    """A network with ghost modules, and what has become of the old one's nodes, by old index.

    places: the new index of each node's output. ghosts: the modules in place of convolutions.
    reasons: why the other convolutions stay.
    """

    network: Network
    places: dict[int, int] = field(default_factory=dict)
    ghosts: dict[int, GhostModule] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)


def ghostify(
    network: Network, options: GhostOptions | None = None, *, comment: str = ""
) -> Ghostified:
    """Return the network with ghost modules in place of the convolutions that the options choose.

    A module is a convolution to m of the n filters, which keeps size, stride and padding; a
    depthwise one, d x d at stride 1; and the `[route]` that joins the two, [primary, cheap]. Both
    have the original's batch norm or bias and its activation. What named the convolution names the
    `[route]`. comment: put above `[net]`, before what stands there.
    Raises `OptionError`, see `eligibility`.
    """
    options = options or GhostOptions()
    reasons = eligibility(network, options)
    comments = "\n".join(text for text in (comment, network.comment) if text)
    result = Ghostified(Network(network.options, comment=comments), places={IMAGE: IMAGE})
    result.reasons = {index: reason for index, reason in reasons.items() if reason}
    for node in network:
        if reasons.get(node.index) == "":
            ghost = _module(result, node, options)
            result.ghosts[node.index], result.places[node.index] = ghost, ghost.out
            continue
        inputs = [result.places[index] for index in node.inputs]
        refs = {key: result.places[index] for key, index in node.refs}
        new = result.network.add(node.layer, *inputs, name=node.name, span=node.span, **refs)
        result.places[node.index] = new.index
    return result


def _module(result: Ghostified, node: Node, options: GhostOptions) -> GhostModule:
    layer = node.layer
    assert isinstance(layer, Convolutional)
    parts, network = split(layer.filters, options.ratio), result.network
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
        add(_cheap(layer, maps * parts.rounds, maps, options.dw), primary, "cheap")
    if parts.rest:
        source = primary
        if parts.source < parts.primary:
            cut = Route(groups=parts.primary // parts.source)
            source = network.add(cut, primary, name=f"{name} slice")
        add(_cheap(layer, parts.rest, parts.source, options.dw), source, "rest")
    join = Route(stopbackward=layer.stopbackward)
    out = network.add(join, *made, name=node.name, span=node.span)
    return GhostModule(parts, tuple(item.index for item in made), out.index)


def _cheap(layer: Convolutional, filters: int, maps: int, dw: int) -> Layer:
    """Return the depthwise convolution that makes cheap maps of some intrinsic ones."""
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
