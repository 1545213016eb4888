"""The difference of two arrays."""

from __future__ import annotations

import numpy as np


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest absolute difference.

    Equal infinities and two NaN have difference 0. The difference is infinite if the shapes differ,
    or if infinity or NaN is only in one of the arrays.
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
    """Return the largest absolute difference divided by the largest magnitude in `a`."""
    return difference(a, b) / max(absmax(a), 1e-30)
