"""`[shortcut]`: add earlier outputs to that of the layer above.

Source: AlexeyAB/darknet src/parser.c parse_shortcut, src/shortcut_layer.c,
src/blas.c shortcut_multilayer_cpu.
"""

from __future__ import annotations

from collections.abc import Iterator

from ghostyolo.layers.base import (
    ACROSS_CHANNELS,
    ACTIVATIONS,
    SILENT_DIFFERENCE,
    ChannelOrder,
    Importer,
    Layer,
    LayerError,
    Module,
    Shape,
    Tensors,
    same_size,
)
from ghostyolo.syntax.options import key, options

_NO_NORM = "weights_type needs a weights_normalization; Darknet stops without one"


def _samples(x: Shape, other: Shape) -> bool:
    """Return whether pjreddie/darknet adds a layer of another size: equal steps along both axes."""
    return (other.w // x.w, x.w // other.w) == (other.h // x.h, x.h // other.h)


@options
class Shortcut(Layer):
    """A sum with the shape of its first input; additional channels of others are not added.

    A single other layer may have another size. A larger one is sampled at every n-th pixel, a
    smaller one is added to every n-th pixel, as pjreddie/darknet does; AlexeyAB/darknet stops.
    Source for this: pjreddie/darknet src/blas.c shortcut_cpu.
    """

    names = ("shortcut",)
    refs = {"from": "data"}
    trained = hank_ai = resizable = True
    operations = "elementwise"
    zero_activations = ("hard_mish", *ACROSS_CHANNELS)
    opencv = Importer(ignores=("weights_type",))

    weights_type: str = key(
        "none", choices=("none", "per_feature", "per_layer", "per_channel"), training="any"
    )
    weights_normalization: str = key(
        "none", choices=("none", "relu", "avg_relu", "softmax"), training="any"
    )
    activation: str = key("linear", choices=ACTIVATIONS, always=True, training="any")

    @property
    def weighted(self) -> bool:
        """Return whether the inputs are multiplied by learned factors."""
        return self.weights_type != "none"

    def shape(self, *inputs: Shape) -> Shape:
        if len(inputs) != 2 or self.weighted or not _samples(*inputs):
            same_size(inputs, "add layers of the same size")
        if self.weighted and self.weights_normalization == "none":
            raise LayerError(_NO_NORM, "set weights_normalization=relu or softmax", "weights-type")
        return inputs[0]

    def warnings(self, *inputs: Shape) -> Iterator[LayerError]:
        x, *others = inputs
        for other in others:
            if other[1:] != x[1:]:
                message = f"adds {other.h}x{other.w} (HxW) to {x.h}x{x.w}, sampled"
                hint = "pjreddie's Darknet does so, AlexeyAB's stops; add layers of the same size"
                yield LayerError(message, hint, "shortcut-size")

    def weights(self, *inputs: Shape) -> Tensors:
        if not self.weighted:
            return []
        columns = inputs[0].c if self.weights_type == "per_channel" else 1
        return [("weight", (len(inputs), columns))]

    def channel_order(self, *inputs: Shape) -> ChannelOrder:
        """Return "fixed" where the first channels of a larger map are added to a smaller one."""
        return "kept" if len({shape.c for shape in inputs}) == 1 else "fixed"

    def bflops(self, out: Shape, *inputs: Shape) -> float:
        return out.size * (len(inputs) - 1) * (2 if self.weighted else 1) / 1e9

    def further_passes(self, out: Shape, *inputs: Shape) -> Iterator[int]:
        """Yield also the values of a sum of k inputs, which is computed as k - 1 sums of two."""
        yield from (3 * out.size for _ in inputs[2:])
        yield from super().further_passes(out, *inputs)

    def opencv_differences(self, *inputs: Shape) -> Iterator[tuple[str, str, str]]:
        if len(inputs) > 2:
            yield "from", "OpenCV's importer adds the first layer of from only", SILENT_DIFFERENCE
        if len({shape[1:] for shape in inputs}) > 1:
            yield "from", "OpenCV's importer adds layers of one size only", "it stops"

    def module(self, *inputs: Shape) -> Module:
        from ghostyolo.ops import combining

        shapes = [shape for _, shape in self.weights(*inputs)]
        norm = self.weights_normalization.removeprefix("avg_")
        return combining.Shortcut(self.activation, shapes[0] if shapes else None, norm)
