"""The cost model: memory traffic, predicted time, and the guidelines of ShuffleNet V2.

Source: Ma et al., ShuffleNet V2, ECCV 2018, section 2 (memory access cost, guidelines G1 to G4);
Williams et al., Roofline, CACM 2009; Han et al., GhostNet, CVPR 2020, equations 4 and 5.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

from ghostyolo.layers import count
from ghostyolo.layers.convolutional import Convolutional
from ghostyolo.layers.route import Route
from ghostyolo.network import Network, Node
from ghostyolo.network.ghost_modules import GhostNodes

FLOAT = 4  # bytes
UNEQUAL = 1.25  # ratio of memory access to its minimum that breaks G1; 1.25 is 1 : 4 channels


@dataclass(frozen=True)
class Machine:
    """A roofline model: multiply-adds and bytes per second, and the seconds that a call adds."""

    macs_per_s: float
    bytes_per_s: float
    call_s: float = 0.0

    def seconds(self, macs: float, bytes_: float) -> float:
        """Return the time of one operator, whose arithmetic and memory traffic overlap."""
        return max(macs / self.macs_per_s, bytes_ / self.bytes_per_s) + self.call_s


@dataclass(frozen=True)
class Gain:
    """The savings of a ghost module by the formulas of the paper.

    ratio: s, the number of maps for each intrinsic map. speedup: equation 4. compression: equation
    5, of weights without batch norms. estimate: s * c / (s + c - 1), which both equal if all
    kernels have the same size.
    """

    ratio: float
    speedup: float
    compression: float
    estimate: float


def seconds(network: Network, node: Node, machine: Machine) -> float:
    """Return the predicted time of a node, the sum over its operators without fusion."""
    layer, out, inputs = node.layer, node.shape, network.input_shapes(node)
    numbers = layer.numbers_moved(out, *inputs)
    if not numbers:
        return 0
    further = (machine.seconds(0, FLOAT * moved) for moved in layer.further_passes(out, *inputs))
    return sum(further, machine.seconds(layer.macs(out, *inputs), FLOAT * numbers))


def gain(network: Network, module: GhostNodes) -> Gain:
    """Return the savings of a ghost module. Source: Han et al. 2020, equations 4 and 5."""
    primary, out = module.primary, module.out.shape
    (one,) = network.input_shapes(primary)
    convolutions = [(node, network.input_shapes(node)[0]) for node in (primary, *module.cheap)]
    macs = [node.layer.macs(node.shape, x) for node, x in convolutions]
    taps = [count(node.layer.weights(x)[-1:]) for node, x in convolutions]
    s, c = out.c / primary.shape.c, one.c
    return Gain(
        ratio=s,
        speedup=out.size * macs[0] / primary.shape.size / sum(macs),
        compression=out.c * taps[0] / primary.shape.c / sum(taps),
        estimate=s * c / (s + c - 1),
    )


def is_elementwise(node: Node) -> bool:
    """Return whether a node does few operations on each value that it reads or writes.

    Depthwise convolutions count, as in ShuffleNet V2 (section 2, G4).
    """
    return node.layer.operations == "elementwise" or _is_depthwise(node)


def pieces(network: Network) -> set[int]:
    """Return the indices of the convolutions that a `[route]` concatenates with other layers."""
    return {index for node in network for index in _pieces_of(network, node)}


def broken_guidelines(network: Network, node: Node) -> Iterator[str]:
    """Yield the guidelines of ShuffleNet V2 that a node breaks, with the numbers that matter."""
    layer, inputs = node.layer, network.input_shapes(node)
    if isinstance(layer, Convolutional):
        c1, c2 = inputs[0].c, node.shape.c
        excess = (c1 + c2) / (2 * sqrt(c1 * c2))
        if layer.computed_groups == 1 and excess >= UNEQUAL:
            yield f"G1: {c1} to {c2} channels, {excess:.2f} of the least traffic of maps"
        if layer.computed_groups > 1 and not _is_depthwise(node):
            yield f"G2: {layer.computed_groups} groups"
    if _pieces_of(network, node):
        parts = " + ".join(str(shape.c) for shape in inputs)
        yield f"G3: joins {len(inputs)} pieces of {parts} maps"
    if is_elementwise(node):
        yield "G4: depthwise" if _is_depthwise(node) else "G4: element-wise"


def _is_depthwise(node: Node) -> bool:
    layer = node.layer
    return isinstance(layer, Convolutional) and 1 < layer.computed_groups == layer.filters


def _pieces_of(network: Network, node: Node) -> set[int]:
    """Return the convolutions among the inputs of a `[route]`, if it has several inputs."""
    if not isinstance(node.layer, Route) or len(node.inputs) < 2:
        return set()
    return {i for i in node.inputs if i >= 0 and isinstance(network[i].layer, Convolutional)}
