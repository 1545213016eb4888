"""The scale at which the pictures of a training run are decoded.

A photograph of 12 megapixels is many times larger than what a network sees of it. libjpeg decodes
to a half, a quarter or an eighth of the sides in less time, and so many more pictures fit into a
cache. The scale of a picture is one for the whole run and enough for nearly all crops; for a rare
small crop the picture is decoded again, so that nothing is enlarged that the whole picture has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from ghostyolo.data.header import Size
from ghostyolo.data.images import AS_RGB


class Scale(NamedTuple):
    """By what the sides of a picture were divided.

    finer: returns the picture with its sides divided by another factor, None if that fails.
    """

    factor: int = 1
    finer: Callable[[int], np.ndarray | None] = lambda _: None

    def whole(self, image: np.ndarray) -> Size:
        """Return (h, w) of the whole picture, to a multiple of the factor."""
        return image.shape[0] * self.factor, image.shape[1] * self.factor

    def enough(self, image: np.ndarray, density: float) -> tuple[np.ndarray, int]:
        """Return the picture, or a finer one that need not be enlarged, and its factor.

        density: pixels of the whole picture along a side of a pixel to be shown.
        """
        if density >= self.factor or self.factor == 1:
            return image, self.factor
        factor = max(each for each in AS_RGB if each <= max(1, density))
        found = self.finer(factor)
        return (image, self.factor) if found is None else (found, factor)


WHOLE = Scale()


def factors(sizes: np.ndarray, settings: Iterable[Any], size: Size) -> np.ndarray:
    """Return by how much the sides of each picture are to be divided, (n,): 1, 2, 4 or 8.

    sizes: (n, 2), (h, w) of n pictures. settings: those of augmentation in the run. size: (h, w) of
    the largest input.
    """
    density = np.min([each.density(sizes, size) for each in settings], 0)
    steps = np.array(sorted(AS_RGB))
    return steps[np.searchsorted(steps, np.maximum(density, 1), side="right") - 1]


def reduced(sizes: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Return the sizes (n, 2) of pictures whose sides are divided by factors (n,), rounded up."""
    return -(-sizes // factors[:, None])
