"""Which convolutions become ghost modules, and why the others stay as they are."""

from __future__ import annotations

from ghostyolo.ghostify.options import GhostOptions, split
from ghostyolo.ghostify.selectors import select
from ghostyolo.layers import Head
from ghostyolo.layers.convolutional import Convolutional
from ghostyolo.network import IMAGE, Network, Node
from ghostyolo.network.ghost_modules import ghost_modules

# Keys under which two parts of a convolution would not compute what it computes as a whole.
_SPECIAL = (
    "antialiasing", "xnor", "binary", "bin_output", "cbn", "flipped", "coordconv", "deform",
    "sway", "rotate", "stretch", "stretch_sway", "assisted_excitation", "dot",
)  # fmt: skip


def eligibility(network: Network, options: GhostOptions) -> dict[int, str]:
    """Return by convolution why it stays as it is; "" where it becomes a ghost module.

    Raises `OptionError` for options that no ghost module has, or that select nothing.
    """
    options.check()
    stems, heads = _stems(network), _heads(network)
    selected = select(network, options.select, stems=stems, heads=heads)
    kept = select(network, options.keep, stems=stems, heads=heads).chosen if options.keep else ()
    ghosts = {module.primary.index for module in ghost_modules(network)}
    ends = dict.fromkeys(heads, "head: its maps are the network's outputs")
    ends |= dict.fromkeys(stems, "stem: it reads the image")
    reasons = {}
    for node in network:
        if not isinstance(node.layer, Convolutional):
            continue
        if node.index in kept:
            reason = "kept by --keep"
        elif node.index not in selected.chosen:
            reason = "not selected"
        elif reason := _obstacle(node.layer):
            pass
        elif node.index in ghosts:
            reason = "ghost module already: its primary convolution"
        elif node.index not in selected.named:
            reason = ends.get(node.index) or _no_gain(network, node, options)
        reasons[node.index] = reason
    return _shared(network, reasons)


def _obstacle(layer: Convolutional) -> str:
    """Return why a layer cannot be a ghost module, even where it is selected."""
    if layer.groups > 1:
        depthwise = layer.groups == layer.filters
        return "depthwise" if depthwise else f"grouped (groups={layer.groups})"
    if layer.computed_dilation > 1:
        return f"dilated (dilation={layer.dilation})"
    for name in _SPECIAL:
        if getattr(layer, name):
            return f"{name}={getattr(layer, name):g}"
    if layer.activation.startswith("normalize_channels"):
        return f"activation={layer.activation} needs all channels at once"
    return f"{layer.filters} filters are too few" if layer.filters < 2 else ""


def _no_gain(network: Network, node: Node, options: GhostOptions) -> str:
    """Return why a ghost module in a layer's place would save nothing, "" if it would."""
    if node.shape.h == node.shape.w == 1:
        return "one pixel: nothing for a cheap kernel to see"
    before = node.layer.macs(node.shape, *network.input_shapes(node))
    parts = split(node.shape.c, options.ratio)
    per_pixel = before // node.shape.size
    after = parts.primary * per_pixel + parts.cheap * options.dw**2
    after *= node.shape.h * node.shape.w
    return f"no gain: {after:,} multiply-adds instead of {before:,}" if after >= before else ""


def _shared(network: Network, reasons: dict[int, str]) -> dict[int, str]:
    """Let convolutions that share weights be replaced together or not at all."""
    pairs = [
        (node.index, node.shares_with)
        for node in network
        if node.shares_with is not None and node.shares_with in reasons
    ]
    pairs += [(two, one) for one, two in pairs]
    while stays := {two: one for one, two in pairs if reasons[one] and not reasons[two]}:
        for two, one in stays.items():
            reasons[two] = f"shares weights with layer {one}, which stays"
    return reasons


def _stems(network: Network) -> frozenset[int]:
    """Return the convolutions that read the image, directly or through layers without weights."""
    unweighted, stems = {IMAGE}, set()
    for node in network:
        if not unweighted.isdisjoint(node.inputs):
            if isinstance(node.layer, Convolutional):
                stems.add(node.index)
            elif not node.layer.weights(*network.input_shapes(node)):
                unweighted.add(node.index)
    return frozenset(stems)


def _heads(network: Network) -> frozenset[int]:
    """Return the convolutions whose outputs heads and losses read, with no weights in between."""
    heads = set()
    for node in network:
        layer = node.layer
        if isinstance(layer, Head) or layer.probabilities or not layer.has_output:
            above = node
            while len(above.inputs) == 1 and above.inputs[0] != IMAGE:
                above = network[above.inputs[0]]
                if isinstance(above.layer, Convolutional):
                    heads.add(above.index)
                if above.layer.weights(*network.input_shapes(above)):
                    break
    return frozenset(heads)
