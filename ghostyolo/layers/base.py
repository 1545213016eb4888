"""The base class of all layer kinds: keys, shape, cost, weights and torch module.

A kind is a subclass of `Layer` in a file of its own. Its `names` are the names of its section, and
the keys by which `KINDS` maps to it. Whatever the program needs to know about a kind is a member of
`Layer`, and the defaults are safe: training, the cost model and exports refuse a kind that does not
override them. Only `module()` imports torch, so that reading and writing cfgs does not load it.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from ghostyolo.syntax.options import Options, key, options

if TYPE_CHECKING:
    from torch.nn import Module
else:
    Module = Any  # torch is imported only in `module`

# Source: AlexeyAB/darknet src/activations.c get_activation.
ACTIVATIONS = (
    "linear", "relu", "leaky", "logistic", "relu6", "swish", "mish", "hard_mish", "hardtan",
    "tanh", "elu", "selu", "gelu", "loggy", "relie", "ramp", "revleaky", "plse", "stair", "lhtan",
    "normalize_channels", "normalize_channels_softmax", "normalize_channels_softmax_maxval",
)  # fmt: skip
ACROSS_CHANNELS = tuple(f"normalize_channels{end}" for end in ("", "_softmax", "_softmax_maxval"))
# Activations for which Darknet's activate_array returns zero; some kinds do not use it for them.
UNKNOWN_TO_ACTIVATE_ARRAY = ("swish", "mish", "hard_mish", *ACROSS_CHANNELS)
KINDS: dict[str, type[Layer]] = {}

MAX_VALUES = 1 << 31  # in one layer's output; Darknet counts them with 32 bits
SILENT_DIFFERENCE = "it computes another result without an error"

# "products": convolutions or matrix products, counted by `macs`; "elementwise": a few operations on
# each value; "other": neither; "none": inference does not run the layer.
Operations = Literal["unknown", "products", "elementwise", "other", "none"]
# What happens if the channels of a layer's inputs change their order. "fixed": the layer computes
# another function; "kept": its output channels change in the same way, as channel k is computed
# from channel k of each input; "joined": its output is the concatenation of its inputs;
# "absorbed": its output stays the same if its weights are reordered along their input channels.
ChannelOrder = Literal["fixed", "kept", "joined", "absorbed"]


class Shape(NamedTuple):
    """One image's tensor: channels, height, width."""

    c: int
    h: int
    w: int

    @property
    def size(self) -> int:
        """Return the number of elements."""
        return self.c * self.h * self.w

    def __str__(self) -> str:
        return f"{self.c}x{self.h}x{self.w}"


Shapes = tuple[Shape, ...]
Tensors = list[tuple[str, tuple[int, ...]]]  # name and shape of each


class Importer(NamedTuple):
    """How another program's importer reads a section.

    ignores: keys that it ignores or rejects if they do not have their defaults. needs: keys that it
    requires.
    """

    ignores: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


class LayerError(ValueError):
    """Inputs or options that a layer does not support. hint: a remedy. rule: the rule of lint."""

    def __init__(self, message: str, hint: str = "", rule: str = "bad-value") -> None:
        super().__init__(message)
        self.hint, self.rule = hint, rule


@options
class Layer(Options):
    """The options of a layer, independent of its position in a network.

    Shapes are those of one image, without the batch. The methods take the shapes of the inputs.
    """

    takes_previous: ClassVar[bool] = True  # whether the node just above is the first input
    in_place: ClassVar[bool] = False  # whether other readers of its input get its output, too
    has_output: ClassVar[bool] = True  # whether it can be the last layer; False for a loss
    probabilities: ClassVar[bool] = False  # whether it turns logits into class probabilities
    keeps_logits: ClassVar[bool] = False  # whether logits stay logits, as in a global mean
    channels_key: ClassVar[str] = ""  # the key that sets the number of output channels, if any
    decayed: ClassVar[tuple[str, ...]] = ("conv.weight", "linear.weight")  # have weight decay
    clipped: ClassVar[tuple[str, ...]] = ()  # tensors that `clip` clips after each update

    # What is supported for a kind; the defaults mean that it is not.
    # Whether training supports it, and computes what Darknet does if Darknet has the kind.
    trained: ClassVar[bool] = False
    operations: ClassVar[Operations] = "unknown"  # the kind of its arithmetic
    opencv: ClassVar[Importer | None] = None  # how OpenCV's importer reads it; None: it does not
    hank_ai: ClassVar[bool] = False  # whether hank-ai's fork of Darknet has it
    order: ClassVar[ChannelOrder] = "fixed"  # see `channel_order`
    resizable: ClassVar[bool] = False  # whether Darknet can change its input size (random=1)
    # Activations for which Darknet's implementation of the kind returns zero.
    zero_activations: ClassVar[tuple[str, ...]] = UNKNOWN_TO_ACTIVATE_ARRAY

    # Keys that Darknet reads in every section. Source: src/parser.c parse_network_cfg_custom.
    clip: float = key(0.0, training="any")
    onlyforward: int = key(0)
    dont_update: int = key(0)
    burnin_update: int = key(0)
    stopbackward: int = key(0, training="any")
    train_only_bn: int = key(0)
    dontload: int = key(0, training="any")
    dontloadscales: int = key(0, training="any")
    learning_rate: float = key(1.0, training="any")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in cls.__dict__.get("names", ()):
            if name in KINDS:
                raise TypeError(
                    f"[{name}] is {KINDS[name].__name__} already, so not {cls.__name__}"
                )
            KINDS[name] = cls

    @property
    def kind(self) -> str:
        """Return the section's name."""
        return self.names[0]

    def shape(self, *inputs: Shape) -> Shape:
        """Return the output's shape. Raises `LayerError` where the inputs do not fit."""
        return inputs[0]

    def warnings(self, *inputs: Shape) -> Iterator[LayerError]:
        """Yield what is valid and probably a mistake."""
        yield from ()

    def check_reference(self, inputs: Shapes, other: Layer, other_inputs: Shapes) -> None:
        """Raise `LayerError` if a side reference to the other layer is not valid."""

    def when_referenced(self) -> Layer:
        """Return the layer as Darknet computes it if another layer refers to it by index."""
        return self

    def weights(self, *inputs: Shape) -> Tensors:
        """Return name and shape of each stored tensor, in the order of the `.weights` file."""
        return []

    def transposed_name(self, transposed: bool) -> str:
        """Return the name of the matrix that is stored as (inputs, outputs), "" if there is none.

        transposed: whether the header of the file says that matrices of `[connected]` are.
        """
        return ""

    def weights_to_load(self, *inputs: Shape) -> Tensors:
        """Return the tensors of `weights` that are read from a file.

        Source: src/parser.c load_weights_upto.
        """
        return [] if self.dontload else self.weights(*inputs)

    def check_inference(self, *inputs: Shape) -> None:
        """Raise `LayerError` if the layer cannot be computed with its options."""

    def check_training(self) -> None:
        """Raise `LayerError` if training does not support the layer with its options."""
        if not self.trained:
            hint = "train a network without it, with [yolo] heads or a [softmax]"
            raise LayerError("is computed in inference only", hint)
        if self.clip and not self.clipped:
            hint = "set clip=0.0 for training"
            raise LayerError(f"clip={self.clip} cannot be honoured in training", hint)
        if self.stopbackward not in (0, 1):
            message = f"stopbackward={self.stopbackward} cannot be honoured in training"
            raise LayerError(message, "set stopbackward=1, to stop there in all iterations, or 0")

    def channel_order(self, *inputs: Shape) -> ChannelOrder:
        """Return what happens if the channels of its inputs change their order."""
        return self.order

    def opencv_differences(self, *inputs: Shape) -> Iterator[tuple[str, str, str]]:
        """Yield what OpenCV's importer computes differently: key, message, hint."""
        yield from ()

    def macs(self, out: Shape, *inputs: Shape) -> int:
        """Return the multiply-adds of convolutions and matrix products for one image.

        Raises `LayerError` for a kind that does not define it.
        """
        if self.operations in ("unknown", "products"):
            message = "its class does not define the number of multiply-adds"
            raise LayerError(message, "set `operations` there, and define `macs` for products")
        return 0

    def numbers_moved(self, out: Shape, *inputs: Shape) -> int:
        """Return the number of values that are read and written for one image.

        Inputs, output and weights count once each: batch norm and activation are taken as fused
        with the convolution.
        Source: Ma et al., ShuffleNet V2, 2018, equation 1: MAC = hw (c1 + c2) + c1 c2.
        """
        if self.operations == "none":
            return 0
        return sum(shape.size for shape in inputs) + out.size + count(self.weights(*inputs))

    def further_passes(self, out: Shape, *inputs: Shape) -> Iterator[int]:
        """Yield the number of values that each further operator moves if nothing is fused.

        Batch norm and activation each read and write the feature maps once more.
        """
        if getattr(self, "norm", False):
            yield 2 * out.size
        if getattr(self, "activation", "linear") != "linear":
            yield 2 * out.size

    def bflops(self, out: Shape, *inputs: Shape) -> float:
        """Return what Darknet prints as BFLOPs for this layer, unrounded."""
        return 0.0

    def summary(self) -> str:
        """Return the main options in a few words, for a table."""
        return ""

    def module(self, *inputs: Shape) -> Module:
        """Return the torch module, whose tensors have the names of `weights`.

        Raises `LayerError` for options that are not supported.
        """
        raise LayerError("has no module, so it cannot be computed", "define `module` in its class")


def count(weights: Tensors) -> int:
    """Return the number of elements of all tensors."""
    return sum(prod(shape) for _, shape in weights)


def at_least_one(layer: Layer, *keys: str) -> None:
    """Raise `LayerError` if a key is below 1."""
    for name in keys:
        if (value := getattr(layer, name)) < 1:
            raise LayerError(f"{name}={value} is below 1", f"set {name}=1 or more")


def pair(inputs: Shapes) -> tuple[Shape, Shape]:
    """Return the shapes of the layer above and of the layer of `from`.

    Raises `LayerError` if `from` has more than one index.
    """
    if len(inputs) != 2:
        raise LayerError(f"from= has {len(inputs) - 1} indices, one is read", "give one index")
    return inputs[0], inputs[1]


def output_size(
    x: Shape, size: int, padding: int, stride: tuple[int, int], what: str = "kernel"
) -> tuple[int, int]:
    """Return the height and width of a convolution's output, or of a pooling layer's.

    padding: pixels on both sides together. stride: (y, x). what: the kernel's name in messages.
    Raises `LayerError` if the kernel is larger than the padded input.
    """
    h, w = ((side + padding - size) // step + 1 for side, step in zip(x[1:], stride, strict=True))
    if h < 1 or w < 1:
        hint = "use padding, a smaller size or a larger network input"
        raise LayerError(f"a {size}x{size} {what} is larger than {x}", hint, "vanishing")
    return h, w


def same_size(inputs: tuple[Shape, ...], hint: str) -> None:
    """Raise `LayerError` unless all inputs have the same height and width."""
    for index, shape in enumerate(inputs[1:], start=2):
        if shape[1:] != inputs[0][1:]:
            first, other = (f"{s.h}x{s.w}" for s in (inputs[0], shape))
            message = f"input 1 is {first} (HxW), input {index} is {other}"
            raise LayerError(message, hint, "size-mismatch")
