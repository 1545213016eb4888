"""The scale at which the pictures of a training run are decoded.

A photograph of 12 megapixels is many times larger than what a network sees of it. libjpeg decodes
to a half, a quarter or an eighth of the sides in less time, and so many more pictures fit into a
cache.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ghostyolo.data.header import Size
from ghostyolo.data.images import AS_RGB


def factors(sizes: np.ndarray, settings: Iterable[Any], size: Size) -> np.ndarray:
    """Return by how much the sides of each picture can be divided, (n,): 1, 2, 4 or 8.

    Nothing of a divided picture is ever enlarged, in any crop that one of the settings of
    augmentation can draw. sizes: (n, 2), (h, w) of n pictures. size: (h, w) of the largest input.
    """
    density = np.min([each.density(sizes, size) for each in settings], 0)
    steps = np.array(sorted(AS_RGB))
    return steps[np.searchsorted(steps, np.maximum(density, 1), side="right") - 1]


def reduced(sizes: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Return the sizes (n, 2) of pictures whose sides are divided by factors (n,), rounded up."""
    return -(-sizes // factors[:, None])
