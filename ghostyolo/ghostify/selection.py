"""Which convolutions become ghost modules, and why the others stay as they are.

The user selects them by words such as 0-12, stem, 3x3, filters>=64 or a name with *.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase

from ghostyolo.errors import OptionError
from ghostyolo.ghostify.options import GhostOptions, split
from ghostyolo.layers import Head, count
from ghostyolo.layers.convolutional import Convolutional
from ghostyolo.network import IMAGE, Network, Node
from ghostyolo.network.ghost_modules import ghost_modules

MEASURES: dict[str, Callable[[Network, Node], int]] = {
    "filters": lambda network, node: node.shape.c,
    "parameters": lambda network, node: count(node.layer.weights(*network.input_shapes(node))),
    "macs": lambda network, node: node.layer.macs(node.shape, *network.input_shapes(node)),
}
WORDS = (
    "all, stem, heads, strided, indices and ranges as 4 or 4-9, kernels as 3x3, "
    "filters>=64, parameters>=1000, macs>=1000000, or a name with * in it"
)
_PROPERTY = re.compile(r"strided|\d+x\d+")  # words that select by a property of the layer
# Keys that change what a convolution computes in a way that two parts of it cannot reproduce.
_UNSUPPORTED = (
    "antialiasing", "xnor", "binary", "bin_output", "cbn", "flipped", "coordconv", "deform",
    "sway", "rotate", "stretch", "stretch_sway", "assisted_excitation", "dot",
)  # fmt: skip
Layers = dict[int, Convolutional]  # the convolutions of a network by index


def reasons_to_stay(network: Network, options: GhostOptions) -> dict[int, str]:
    """Return for each convolution why it stays as it is, "" if it becomes a ghost module.

    Raises `OptionError` for an impossible ratio or kernel size, and for a word that selects
    nothing.
    """
    options.check()
    layers = {n.index: n.layer for n in network if isinstance(n.layer, Convolutional)}
    stems, heads = _stems(network), _heads(network)
    groups = {"all": set(layers), "stem": stems, "heads": heads}
    selected, named = _select(network, layers, groups, options.select)
    kept = _select(network, layers, groups, options.keep)[0] if options.keep else set()
    primaries = {module.primary.index for module in ghost_modules(network)}
    ends = dict.fromkeys(heads, "head: its maps are the network's outputs")
    ends |= dict.fromkeys(stems, "stem: it reads the image")

    def reason(index: int, layer: Convolutional) -> str:
        if index in kept:
            return "kept by --keep"
        if index not in selected:
            return "not selected"
        if obstacle := _obstacle(layer):
            return obstacle
        if index in primaries:
            return "ghost module already: its primary convolution"
        if index in named:
            return ""
        return ends.get(index) or _no_gain(network, network[index], options)

    return _with_sharing(network, {index: reason(index, layers[index]) for index in layers})


def _select(
    network: Network, layers: Layers, groups: dict[str, set[int]], words: tuple[str, ...]
) -> tuple[set[int], set[int]]:
    """Return the selected convolutions, and those of them selected by name, index or group.

    A convolution is selected if at least one word without >= matches it (or there is no such word)
    and every word with >= matches it. Raises `OptionError` for a word that matches nothing, which
    is a typing mistake or meant for another network.
    """
    chosen, named, narrowed = set[int](), set[int](), groups["all"]
    for word in words:
        if measure := re.fullmatch(r"(\w+)>=(\d+)", word):
            narrowed = narrowed & _measured(network, layers, measure[1], int(measure[2]))
            continue
        found = groups[word] if word in groups else _matching(network, layers, word)
        if not found:
            raise OptionError(f"'{word}' selects no convolution", hint=f"use {WORDS}")
        chosen |= found
        if not _PROPERTY.fullmatch(word):
            named |= found
    return (chosen or groups["all"]) & narrowed, named & narrowed


def _measured(network: Network, layers: Layers, name: str, least: int) -> set[int]:
    """Return the convolutions with at least `least` filters, parameters or multiply-adds."""
    word = f"'{name}>={least}'"
    if name not in MEASURES:
        raise OptionError(f"{word}: no measure {name}", hint=f"use {', '.join(MEASURES)}")
    values = {index: MEASURES[name](network, network[index]) for index in layers}
    found = {index for index, value in values.items() if value >= least}
    if not found:
        hint = f"the largest has {max(values.values(), default=0)}"
        raise OptionError(f"{word} selects nothing", hint=hint)
    return found


def _matching(network: Network, layers: Layers, word: str) -> set[int]:
    """Return the convolutions with an index, stride, kernel size or name that a word gives."""
    if indices := re.fullmatch(r"(\d+)(?:-(\d+))?", word):
        first, last = int(indices[1]), int(indices[2] or indices[1])
        return {index for index in layers if first <= index <= last}
    if word == "strided":
        return {index for index, layer in layers.items() if max(layer.stride_x, layer.stride_y) > 1}
    if _PROPERTY.fullmatch(word):
        return {index for index, layer in layers.items() if word == f"{layer.size}x{layer.size}"}
    return {i for i in layers if fnmatchcase(network[i].title.lower(), word.lower())}


def _obstacle(layer: Convolutional) -> str:
    """Return why a ghost module cannot replace a layer, even if it is selected; "" if it can."""
    if layer.groups > 1:
        depthwise = layer.groups == layer.filters
        return "depthwise" if depthwise else f"grouped (groups={layer.groups})"
    if layer.computed_dilation > 1:
        return f"dilated (dilation={layer.dilation})"
    for name in _UNSUPPORTED:
        if getattr(layer, name):
            return f"{name}={getattr(layer, name):g}"
    if layer.activation.startswith("normalize_channels"):
        return f"activation={layer.activation} needs all channels at once"
    return f"{layer.filters} filters are too few" if layer.filters < 2 else ""


def _no_gain(network: Network, node: Node, options: GhostOptions) -> str:
    """Return why a ghost module in place of a layer would save nothing, "" if it would save."""
    if node.shape.h == node.shape.w == 1:
        return "one pixel: a cheap kernel would see nothing else"
    before = node.layer.macs(node.shape, *network.input_shapes(node))
    parts = split(node.shape.c, options.ratio)
    per_pixel = before // node.shape.size
    after = parts.primary * per_pixel + parts.cheap * options.dw**2
    after *= node.shape.h * node.shape.w
    return f"no gain: {after:,} multiply-adds instead of {before:,}" if after >= before else ""


def _with_sharing(network: Network, reasons: dict[int, str]) -> dict[int, str]:
    """Return the reasons with convolutions that share weights all replaced or all kept."""
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


def _stems(network: Network) -> set[int]:
    """Return the convolutions that read the image, directly or through layers without weights."""
    unweighted, stems = {IMAGE}, set()
    for node in network:
        if not unweighted.isdisjoint(node.inputs):
            if isinstance(node.layer, Convolutional):
                stems.add(node.index)
            elif not node.layer.weights(*network.input_shapes(node)):
                unweighted.add(node.index)
    return stems


def _heads(network: Network) -> set[int]:
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
    return heads
