"""What the generator asks of a family of networks: its options, its layers, its published settings.

A family is a frozen dataclass. A field made by `option` becomes an option of the generator under
the field's name, and the methods walk the tables of the paper. A new family is one module: the
class, and a dictionary `FAMILIES` of its instances by name, which families.py lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from ghostyolo.errors import OptionError
from ghostyolo.network import Network, Node
from ghostyolo.zoo.blocks import GATES, make_divisible

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


def option(default: Any, text: str, **argument: Any) -> Any:
    """Return a field of a family that is an option of the generator.

    text: its help, to which the default is added. argument: what `argparse` takes beside: `type`,
    `metavar` and `choices`, to which `Family.check` holds the value.
    """
    return field(default=default, metadata={"help": text, **argument})


def gate_option(default: str) -> Any:
    """Return the option that chooses the gate of squeeze-excite blocks."""
    text = "gate of squeeze-excite: logistic, which every program reads, or the official hard "
    return option(default, text + "sigmoid, which OpenCV refuses", choices=GATES)


@dataclass(frozen=True)
class Family:
    """A network without a task. The methods add to a network whose image has any size."""

    size: ClassVar[tuple[int, int]] = IMAGENET  # of the published network's images, (h, w)
    classes: ClassVar[int] = 1000
    training: ClassVar[dict[str, Any]] = {}  # [net] options that differ from GhostNet's

    @classmethod
    def options(cls) -> dict[str, Mapping[str, Any]]:
        """Return what `option` was given for each option, by name."""
        return {item.name: item.metadata for item in fields(cls) if item.metadata}

    def check(self) -> None:
        """Raise `OptionError` for options that make no network."""
        for name, argument in self.options().items():
            check_choice(name, getattr(self, name), argument.get("choices"))

    def notes(self) -> Iterator[str]:
        """Yield what the readers of the cfg must know, for its first lines."""
        yield from ()

    def for_detection(self) -> Family:
        """Return the family with padding that halves the sizes of maps exactly."""
        return self

    def features(self, network: Network) -> Iterator[tuple[int, Node]]:
        """Add all layers before the classifier; yield stride and last node of each block.

        The last node of each stride is what a detector reads.
        """
        raise NotImplementedError

    def logits(self, network: Network, x: Node, classes: int) -> Node:
        """Add the classifier up to the input of the softmax."""
        raise NotImplementedError


@dataclass(frozen=True)
class ScaledFamily(Family):
    """A family with a width multiplier, the paper's alpha, for its channel counts."""

    divisor: ClassVar[int] = 8  # of every channel count

    width: float = option(1.0, "width multiplier", type=float)

    def check(self) -> None:
        super().check()
        if not 0.05 <= self.width <= 16:
            hint = "use 0.05 to 16, such as 0.5, 1.0 or 1.3"
            raise OptionError(f"width {self.width:g}", hint=hint)

    def channels(self, base: int) -> int:
        """Return a channel count of the paper's table at this width."""
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
