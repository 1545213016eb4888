"""What every layer kind has: its keys, shape, cost, weights and torch module.

A kind is one file of this package: a subclass of `Layer` that names its section in `names`, by
which `KINDS` finds it. All that the program asks of a kind is a member here, and the defaults are
safe: a kind that says nothing of its training, cost or form in other programs is refused there.
`module()` is the one place where torch is imported inside a function: reading and writing cfgs
does not load it.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from ghostyolo.syntax.options import Options, key, options

if TYPE_CHECKING:
    from torch.nn import Module
else:
    Module = Any  # kinds load torch in `module` alone

# Source: AlexeyAB/darknet src/activations.c get_activation.
ACTIVATIONS = (
    "linear", "relu", "leaky", "logistic", "relu6", "swish", "mish", "hard_mish", "hardtan",
    "tanh", "elu", "selu", "gelu", "loggy", "relie", "ramp", "revleaky", "plse", "stair", "lhtan",
    "normalize_channels", "normalize_channels_softmax", "normalize_channels_softmax_maxval",
)  # fmt: skip
ACROSS_CHANNELS = tuple(f"normalize_channels{end}" for end in ("", "_softmax", "_softmax_maxval"))
# What Darknet's activate_array computes as zero; some kinds implement some of them by themselves.
UNKNOWN_TO_ACTIVATE_ARRAY = ("swish", "mish", "hard_mish", *ACROSS_CHANNELS)
KINDS: dict[str, type[Layer]] = {}

SILENT_DIFFERENCE = "it computes something else without a word"

# "products": convolutions or matrix products, counted by `macs`; "elementwise": few operations on
# each number; "other": neither; "none": inference leaves it out.
Operations = Literal["unknown", "products", "elementwise", "other", "none"]
# How a layer treats the order of its inputs' channels. "fixed": it knows them by number; "kept":
# channel k is made of channel k of each input; "joined": they come one after the other;
# "absorbed": its weights can take them in any order, and its output has an order of its own.
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


class Importer(NamedTuple):
    """How another program's importer reads a section.

    ignores: keys that it refuses or overlooks, where they are not at their default. needs: keys
    that it insists on.
    """

    ignores: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


class LayerError(ValueError):
    """Inputs that a layer cannot take; hint says what to write instead, rule is lint's."""

    def __init__(self, message: str, hint: str = "", rule: str = "bad-value") -> None:
        super().__init__(message)
        self.hint, self.rule = hint, rule


@options
class Layer(Options):
    """The kind of a layer and its options, without its place in a network.

    Shapes are of one image. The methods take the shapes of the layer's inputs.
    """

    takes_previous: ClassVar[bool] = True  # whether the node just above is the first input
    in_place: ClassVar[bool] = False  # whether the output replaces the input for later readers too
    has_output: ClassVar[bool] = True  # whether inference can end here; a loss leaves no output
    probabilities: ClassVar[bool] = False  # whether it makes class probabilities of logits
    keeps_logits: ClassVar[bool] = False  # whether it makes logits of logits, as a global mean does
    channels_key: ClassVar[str] = ""  # the key that sets the output's channels, if one does
    decayed: ClassVar[tuple[str, ...]] = ("conv.weight", "linear.weight")  # by weight decay
    clipped: ClassVar[tuple[str, ...]] = ()  # by `clip`, after each update

    # What the program may do with a kind; the defaults refuse.
    # Whether training honours it: does with it what Darknet does, if Darknet has the kind.
    trained: ClassVar[bool] = False
    operations: ClassVar[Operations] = "unknown"  # what inference spends on it
    opencv: ClassVar[Importer | None] = None  # how OpenCV's importer reads it, None: not at all
    hank_ai: ClassVar[bool] = False  # whether hank-ai's fork of Darknet has it
    order: ClassVar[ChannelOrder] = "fixed"  # see `channel_order`
    resizable: ClassVar[bool] = False  # whether Darknet can resize it, as random=1 asks for
    # Activations that are zero in Darknet's implementation of the kind.
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

    def quirks(self) -> Iterator[tuple[str, str, str]]:
        """Yield values that Darknet reads in its own way: message, hint, what Darknet does."""
        yield from ()

    def check_reference(self, inputs: Shapes, other: Layer, other_inputs: Shapes) -> None:
        """Raise `LayerError` where a side reference must not name that other layer."""

    def when_referenced(self) -> Layer:
        """Return the layer as Darknet computes it when another layer refers to it by index."""
        return self

    def weights(self, *inputs: Shape) -> list[tuple[str, tuple[int, ...]]]:
        """Return name and shape of each stored tensor, in the order of the `.weights` file."""
        return []

    def transposed_name(self, transposed: bool) -> str:
        """Return the name of the matrix that a file holds as inputs x outputs, if one does.

        transposed: whether the file's header says so of dense matrices.
        """
        return ""

    def weights_to_load(self, *inputs: Shape) -> list[tuple[str, tuple[int, ...]]]:
        """Return those of `weights` that are read from a file.

        Source: src/parser.c load_weights_upto.
        """
        return [] if self.dontload else self.weights(*inputs)

    def check_training(self) -> None:
        """Raise `LayerError` where training cannot honour the layer."""
        if not self.trained:
            hint = "train a network without it, with [yolo] heads or a [softmax]"
            raise LayerError("is computed in inference only", hint)
        if self.clip and not self.clipped:
            hint = "set clip=0.0 for training"
            raise LayerError(f"clip={self.clip} cannot be honoured in training", hint)
        if self.stopbackward not in (0, 1):
            message = f"stopbackward={self.stopbackward} cannot be honoured in training"
            raise LayerError(message, "set stopbackward=1, which stops there for good, or 0")

    def channel_order(self, *inputs: Shape) -> ChannelOrder:
        """Return how the layer treats the order of its inputs' channels."""
        return self.order

    def opencv_differences(self, *inputs: Shape) -> Iterator[tuple[str, str, str]]:
        """Yield what OpenCV's importer computes otherwise: key, message, hint."""
        yield from ()

    def macs(self, out: Shape, *inputs: Shape) -> int:
        """Return the multiply-adds of convolutions and matrix products for one image.

        Raises `LayerError` for a kind that does not say it.
        """
        if self.operations in ("unknown", "products"):
            message = "its class does not say how many multiply-adds it takes"
            raise LayerError(message, "set `operations` there, and define `macs` for products")
        return 0

    def numbers_moved(self, out: Shape, *inputs: Shape) -> int:
        """Return how many numbers one image reads and writes: inputs, output, weights, once each.

        Batch norm and activation are taken to be one with the convolution.
        Source: Ma et al., ShuffleNet V2, 2018, equation 1: MAC = hw (c1 + c2) + c1 c2.
        """
        if self.operations == "none":
            return 0
        return sum(shape.size for shape in inputs) + out.size + count(self.weights(*inputs))

    def further_passes(self, out: Shape, *inputs: Shape) -> Iterator[int]:
        """Yield the numbers that each further operator moves where nothing is fused.

        Batch norm and activation each read and write the maps once more.
        """
        if getattr(self, "norm", False):
            yield 2 * out.size
        if getattr(self, "activation", "linear") != "linear":
            yield 2 * out.size

    def bflops(self, out: Shape, *inputs: Shape) -> float:
        """Return what Darknet prints as BFLOPs for this layer, unrounded."""
        return 0.0

    def summary(self) -> str:
        """Return its main options in a few words, for a table."""
        return ""

    def module(self, *inputs: Shape) -> Module:
        """Return the torch module; its tensors bear the names of `weights`."""
        raise LayerError("has no module, so it cannot be computed", "define `module` in its class")


def count(weights: list[tuple[str, tuple[int, ...]]]) -> int:
    """Return the number of floats behind a list of names and shapes."""
    return sum(prod(shape) for _, shape in weights)


def at_least_one(layer: Layer, *keys: str) -> None:
    """Raise `LayerError` for the first of the keys that is below 1."""
    for name in keys:
        if (value := getattr(layer, name)) < 1:
            raise LayerError(f"{name}={value} is below 1", f"set {name}=1 or more")


def pair(inputs: Shapes) -> tuple[Shape, Shape]:
    """Return the layer above and the one that `from` names.

    Raises `LayerError` where it names more.
    """
    if len(inputs) != 2:
        raise LayerError(f"from= names {len(inputs) - 1} layers, one counts", "give one index")
    return inputs[0], inputs[1]


def same_size(inputs: tuple[Shape, ...], hint: str) -> None:
    """Raise `LayerError` unless all inputs have the height and width of the first."""
    for index, shape in enumerate(inputs[1:], start=2):
        if shape[1:] != inputs[0][1:]:
            first, other = (f"{s.h}x{s.w}" for s in (inputs[0], shape))
            message = f"input 1 is {first} (HxW), input {index} is {other}"
            raise LayerError(message, hint, "size-mismatch")
