"""Concatenations that an exported file does without: which, and that its outputs stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ghostyolo.exporters import onnx_unjoin
from ghostyolo.exporters.settings import ExportSettings
from ghostyolo.network import loads
from support import exports
from support.cases import GENERATED, random_model
from support.onnx_graphs import CLOSE, NET, assert_same, both, conv, kinds, section

TWO = conv(6) + conv(5, 3) + section("route", "layers=-1,-2")  # 11 channels
GATE = section("avgpool") + conv(3) + conv(11, 1, "batch_normalize=1")
DENSE = conv(4) + (conv(4) + section("route", "layers=-1,-2")) * 12 + conv(1)

# The layers, and how many concatenations are in the file before and after. A reorganisation has
# some of its own.
CASES = {
    "convolution": (TWO + conv(4, 3, "stride=2"), 1, 0),
    "depthwise": (TWO + conv(11, 3, "groups=11", "stride=2") + conv(4), 1, 0),
    "multiplied": (TWO + conv(22, 3, "groups=11") + conv(4), 1, 0),
    "pooled": (TWO + section("maxpool", "size=2", "stride=2") + conv(12), 1, 0),
    "enlarged": (TWO + section("upsample", "stride=2") + conv(4), 1, 0),
    "gated": (TWO + GATE + section("scale_channels", "from=-4") + conv(4), 1, 0),
    "added": (
        conv(3) + TWO + section("route", "layers=0") + conv(11)
        + section("shortcut", "from=-3", "activation=leaky") + conv(4), 1, 0,
    ),
    "chain": (
        TWO + conv(5) + conv(6) + section("route", "layers=-2,-1")
        + section("shortcut", "from=-4") + conv(4), 2, 0,
    ),
    "three": (TWO + conv(2) + section("route", "layers=-1,-2") + conv(3), 2, 0),
    "inner": (TWO + conv(2) + section("route", "layers=-1,-2") + conv(4), 2, 1),
    "end": (TWO, 1, 1),
    "dear": (TWO + conv(24), 1, 1),
    "grouped": (conv(6) + TWO.replace("filters=5", "filters=6") + conv(4, 1, "groups=2"), 1, 1),
    "shuffled": (TWO + section("reorg3d", "stride=2") + conv(4), 3, 3),
    "unlike": (
        TWO + conv(5) + conv(6) + section("route", "layers=-1,-2")
        + section("shortcut", "from=-4") + conv(4), 2, 2,
    ),
    "read by an end": (TWO + conv(4) + section("route", "layers=-2"), 1, 1),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_rule(name: str) -> None:
    layers, joined, left = CASES[name]
    before, after = both(random_model(loads(NET + layers)), ExportSettings(dynamic="size"))
    assert (kinds(before)["Concat"], kinds(after)["Concat"]) == (joined, left)
    assert_same(before, after, np.random.default_rng(0).random((2, 3, 40, 32), np.float32))
    if joined == left:
        assert before.graph == after.graph


def test_dense_connections_stay_within_the_limit() -> None:
    """Twelve layers that each join their channels to all before: few parts, few convolutions."""
    before, after = both(random_model(loads(NET + DENSE)), ExportSettings())
    assert 1 < kinds(after)["Concat"] <= kinds(before)["Concat"] / 2
    assert kinds(after)["Conv"] <= onnx_unjoin.MAX_PARTS * kinds(before)["Conv"]
    for node in after.graph.node:
        if node.op_type == "Concat":
            assert len(node.input) <= onnx_unjoin.MAX_PARTS + 1
    assert_same(before, after, np.random.default_rng(0).random((1, 3, 24, 16), np.float32))


@pytest.mark.parametrize(
    "path", [path for path in GENERATED if "-0.5-" in path.stem], ids=lambda p: p.stem
)
def test_ghost_modules(path: Path) -> None:
    """All that are read by a convolution with fewer filters, as those of bottlenecks are."""
    model = random_model(exports.small(path))
    before, after = both(model, ExportSettings())
    assert kinds(after)["Concat"] < 0.6 * kinds(before)["Concat"]
    images = np.random.default_rng(0).random((1, *model.network.options.shape), np.float32)
    assert_same(before, after, images, 10 * CLOSE)
