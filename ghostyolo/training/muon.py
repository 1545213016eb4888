"""Muon for the matrices of a network, which are its 1x1 convolutions; SGD for all else.

Momentum of a matrix is dominated by few directions. Muon's update has about the same length in all
of them: it is the momentum with all its singular values set near 1.
Source: Jordan et al. 2024, Muon: An optimizer for hidden layers in neural networks: momentum 0.95
with a look ahead, five steps of a Newton-Schulz iteration, its coefficients, the factor for tall
matrices.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn

from ghostyolo.network import Network, Node
from ghostyolo.network.outputs import classifier_output, detection_heads
from ghostyolo.network.weights_file import stored

MOMENTUM = 0.95
COEFFICIENTS, STEPS = (3.4445, -4.7750, 2.0315), 5
# Times that of [net]. At the rates of the modern loss an update then shrinks weights as much as
# that of SGD with a momentum of 0.9 does.
DECAY = 25.0
TINY = 1e-7
WEIGHT = "conv.weight"


class Muon(torch.optim.SGD):
    """SGD, but Muon in the groups that have `matrices=True`: weights (out, in, 1, 1).

    Their `momentum` and `nesterov` are not used, and their decay does not go through the momentum.
    """

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient."""
        groups = self.param_groups
        self.param_groups = [group for group in groups if not group["matrices"]]
        try:
            super().step(closure)
        finally:
            self.param_groups = groups
        for group in groups:
            if group["matrices"]:
                self._update(group)

    @torch.no_grad()
    def _update(self, group: dict[str, Any]) -> None:
        alike = defaultdict(list)  # matrices of one shape, which are computed together
        for parameter in group["params"]:
            if parameter.grad is not None:
                alike[parameter.shape].append(parameter)
        for (rows, columns, *_), parameters in alike.items():
            update = orthogonal(torch.stack([self._momentum(each) for each in parameters]))
            length = group["lr"] * max(1, rows / columns) ** 0.5
            for parameter, change in zip(parameters, update, strict=True):
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(change[..., None, None], alpha=-length)

    def _momentum(self, parameter: nn.Parameter) -> Tensor:
        """Add a gradient to its momentum, and return the momentum after another such gradient."""
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        momentum = state["momentum_buffer"].mul_(MOMENTUM).add_(parameter.grad)
        return (parameter.grad + MOMENTUM * momentum).flatten(1)


def orthogonal(matrices: Tensor) -> Tensor:
    """Return matrices (n, rows, columns) with the same directions and singular values near 1.

    Those that are not far below the largest become .7 to 1.2. Each step multiplies by a polynomial
    of the square of the shorter side, and the longer side takes part at the beginning and at the
    end only.
    """
    if matrices.shape[1] > matrices.shape[2]:
        return orthogonal(matrices.mT).mT
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + TINY)
    a, b, c = COEFFICIENTS
    square, product = x @ x.mT, None
    for step in range(STEPS):
        factor = torch.baddbmm(square, square, square, beta=b, alpha=c)
        factor.diagonal(dim1=1, dim2=2).add_(a)
        product = factor if product is None else factor @ product
        if step + 1 < STEPS:
            square = factor @ square @ factor
    return product @ x


def matrices(network: Network) -> frozenset[int]:
    """Return the layers whose `WEIGHT` is a matrix to Muon.

    These are the convolutions of 1x1 pixels without groups, also those of squeeze-excite, but for
    those that a head reads or that give the logits of a classifier: hidden layers alone, as the
    source says.
    """
    last = {node.inputs[0] for node, _ in detection_heads(network)}
    if end := classifier_output(network):
        last.add(end.source.index)
    return frozenset(
        node.index for node in network if node.index not in last and _is_matrix(network, node)
    )


def _is_matrix(network: Network, node: Node) -> bool:
    shape = dict(stored(network, node)).get(WEIGHT, ())
    return shape[1:] == (network.input_shapes(node)[0].c, 1, 1) and min(shape[:2]) > 1
