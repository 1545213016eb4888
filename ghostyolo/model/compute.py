"""Compute a network layer by layer, and free each output after its last use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from torch import Tensor

from ghostyolo.network import IMAGE, Network
from ghostyolo.network.liveness import last_uses


class Call(NamedTuple):
    """A layer to be computed: `compute` maps the outputs of `inputs` to the output of `node`.

    frees: the outputs that no later call reads. replaces: the node whose output is replaced by this
    one for later calls, if any.
    """

    node: int
    compute: Callable[..., Any]
    inputs: tuple[int, ...]
    frees: tuple[int, ...]
    replaces: int | None = None


def calls(
    network: Network, modules: Iterable[Callable[..., Any]], *, training: bool = False
) -> list[Call]:
    """Return the calls of a network's modules, one for each node, in their order."""
    return [
        Call(
            node.index,
            module,
            node.inputs,
            tuple(frees),
            node.inputs[0] if node.layer.in_place and training else None,
        )
        for node, module, frees in zip(network, modules, last_uses(network), strict=True)
    ]


def run(
    steps: Iterable[Call], x: Tensor, keep: frozenset[int] = frozenset()
) -> Iterator[tuple[int, dict[int, Any]]]:
    """Compute the calls on a batch of images (N, C, H, W).

    After each call, yields its node and all outputs that are in memory, by index: the output and
    the inputs of the call, the outputs that later calls read, and the outputs in `keep`.
    """
    held: dict[int, Any] = {IMAGE: x}
    for call in steps:
        held[call.node] = call.compute(*[held[index] for index in call.inputs])
        if call.replaces is not None:
            held[call.replaces] = held[call.node]
        yield call.node, held
        for index in call.frees:
            if index not in keep:
                del held[index]
