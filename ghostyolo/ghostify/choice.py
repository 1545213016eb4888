"""Which convolutions become ghost modules, and why the others do not."""

from __future__ import annotations

from dataclasses import dataclass

from ghostyolo.errors import OptionError
from ghostyolo.ghostify.select import Selection, select
from ghostyolo.layers import Head
from ghostyolo.layers.convolutional import Convolutional
from ghostyolo.layers.cost import Cost
from ghostyolo.layers.softmax import Softmax
from ghostyolo.network import IMAGE, Network, Node
from ghostyolo.network.ghost_modules import ghost_modules

MOST = 64  # of ratio and of the cheap kernel; beyond that it is a slip
# Options under which a convolution computes something that two parts could not compute alike.
_SPECIAL = (
    "antialiasing", "xnor", "binary", "bin_output", "cbn", "flipped", "coordconv", "deform",
    "sway", "rotate", "stretch", "stretch_sway", "assisted_excitation", "dot",
)  # fmt: skip
_GHOST = "ghost module already: its primary convolution"


@dataclass(frozen=True)
class Wish:
    """What is asked for. ratio: s of the paper; dw: its d, odd; select, keep: see `WORDS`.

    Without `select` all convolutions are meant but stems and heads, which only their own names
    or numbers reach. `keep` wins.
    """

    ratio: int = 2
    dw: int = 3
    select: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise `OptionError` for numbers that no ghost module has."""
        if not 2 <= self.ratio <= MOST:
            raise OptionError(f"ratio {self.ratio}", hint=f"use 2, the paper's, up to {MOST}")
        if not 1 <= self.dw <= MOST or self.dw % 2 == 0:
            hint = "use an odd kernel, such as 3"
            raise OptionError(f"cheap kernels of {self.dw}x{self.dw}", hint=hint)


@dataclass(frozen=True)
class Split:
    """How n maps are made. primary: m by convolution; rounds: cheap maps that each of those has.

    rest: further cheap maps, from the first `source` of the m, where m does not divide n.
    """

    primary: int
    rounds: int
    rest: int = 0
    source: int = 0

    @property
    def cheap(self) -> int:
        """Return the number of maps made by cheap filters."""
        return self.primary * self.rounds + self.rest


def split(filters: int, ratio: int) -> Split:
    """Split maps for a ratio: m = filters / ratio rounded up, as in the paper's own code.

    The rest is made from as many of the m as a `[route]` can slice off and share out evenly.
    Source: huawei-noah/Efficient-AI-Backbones, ghostnet_pytorch/ghostnet.py GhostModule (ceil).
    """
    primary = -(-filters // ratio)
    rounds, rest = divmod(filters - primary, primary)
    return Split(primary, rounds, rest, _largest_slice(primary, rest) if rest else 0)


def _largest_slice(primary: int, rest: int) -> int:
    return max(size for size in range(1, rest + 1) if primary % size == 0 == rest % size)


def choose(network: Network, wish: Wish) -> dict[int, str]:
    """Return each convolution's reason to stay by its index; "" where it becomes a ghost module.

    Raises `OptionError` for a wish that no ghost module fulfils.
    """
    wish.check()
    stems, heads = _stems(network), _heads(network)
    marked = {"stems": stems, "heads": heads}
    wanted = select(network, wish.select, **marked)
    kept = select(network, wish.keep, **marked).chosen if wish.keep else frozenset[int]()
    ghosts = {module.primary.index: _GHOST for module in ghost_modules(network)}
    reasons = {}
    for node in network:
        if isinstance(node.layer, Convolutional):
            reasons[node.index] = (
                ("kept by --keep" if node.index in kept else "")
                or ("" if node.index in wanted.chosen else "not selected")
                or _obstacle(node.layer, wish)
                or ghosts.get(node.index, "")
                or _custom(network, node, wanted, wish, stems, heads)
            )
    return _shared(network, reasons)


def _obstacle(layer: Convolutional, wish: Wish) -> str:
    """Return why a layer cannot be a ghost module, whoever asks for it."""
    if layer.groups > 1:
        depthwise = layer.groups == layer.filters
        return "depthwise" if depthwise else f"grouped (groups={layer.groups})"
    if layer.spread > 1:
        return f"dilated (dilation={layer.dilation})"
    for name in _SPECIAL:
        if getattr(layer, name):
            return f"{name}={getattr(layer, name):g}"
    if layer.activation.startswith("normalize_channels"):
        return f"activation={layer.activation} needs all channels at once"
    return f"{layer.filters} filters are too few" if layer.filters < 2 else ""


def _custom(
    network: Network,
    node: Node,
    wanted: Selection,
    wish: Wish,
    stems: frozenset[int],
    heads: frozenset[int],
) -> str:
    """Return why a layer stays unless it is asked for by number or name."""
    if node.index in wanted.named:
        return ""
    if node.index in stems:
        return "stem: it reads the picture"
    if node.index in heads:
        return "head: its maps are the results"
    if node.shape.h == node.shape.w == 1:
        return "one pixel: nothing for a cheap kernel to see"
    before = node.layer.macs(node.shape, *network.input_shapes(node))
    parts = split(node.shape.c, wish.ratio)
    per_pixel = before // node.shape.size
    after = (parts.primary * per_pixel + parts.cheap * wish.dw**2) * node.shape[1] * node.shape[2]
    return f"no gain: {after:,} multiply-adds instead of {before:,}" if after >= before else ""


def _shared(network: Network, reasons: dict[int, str]) -> dict[int, str]:
    """Let convolutions that share weights be replaced together or not at all."""
    pairs = [
        (node.index, other)
        for node in network
        for key, other in node.refs
        if key == "share_index" and other in reasons
    ]
    changed = True
    while changed:
        changed = False
        for one, two in (*pairs, *(pair[::-1] for pair in pairs)):
            if reasons[one] and not reasons[two]:
                reasons[two] = f"shares weights with layer {one}, which stays"
                changed = True
    return reasons


def _stems(network: Network) -> frozenset[int]:
    """Return the convolutions that see the picture, directly or through layers without weights."""
    seen, stems = {IMAGE}, set()
    for node in network:
        if not seen.isdisjoint(node.inputs):
            if isinstance(node.layer, Convolutional):
                stems.add(node.index)
            elif not node.layer.weights(*network.input_shapes(node)):
                seen.add(node.index)
    return frozenset(stems)


def _heads(network: Network) -> frozenset[int]:
    """Return the convolutions whose maps, with no weights in between, are boxes or classes."""
    heads = set()
    for node in network:
        if isinstance(node.layer, Head | Softmax | Cost):
            above = node
            while len(above.inputs) == 1 and above.inputs[0] != IMAGE:
                above = network[above.inputs[0]]
                if isinstance(above.layer, Convolutional):
                    heads.add(above.index)
                if above.layer.weights(*network.input_shapes(above)):
                    break
    return frozenset(heads)
