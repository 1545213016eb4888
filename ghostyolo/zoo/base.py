"""The base classes of network families: options, layers and published settings.

A family is a frozen dataclass. A field made by `option` becomes an option of the generator under
the field's name; the methods add the layers of the paper's tables to a network. A new family is one
module: the class, and a dictionary `FAMILIES` of its instances by name, which families.py lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from ghostyolo.errors import OptionError
from ghostyolo.network import Network, Node
from ghostyolo.zoo.blocks import GATES, linear, make_divisible, pool

NO_RELU6 = (
    "The activations are relu6: OpenCV's Darknet importer refuses this, and Darknet's CPU build "
    "computes zero for it."
)
NO_HARDTAN = (
    "Hard swish and hard gates are written with hardtan and a scaling [upsample]: OpenCV's Darknet "
    "importer refuses this."
)
NO_LOCAL_AVGPOOL = "[local_avgpool] averages 3x3 pixels: OpenCV's Darknet importer has none."
IN_PIECES = (
    "A convolution before a channel shuffle is split, one section for each reader of its channels: "
    "no section reorders channels."
)
IMAGENET = (224, 224)
CIFAR = (32, 32)
# [net] of the CIFAR networks. Source: He et al., Deep Residual Learning, CVPR 2016, section 4.2.
CIFAR_TRAINING = {
    "batch": 128,
    "decay": 0.0001,
    "learning_rate": 0.1,
    "burn_in": 400,
    "max_batches": 64_000,
    "policy": "steps",
    "steps": (32_000, 48_000),
    "scales": (0.1, 0.1),
}


def option(default: Any, text: str, *, at_least: float | None = None, **argument: Any) -> Any:
    """Return a dataclass field that becomes an option of the generator.

    text: the help, to which the generator adds the default. at_least: the smallest value of a
    number. argument: further arguments of `add_argument`: `type`, `metavar` and `choices`.
    `Family.check` refuses values below `at_least` or not in `choices`; override it for more.
    """
    return field(default=default, metadata={"help": text, "at_least": at_least, **argument})


def gate_option(default: str) -> Any:
    """Return the option that chooses the gate of squeeze-excite blocks."""
    text = "gate of squeeze-excite: logistic, which every program reads, or the official hard "
    return option(default, text + "sigmoid, which OpenCV refuses", choices=GATES)


@dataclass(frozen=True)
class Family:
    """A backbone and its classifier, for images of any size. Methods add layers to a network."""

    size: ClassVar[tuple[int, int]] = IMAGENET  # of the published network's images, (h, w)
    classes: ClassVar[int] = 1000
    training: ClassVar[dict[str, Any]] = {}  # [net] options that differ from those of GhostNet

    @classmethod
    def options(cls) -> dict[str, Mapping[str, Any]]:
        """Return the help and the other arguments of each option, by its name."""
        return {item.name: item.metadata for item in fields(cls) if item.metadata}

    def check(self) -> None:
        """Raise `OptionError` for options from which no network can be built."""
        for name, argument in self.options().items():
            value, least = getattr(self, name), argument["at_least"]
            check_choice(name, value, argument.get("choices"))
            if least is not None and value < least:
                message = f"{name.replace('_', '-')} {value:g}"
                raise OptionError(message, hint=f"use {least:g} or more")

    def notes(self) -> Iterator[str]:
        """Yield remarks for the first lines of the cfg, such as which programs cannot read it."""
        yield from ()

    def for_detection(self) -> Family:
        """Return the family with paddings for which a stride of 2 halves each map exactly."""
        return self

    def features(self, network: Network) -> Iterator[tuple[int, Node]]:
        """Add all layers before the classifier; yield the stride and the last node of each block.

        A detector reads the last node of each stride.
        """
        raise NotImplementedError

    def logits(self, network: Network, x: Node, classes: int) -> Node:
        """Add the classifier up to its logits, by default average pooling and a linear layer."""
        return linear(network, pool(network, x), classes)


@dataclass(frozen=True)
class ScaledFamily(Family):
    """A family with a width multiplier for its channel counts (alpha in the papers)."""

    divisor: ClassVar[int] = 8  # of every channel count

    width: float = option(1.0, "width multiplier", type=float)

    def check(self) -> None:
        super().check()
        if not 0.05 <= self.width <= 16:
            hint = "use 0.05 to 16, such as 0.5, 1.0 or 1.3"
            raise OptionError(f"width {self.width:g}", hint=hint)

    def channels(self, base: int) -> int:
        """Return a channel count of the paper's table, scaled by the width multiplier."""
        return make_divisible(base * self.width, self.divisor)


def refuse(option: str, value: object, owner: str) -> None:
    """Raise `OptionError` for an option that a family or a task does not have."""
    words = ",".join(map(str, value)) if isinstance(value, tuple) else value
    message = f"{option.replace('_', '-')} {words} is not for {owner}"
    raise OptionError(message, hint="leave it out")


def check_choice(name: str, value: object, choices: tuple[object, ...] | None) -> None:
    """Raise `OptionError` for a value that is not one of the choices, if there are any."""
    if choices and value not in choices:
        hint = f"use one of {', '.join(map(str, choices))}"
        raise OptionError(f"{name.replace('_', '-')} {value}", hint=hint)
