"""`[reorg3d]`: space to depth, or back.

Source: AlexeyAB/darknet src/parser.c parse_reorg, src/blas.c reorg_cpu.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ghostyolo.layers.base import Layer, Misfit, Shape
from ghostyolo.layers.options import key

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Reorg3d(Layer):
    """Blocks of stride x stride pixels become channels; output channel = offset * c + channel."""

    names = ("reorg3d",)

    stride: int = key(1, always=True)
    reverse: int = key(0)

    def shape(self, *inputs: Shape) -> Shape:
        c, h, w = inputs[0]
        s = self.stride
        if self.reverse:
            if c % (s * s):
                raise Misfit(f"stride={s} squared does not divide {c} channels", "use a divisor")
            return Shape(c // (s * s), h * s, w * s)
        if h % s or w % s:
            raise Misfit(f"stride={s} does not divide {h}x{w}", "use an input size that it divides")
        return Shape(c * s * s, h // s, w // s)

    def module(self, *inputs: Shape) -> nn.Module:
        from ghostyolo import ops

        return ops.SpaceToDepth(self.stride, bool(self.reverse))
