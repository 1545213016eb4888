"""`antialiasing` of `[convolutional]` and `[maxpool]`: stride 1, then a blur with the stride.

1 is the 3x3 binomial kernel, 2 the mean of 2x2 pixels without padding.
Source: AlexeyAB/darknet src/convolutional_layer.c make_convolutional_layer, src/maxpool_layer.c
make_maxpool_layer.
"""

from __future__ import annotations

from ghostyolo.layers.base import LayerError, Shape


def kernel_size(antialiasing: int) -> int:
    """Return the blur's height and width."""
    return 2 if antialiasing == 2 else 3


def blurred(x: Shape, antialiasing: int, stride: tuple[int, int]) -> Shape:
    """Return the shape behind the blur, which has the stride (y, x)."""
    size = kernel_size(antialiasing)
    h, w = ((side + size - 4) // step + 1 for side, step in zip(x[1:], stride, strict=True))
    if h < 1 or w < 1:
        message = f"antialiasing={antialiasing} leaves nothing of {x}"
        raise LayerError(message, "set antialiasing=1", "vanishing")
    return Shape(x.c, h, w)
