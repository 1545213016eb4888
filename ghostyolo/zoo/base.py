"""What a recipe asks of a family of networks: its layers, its limits, its published settings.

A family is a frozen dataclass of the options that its paper varies, beside plain functions that
walk the paper's table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from ghostyolo.errors import OptionError
from ghostyolo.network import Network, Node

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
    "A convolution before a channel shuffle stands in pieces, one for each reader of its channels: "
    "no section reorders them."
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


@dataclass(frozen=True)
class Family:
    """A network without a task. The methods add to a network whose image has any size."""

    size: ClassVar[tuple[int, int]] = IMAGENET  # of the published network's pictures, (h, w)
    classes: ClassVar[int] = 1000
    training: ClassVar[dict[str, Any]] = {}  # [net] options unlike those of the recipe

    def check(self) -> None:
        """Raise `OptionError` for options that make no network."""

    def notes(self) -> Iterator[str]:
        """Yield what the cfg's readers must know, for its first lines."""
        yield from ()

    def for_detection(self) -> Family:
        """Return the family with maps of sizes that halve exactly."""
        return self

    def body(self, network: Network) -> dict[int, Node]:
        """Add all but the classifier; return the last node of each stride."""
        raise NotImplementedError

    def logits(self, network: Network, x: Node, classes: int) -> Node:
        """Add the classifier up to what goes into the softmax."""
        raise NotImplementedError


def check_width(width: float) -> None:
    """Raise `OptionError` for a width multiplier that is none."""
    if not 0.05 <= width <= 16:
        raise OptionError(f"width {width:g}", hint="use 0.05 to 16, such as 0.5, 1.0 or 1.3")


def check_word(option: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise `OptionError` for a word that is not one of the choices."""
    if value not in choices:
        raise OptionError(f"{option} '{value}'", hint=f"use {' or '.join(choices)}")
