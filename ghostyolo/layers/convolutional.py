"""`[convolutional]`: cross-correlation, then batch norm or a bias, then the activation.

Source: AlexeyAB/darknet src/parser.c parse_convolutional, src/convolutional_layer.c.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from ghostyolo.layers.base import ACTIVATIONS, Layer, Misfit, Shape
from ghostyolo.layers.options import key

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Convolutional(Layer):
    """Square kernels; `pad=1` means size // 2 pixels each side and overrides `padding`."""

    names = ("convolutional", "conv")
    refs = {"share_index": "side"}

    batch_normalize: int = key(0)
    filters: int = key(1, always=True)
    groups: int = key(1)
    size: int = key(1, always=True)
    stride: int = key(1, always=True)
    stride_x: int = key(derive=lambda layer: layer.stride)
    stride_y: int = key(derive=lambda layer: layer.stride)
    dilation: int = key(1)
    pad: int = key(0, always=True)
    padding: int = key(0)
    activation: str = key("logistic", choices=ACTIVATIONS, always=True)
    cbn: int = key(0)
    antialiasing: int = key(0)
    binary: int = key(0)
    xnor: int = key(0)
    bin_output: int = key(0)
    flipped: int = key(0)
    assisted_excitation: float = key(0.0)
    sway: int = key(0)
    rotate: int = key(0)
    stretch: int = key(0)
    stretch_sway: int = key(0)
    angle: float = key(15.0)
    deform: int = key(0)
    grad_centr: int = key(0)
    reverse: float = key(0.0)
    coordconv: int = key(0)
    dot: int = key(0)
    stream: int = key(-1)
    wait_stream: int = key(-1)

    @property
    def norm(self) -> bool:
        """Return whether a batch norm stands in place of the bias."""
        return bool(self.batch_normalize or self.cbn)

    @property
    def pad_px(self) -> int:
        """Return the zero pixels on each side, dilation not counted."""
        return self.size // 2 if self.pad else self.padding

    @property
    def parts(self) -> int:
        """Return the groups that are computed; xnor knows one only."""
        return 1 if self.xnor else self.groups

    @property
    def spread(self) -> int:
        """Return the dilation that is computed; a 1x1 kernel has none."""
        return 1 if self.size == 1 else self.dilation

    def shape(self, *inputs: Shape) -> Shape:
        (x,) = inputs
        self._check(x)
        h, w = (
            (side + 2 * self.pad_px - self.size) // stride + 1
            for side, stride in ((x.h, self.stride_y), (x.w, self.stride_x))
        )
        if h < 1 or w < 1:
            raise Misfit(f"a {self.size}x{self.size} kernel leaves nothing of {x}", "set pad=1")
        return Shape(self.filters, h, w)

    def _check(self, x: Shape) -> None:
        least = {"filters": 1, "size": 1, "stride_x": 1, "stride_y": 1, "groups": 1, "dilation": 1}
        for name, low in least.items():
            if getattr(self, name) < low:
                value = getattr(self, name)
                raise Misfit(f"{name}={value} is below {low}", f"set {name}={low} or more")
        for what, channels in (("input channels", x.c), ("filters", self.filters)):
            if channels % self.parts:
                message = f"groups={self.groups} does not divide {channels} {what}"
                raise Misfit(message, "choose groups that divide the input channels and filters")
        if self.spread > 1 and 2 * self.pad_px != self.size - 1:
            hint = "use an odd size with pad=1; Darknet's sizes are wrong otherwise"
            raise Misfit(f"dilation={self.dilation} needs {self.size // 2} pixels of padding", hint)

    def weights(self, *inputs: Shape) -> list[tuple[str, tuple[int, ...]]]:
        kernel = (self.filters, inputs[0].c // self.parts, self.size, self.size)
        if not self.norm:
            return [("conv.bias", (self.filters,)), ("conv.weight", kernel)]
        names = ("norm.bias", "norm.weight", "norm.running_mean", "norm.running_var")
        return [(name, (self.filters,)) for name in names] + [("conv.weight", kernel)]

    def macs(self, out: Shape, *inputs: Shape) -> int:
        return prod(self.weights(*inputs)[-1][1]) * out.h * out.w

    def bflops(self, out: Shape, *inputs: Shape) -> float:
        return 2 * self.macs(out, *inputs) / 1e9 / (32 if self.xnor else 1)

    def summary(self) -> str:
        stride = f"/{self.stride}" if self.stride > 1 else ""
        groups = f" g{self.groups}" if self.groups > 1 else ""
        return f"{self.size}x{self.size}{stride}{groups} {self.activation}"

    def module(self, *inputs: Shape) -> nn.Module:
        from ghostyolo import ops

        self._refuse()
        return ops.Convolution(
            inputs[0].c,
            self.filters,
            size=self.size,
            stride=(self.stride_y, self.stride_x),
            padding=self.pad_px * self.spread,
            dilation=self.spread,
            groups=self.parts,
            norm=self.norm,
            activation=self.activation,
            binary_input=bool(self.xnor),
            activate=not (self.xnor and self.bin_output),
        )

    def _refuse(self) -> None:
        for name in ("antialiasing", "flipped", "coordconv"):
            if getattr(self, name):
                raise Misfit(f"{name}={getattr(self, name)} is not supported", f"set {name}=0")
