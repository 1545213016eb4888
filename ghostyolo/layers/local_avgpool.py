"""`[local_avgpool]`: average pooling.

Source: AlexeyAB/darknet src/parser.c parse_local_avgpool, src/maxpool_layer.c
forward_local_avgpool_layer.
"""

from __future__ import annotations

from ghostyolo.layers.base import Module, Shape
from ghostyolo.layers.pooling import Pooling
from ghostyolo.syntax.options import options


@options
class LocalAvgpool(Pooling):
    """The mean of each window, as in `[maxpool]`; padding does not count."""

    names = ("local_avgpool", "local_avg")
    trained = hank_ai = resizable = True
    operations = "other"
    order = "kept"

    def module(self, *inputs: Shape) -> Module:
        from ghostyolo.ops import pooling

        return pooling.LocalAvgpool(self.size, self.strides, self.padding)
