"""The difference of two arrays."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


def on_device_of(model: nn.Module, x: np.ndarray) -> Tensor:
    """Return an array as a tensor where a model's are."""
    device = next((t.device for t in model.parameters()), torch.device("cpu"))
    return torch.from_numpy(x).to(device)


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest absolute difference.

    Equal infinities and two NaN are equal; a number beside one of those, or other shapes, are
    infinitely far.
    """
    if a.shape != b.shape:
        return float("inf")
    with np.errstate(invalid="ignore", over="ignore"):
        gap = np.abs(a - b)
    odd = ~np.isfinite(gap)
    if odd.any():
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        gap[odd] = np.where(same[odd], 0, np.inf)
    return float(gap.max(initial=0))


def absmax(a: np.ndarray) -> float:
    """Return the largest finite magnitude."""
    return float(np.abs(a).max(initial=0, where=np.isfinite(a)))


def relative_difference(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest absolute difference as a share of the largest magnitude in `a`."""
    return difference(a, b) / max(absmax(a), 1e-30)
