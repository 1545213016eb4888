"""Channels that an exported file computes twice: where, and that its outputs stay."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto

from ghostyolo.exporters import onnx
from ghostyolo.exporters.export import ExportSettings
from ghostyolo.exporters.onnx_twice import MOST, twice
from ghostyolo.network import loads
from support.cases import random_model
from support.onnx_graphs import NET, assert_same, conv, kinds, section


def copy(proto: ModelProto) -> ModelProto:
    found = ModelProto()
    found.CopyFrom(proto)
    return found


def linear(text: str) -> str:
    return text.replace("relu", "linear")


GHOSTS = conv(6, 3, "groups=6")
GHOST = conv(6) + GHOSTS + section("route", "layers=-2,-1")
SUM = section("shortcut", "from=-4", "activation=linear")

# The layers, and how many concatenations are in the file before and after.
CASES = {
    "relu": (GHOST + conv(4), 1, 0),
    "linear": (linear(GHOST) + conv(4), 1, 0),
    "ghosts alone linear": (conv(6) + linear(GHOSTS) + section("route", "layers=-2,-1"), 1, 0),
    "ghosts first": (GHOST.replace("-2,-1", "-1,-2") + conv(4), 1, 0),
    "with statistics": (GHOST.replace("size=", "batch_normalize=1\nsize=") + conv(4), 1, 0),
    "5x5": (GHOST.replace("size=3", "size=5") + conv(4), 1, 0),
    "added": (conv(12) + linear(GHOST) + SUM + conv(4), 1, 0),
    "two": (GHOST + GHOST + conv(4), 2, 0),
    "cheap enough": (conv(MOST) + GHOST, 1, 0),
    "dear": (conv(MOST + 1) + GHOST, 1, 1),
    "maps alone linear": (linear(conv(6)) + GHOSTS + section("route", "layers=-2,-1"), 1, 1),
    "leaky": (GHOST.replace("relu", "leaky"), 1, 1),
    "multiplied": (GHOST.replace("filters=6\nsize=3", "filters=12\nsize=3"), 1, 1),
    "of groups": (GHOST.replace("groups=6", "groups=3"), 1, 1),
    "of others": (conv(6) + GHOST.replace("-2,-1", "-3,-1"), 1, 1),
    "three": (GHOST.replace("-2,-1", "-2,-1,-1"), 1, 1),
    "read by others": (GHOST + conv(12) + section("route", "layers=-4,-1") + conv(4), 2, 2),
}


@pytest.mark.parametrize("name", CASES)
def test_rule(name: str) -> None:
    layers, joined, left = CASES[name]
    before = onnx.build(
        random_model(loads(NET + layers)), ExportSettings(dynamic="size"), joined=True
    )
    after = twice(copy(before))
    assert (kinds(before)["Concat"], kinds(after)["Concat"]) == (joined, left)
    assert kinds(after)["Conv"] == kinds(before)["Conv"]
    assert_same(before, after, np.random.default_rng(0).random((2, 3, 40, 32), np.float32))
    if joined == left:
        assert before.graph == after.graph


def test_parts_of_the_input() -> None:
    """A convolution of a concatenation that is left out is a sum of two, of which each is small."""
    layers = conv(5) + conv(6) + section("route", "layers=-1,-2") + GHOST.replace("6", "3")
    form, model = ExportSettings(dynamic="size"), random_model(loads(NET + layers))
    before, after = onnx.build(model, form, joined=True), onnx.build(model, form)
    assert (kinds(before)["Concat"], kinds(after)["Concat"], kinds(after)["Add"]) == (2, 0, 1)
    assert_same(before, after, np.random.default_rng(0).random((2, 3, 40, 32), np.float32))
