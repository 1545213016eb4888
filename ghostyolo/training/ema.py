"""A moving average of a model's tensors, which is measured and saved in place of the last values.

Source: Polyak & Juditsky 1992 (averaging); Tarvainen & Valpola 2017 (the short start).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """The average of all parameters and of the running statistics of batch norm.

    horizon: updates over which it reaches back; it starts short and grows to that.
    """

    def __init__(self, model: nn.Module, horizon: float) -> None:
        self.horizon, self.updates = max(1.0, horizon), 0
        self._own = _averaged(model)
        self.tensors = [tensor.detach().clone() for tensor in self._own]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the model's present values."""
        self.updates += 1
        decay = (1 - 1 / self.horizon) * (1 - math.exp(-2 * self.updates / self.horizon))
        torch._foreach_lerp_(self.tensors, self._own, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the model have the averages inside the block."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def state(self) -> dict[str, int | list[Tensor]]:
        """Return what `restore` takes."""
        return {"updates": self.updates, "tensors": self.tensors}

    @torch.no_grad()
    def restore(self, state: dict[str, int | list[Tensor]]) -> None:
        """Take up what `state` returned."""
        self.updates = state["updates"]  # type: ignore[assignment]
        for mine, saved in zip(self.tensors, state["tensors"], strict=True):  # type: ignore[arg-type]
            mine.copy_(saved)

    @torch.no_grad()
    def _exchange(self) -> None:
        for own, average in zip(self._own, self.tensors, strict=True):
            kept = own.clone()
            own.copy_(average)
            average.copy_(kept)


def _averaged(model: nn.Module) -> list[Tensor]:
    buffers = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
    return [*model.parameters(), *buffers]
