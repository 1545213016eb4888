"""What every layer kind has: its keys, its shape, its cost, its stored numbers, its module.

A kind is one file of this package. It subclasses `Layer`, names its section in `names`, and is
found in `KINDS` from then on. `module()` is the one place where torch is imported inside a
function: reading and writing cfgs costs no torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from ghostyolo.syntax.options import Options, key, options

if TYPE_CHECKING:
    from torch import nn

# Source: AlexeyAB/darknet src/activations.c get_activation.
ACTIVATIONS = (
    "linear", "relu", "leaky", "logistic", "relu6", "swish", "mish", "hard_mish", "hardtan",
    "tanh", "elu", "selu", "gelu", "loggy", "relie", "ramp", "revleaky", "plse", "stair", "lhtan",
    "normalize_channels", "normalize_channels_softmax", "normalize_channels_softmax_maxval",
)  # fmt: skip
KINDS: dict[str, type[Layer]] = {}


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


class LayerError(ValueError):
    """Inputs that a layer cannot take; hint says what to write instead, rule is lint's."""

    def __init__(self, message: str, hint: str = "", rule: str = "bad-value") -> None:
        super().__init__(message)
        self.hint, self.rule = hint, rule


@options
class Layer(Options):
    """A layer without a place: its kind and its options.

    Shapes are of one image. The methods take the shapes of the layer's inputs.
    """

    takes_previous: ClassVar[bool] = True  # whether the node just above is the first input
    in_place: ClassVar[bool] = False  # whether the output replaces the input for later readers too
    result: ClassVar[bool] = True  # whether inference can end here; a loss leaves no output
    trained: ClassVar[bool] = True  # whether training knows it
    decayed: ClassVar[tuple[str, ...]] = ("conv.weight", "linear.weight")  # by weight decay
    clipped: ClassVar[tuple[str, ...]] = ()  # by `clip`, after each update

    # Keys that Darknet reads in every section. Source: src/parser.c parse_network_cfg_custom.
    clip: float = key(0.0)
    onlyforward: int = key(0)
    dont_update: int = key(0)
    burnin_update: int = key(0)
    stopbackward: int = key(0)
    train_only_bn: int = key(0)
    dontload: int = key(0)
    dontloadscales: int = key(0)
    learning_rate: float = key(1.0)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in cls.__dict__.get("names", ()):
            KINDS[name] = cls

    @property
    def kind(self) -> str:
        """Return the section's name."""
        return self.names[0]

    def shape(self, *inputs: Shape) -> Shape:
        """Return the output's shape. Raises `LayerError` where the inputs do not fit."""
        return inputs[0]

    def oddities(self) -> Iterator[tuple[str, str, str]]:
        """Yield values that Darknet reads in its own way: message, hint, what Darknet does."""
        yield from ()

    def refer(self, inputs: Shapes, other: Layer, other_inputs: Shapes) -> None:
        """Raise `LayerError` where a side reference must not name that other layer."""

    def named(self) -> Layer:
        """Return the layer as it computes where another layer's option names it."""
        return self

    def weights(self, *inputs: Shape) -> list[tuple[str, tuple[int, ...]]]:
        """Return name and shape of each stored tensor, in the order of the `.weights` file."""
        return []

    def turned(self, transposed: bool) -> str:
        """Return the name of the matrix that a file holds as inputs x outputs, if one does.

        transposed: whether the file's header says so of dense matrices.
        """
        return ""

    def loaded(self, *inputs: Shape) -> list[tuple[str, tuple[int, ...]]]:
        """Return those of `weights` that a file to be read holds.

        Source: src/parser.c load_weights_upto.
        """
        return [] if self.dontload else self.weights(*inputs)

    def macs(self, out: Shape, *inputs: Shape) -> int:
        """Return the multiply-adds of convolutions and matrix products for one image."""
        return 0

    def bflops(self, out: Shape, *inputs: Shape) -> float:
        """Return what Darknet prints as BFLOPs for this layer, unrounded."""
        return 0.0

    def summary(self) -> str:
        """Return what sets this layer apart, in a few words for a table."""
        return ""

    def module(self, *inputs: Shape) -> nn.Module:
        """Return the torch module; its tensors bear the names of `weights`."""
        raise NotImplementedError(f"[{self.kind}] has no module")


@options
class Head(Layer):
    """A layer that turns maps into boxes."""

    trained = False

    # What every head answers; kinds that have the key declare it. No annotation: not fields here.
    classes = 20
    nms_kind = "default"
    beta_nms = 0.6

    def check(self) -> None:
        """Raise `LayerError` where the head computes but cannot make boxes."""

    def decode(self, output: Any, size: tuple[int, int]) -> tuple[Any, Any, Any]:
        """Turn the layer's output into boxes.

        output: (N, C, H, W), numpy or torch, as Darknet holds it. size: the network's (h, w).
        Returns boxes (N, n, 4) as cx, cy, w, h relative to the network's input, objectness (N, n)
        and class probabilities (N, n, classes). A score is the product of the two; a head that
        does not drop boxes by their objectness gives 1 there and has it in the classes.
        """
        raise NotImplementedError(f"[{self.kind}] does not decode")

    def pick(self, output: Any, size: tuple[int, int], thresh: float) -> tuple[Any, Any, Any, Any]:
        """Decode the boxes whose objectness exceeds `thresh`, see `decode`; of numpy arrays alone.

        Returns pictures (m,), boxes (m, 4), objectness (m,) and classes (m, classes), in the order
        of `decode`.
        """
        boxes, objectness, classes = self.decode(output, size)
        pictures, rows = (objectness > thresh).nonzero()
        at = pictures, rows
        return pictures, boxes[at], objectness[at], classes[at]


def count(weights: list[tuple[str, tuple[int, ...]]]) -> int:
    """Return the number of floats behind a list of names and shapes."""
    return sum(prod(shape) for _, shape in weights)


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
            raise LayerError(
                f"input 1 is {first} (HxW), input {index} is {other}", hint, "size-mismatch"
            )
