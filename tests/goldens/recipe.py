"""The weights and pictures that the goldens were computed with, as functions of a counter.

A 32-bit counter is hashed and the upper 24 bits of the hash are read as a number in [0, 1). That
number is exact in float32, so any program in any language can make the same weights and pictures.

Source: the finalizer of MurmurHash3 (Austin Appleby), fmix32.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

WEIGHTS, INPUT, SAMPLE = 1, 2, 3  # the seeds


def hash32(seed: int, counter: np.ndarray) -> np.ndarray:
    """Hash counters to uint32 of the same shape."""
    h = (np.asarray(counter, np.uint64) + np.uint64(seed * 0x9E3779B9)).astype(np.uint32)
    h = (h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    h = (h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return h ^ (h >> np.uint32(16))


def uniform(seed: int, start: int, count: int) -> np.ndarray:
    """Return `count` float64 in [0, 1), multiples of 2^-24, from the counter `start` on."""
    return (hash32(seed, np.arange(start, start + count)) >> np.uint32(8)) / 2.0**24


def block(kind: str, start: int, count: int, fan_in: int) -> np.ndarray:
    """Return `count` float32 of one tensor; `start` counts the floats before it in the file.

    kind: bias, scale, mean, var (of batch norm), weight, or mix (of [shortcut] and [implicit]).
    fan_in: how many inputs one output sees; only kind "weight" reads it.
    """
    u = uniform(WEIGHTS, start, count)
    if kind in ("bias", "mean"):
        values = (u - 0.5) * 0.2
    elif kind in ("scale", "var", "mix"):
        values = 0.5 + u
    elif kind == "weight":
        values = (u - 0.5) * (2 * np.sqrt(3.0 / fan_in))
    else:
        raise ValueError(f"unknown kind {kind!r}")
    return values.astype(np.float32)


def stream(blocks: Iterable[tuple[str, int, int]]) -> np.ndarray:
    """Return the floats of a `.weights` file, header left out.

    blocks: (kind, count, fan_in) of each tensor, in the order of the file.
    """
    parts, start = [np.empty(0, np.float32)], 0
    for kind, count, fan_in in blocks:
        parts.append(block(kind, start, count, fan_in))
        start += count
    return np.concatenate(parts)


def input_tensor(n: int, c: int, h: int, w: int) -> np.ndarray:
    """Return `n` pictures (n, c, h, w), float32 in [0, 1)."""
    return uniform(INPUT, 0, n * c * h * w).astype(np.float32).reshape(n, c, h, w)


def sample_indices(size: int, count: int) -> np.ndarray:
    """Return which `count` of `size` values of an output, flat (C, H, W), a golden lists."""
    scaled = hash32(SAMPLE, np.arange(count)).astype(np.uint64) * np.uint64(size)
    return (scaled >> np.uint64(32)).astype(np.int64)
