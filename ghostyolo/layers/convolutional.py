"""`[convolutional]`: a convolution, then batch norm or a bias, then the activation.

Source: AlexeyAB/darknet src/parser.c parse_convolutional, src/convolutional_layer.c.
"""

from __future__ import annotations

from math import prod

from ghostyolo.layers.antialiasing import blurred, kernel_size
from ghostyolo.layers.base import (
    ACTIVATIONS,
    ChannelOrder,
    Importer,
    Layer,
    LayerError,
    Module,
    Shape,
    Shapes,
    Tensors,
    at_least_one,
    output_size,
)
from ghostyolo.syntax.options import key, options


@options
class Convolutional(Layer):
    """A convolution with square kernels.

    `pad=1` pads size // 2 pixels on each side and overrides `padding`. `binary` has no effect here,
    as in Darknet's CPU build.
    """

    names = ("convolutional", "conv")
    refs = {"share_index": "weights"}
    clipped = ("conv.weight",)
    channels_key = "filters"
    trained = hank_ai = resizable = True
    operations = "products"
    zero_activations = ()
    opencv = Importer(
        ignores=(
            "dilation", "stride_x", "stride_y", "antialiasing", "share_index", "xnor", "flipped"
        ),
        needs=("filters", "size"),
    )  # fmt: skip

    batch_normalize: int = key(0, training="any")
    filters: int = key(1, always=True, training="any")
    groups: int = key(1, training="any")
    size: int = key(1, always=True, training="any")
    stride: int = key(1, always=True, training="any")
    stride_x: int = key(derive=lambda layer: layer.stride, training="any")
    stride_y: int = key(derive=lambda layer: layer.stride, training="any")
    dilation: int = key(1, training="any")
    pad: int = key(0, always=True, training="any")
    padding: int = key(0, training="any")
    activation: str = key("logistic", choices=ACTIVATIONS, always=True, training="any")
    cbn: int = key(0)
    antialiasing: int = key(0, training="any")
    binary: int = key(0)
    xnor: int = key(0)
    bin_output: int = key(0, training="any")
    flipped: int = key(0, training="any")
    assisted_excitation: float = key(0.0)
    sway: int = key(0)
    rotate: int = key(0)
    stretch: int = key(0)
    stretch_sway: int = key(0)
    angle: float = key(15.0, training="any")
    deform: int = key(0)
    grad_centr: int = key(0)
    reverse: float = key(0.0)
    coordconv: int = key(0)
    dot: int = key(0)
    stream: int = key(-1, training="any")
    wait_stream: int = key(-1, training="any")

    @property
    def norm(self) -> bool:
        """Return whether there is a batch norm, which replaces the bias."""
        return bool(self.batch_normalize or self.cbn)

    @property
    def pad_px(self) -> int:
        """Return the zero pixels on each side, not multiplied by the dilation."""
        return self.size // 2 if self.pad else self.padding

    @property
    def _padding(self) -> int:
        """Return the zero pixels on each side."""
        return self.pad_px * self.computed_dilation

    @property
    def computed_groups(self) -> int:
        """Return the groups that are computed: one with xnor."""
        return 1 if self.xnor else self.groups

    @property
    def computed_dilation(self) -> int:
        """Return the dilation that is computed: 1 for a 1x1 kernel and with xnor."""
        return 1 if self.size == 1 or self.xnor else self.dilation

    @property
    def strides(self) -> tuple[int, int]:
        """Return the (y, x) stride of the convolution; with antialiasing only the blur has one."""
        return (1, 1) if self.antialiasing else (self.stride_y, self.stride_x)

    def shape(self, *inputs: Shape) -> Shape:
        (x,) = inputs
        self._check(x)
        out = self._convolved(x)
        if self.antialiasing:
            return blurred(out, self.antialiasing, (self.stride_y, self.stride_x))
        return out

    def _convolved(self, x: Shape) -> Shape:
        """Return the shape before antialiasing, computed without the dilation as in Darknet."""
        return Shape(self.filters, *output_size(x, self.size, 2 * self.pad_px, self.strides))

    def _check(self, x: Shape) -> None:
        at_least_one(self, "filters", "size", "stride_x", "stride_y", "groups", "dilation")
        for what, channels in (("input channels", x.c), ("filters", self.filters)):
            if channels % self.computed_groups:
                message = f"groups={self.groups} does not divide {channels} {what}"
                hint = "choose groups that divide the input channels and filters"
                raise LayerError(message, hint, "groups")
        dilated, padding = self.computed_dilation * (self.size - 1) + 1, 2 * self._padding
        if output_size(x, dilated, padding, self.strides) != self._convolved(x)[1:]:
            message = f"dilation={self.dilation} needs {self.size // 2} pixels of padding"
            hint = "use an odd size with pad=1; Darknet computes a wrong output size otherwise"
            raise LayerError(message, hint, "dilation")

    def check_reference(self, inputs: Shapes, other: Layer, other_inputs: Shapes) -> None:
        if other.weights(*other_inputs) != self.weights(*inputs):
            hint = "share with a convolution of the same input channels, filters, size and groups"
            raise LayerError(
                "share_index refers to a layer with other weights", hint, "share-index"
            )

    def check_inference(self, *inputs: Shape) -> None:
        if self.coordconv:
            hint = "without the key it is another network: run it in Darknet's GPU build"
            raise LayerError(f"coordconv={self.coordconv} is not supported", hint, "unsupported")
        if self.pad_px < 0:
            hint = "write pad=1 for half a kernel, or 0 or more"
            raise LayerError(f"padding={self.padding} is not supported", hint, "unsupported")
        if self.xnor and self.antialiasing:
            message = "xnor=1 with antialiasing is not supported"
            raise LayerError(message, "train it without one of the two", "unsupported")

    def when_referenced(self) -> Layer:
        """Return the layer without `bin_output`, which Darknet switches off for such a layer.

        Source: AlexeyAB/darknet src/parser.c parse_network_cfg_custom (use_bin_output = 0).
        """
        return self.changed(bin_output=0)

    def weights(self, *inputs: Shape) -> Tensors:
        kernel = (self.filters, inputs[0].c // self.computed_groups, self.size, self.size)
        if not self.norm:
            return [("conv.bias", (self.filters,)), ("conv.weight", kernel)]
        names = ("norm.bias", "norm.weight", "norm.running_mean", "norm.running_var")
        return [(name, (self.filters,)) for name in names] + [("conv.weight", kernel)]

    def weights_to_load(self, *inputs: Shape) -> Tensors:
        """Return the tensors that are read; with `dontloadscales` only biases and weights.

        Source: AlexeyAB/darknet src/parser.c load_convolutional_weights.
        """
        scales = ("norm.weight", "norm.running_mean", "norm.running_var")
        skipped = scales if self.dontloadscales else ()
        return [item for item in super().weights_to_load(*inputs) if item[0] not in skipped]

    def transposed_name(self, transposed: bool) -> str:
        return "conv.weight" if self.flipped else ""

    def channel_order(self, *inputs: Shape) -> ChannelOrder:
        if self.computed_groups == 1:
            return "absorbed"
        return "kept" if self.computed_groups == self.filters == inputs[0].c else "fixed"

    def macs(self, out: Shape, *inputs: Shape) -> int:
        blur = kernel_size(self.antialiasing) ** 2 * out.size if self.antialiasing else 0
        return self._own_macs(inputs[0]) + blur

    def bflops(self, out: Shape, *inputs: Shape) -> float:
        return 2 * self._own_macs(inputs[0]) / 1e9 / (32 if self.xnor else 1)

    def _own_macs(self, x: Shape) -> int:
        _, h, w = self._convolved(x)
        return prod(self.weights(x)[-1][1]) * h * w

    def summary(self) -> str:
        stride = f"/{self.stride}" if self.stride > 1 else ""
        groups = f" g{self.groups}" if self.groups > 1 else ""
        return f"{self.size}x{self.size}{stride}{groups} {self.activation}"

    def module(self, *inputs: Shape) -> Module:
        from torch import nn

        from ghostyolo.ops import convolution, pooling

        conv = nn.Conv2d(
            inputs[0].c, self.filters, self.size, self.strides, self._padding,
            self.computed_dilation, self.computed_groups, bias=not self.norm,
        )  # fmt: skip
        activation = "linear" if self.xnor and self.bin_output else self.activation
        result = convolution.Convolution(conv, self.norm, activation, binary=bool(self.xnor))
        if self.antialiasing:
            size = kernel_size(self.antialiasing)
            result.blur = pooling.Blur(size, (self.stride_y, self.stride_x))
        return result
