"""The exponential moving average of a model's tensors, which is validated and saved instead.

Source: Polyak & Juditsky 1992 (averaging); Tarvainen & Valpola 2017 (the warm-up).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """The moving average of all parameters and of the running statistics of batch norm.

    horizon: number of updates that the average covers; the decay after a warm-up is 1 - 1/horizon.
    """

    def __init__(self, model: nn.Module, horizon: float) -> None:
        self.horizon, self.updates = max(1.0, horizon), 0
        self._own = [*model.parameters(), *running_statistics(model)]
        self.tensors = [tensor.detach().clone() for tensor in self._own]

    @torch.no_grad()
    def update(self) -> None:
        """Update the averages with the current values of the model."""
        self.updates += 1
        decay = (1 - 1 / self.horizon) * (1 - math.exp(-2 * self.updates / self.horizon))
        torch._foreach_lerp_(self.tensors, self._own, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the averages into the model inside the block; put its own tensors back afterwards."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def state_dict(self) -> dict[str, int | list[Tensor]]:
        """Return the state for `load_state_dict`."""
        return {"updates": self.updates, "tensors": self.tensors}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, int | list[Tensor]]) -> None:
        """Restore a state that `state_dict` returned."""
        self.updates = state["updates"]  # type: ignore[assignment]
        torch._foreach_copy_(self.tensors, state["tensors"])  # type: ignore[arg-type]

    @torch.no_grad()
    def _exchange(self) -> None:
        own = [tensor.clone() for tensor in self._own]
        torch._foreach_copy_(self._own, self.tensors)
        torch._foreach_copy_(self.tensors, own)


def running_statistics(model: nn.Module) -> list[Tensor]:
    """Return the running means and variances of batch norm."""
    return [buffer for buffer in model.buffers() if buffer.is_floating_point()]
