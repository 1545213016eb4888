"""`antialiasing` of `[convolutional]` and `[maxpool]`: the layer has stride 1, a blur the stride.

antialiasing=1 blurs with the 3x3 binomial kernel, 2 with the mean of 2x2 pixels without padding.
Source: AlexeyAB/darknet src/convolutional_layer.c make_convolutional_layer, src/maxpool_layer.c
make_maxpool_layer.
"""

from __future__ import annotations

from ghostyolo.layers.base import Shape, output_size


def kernel_size(antialiasing: int) -> int:
    """Return the height and width of the blur's kernel."""
    return 2 if antialiasing == 2 else 3


def blurred(x: Shape, antialiasing: int, stride: tuple[int, int]) -> Shape:
    """Return the shape after the blur, which has the stride (y, x). Raises `LayerError`."""
    size = kernel_size(antialiasing)
    what = f"blur of antialiasing={antialiasing}"
    return Shape(x.c, *output_size(x, size, 2 * (size - 2), stride, what))
