"""Passes: what they change, what they leave, and that what they promise to keep is kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ghostyolo.errors import CfgError, OptionError
from ghostyolo.layers.yolo import Yolo
from ghostyolo.network import dumps, load, loads, passes
from support import tiny
from support.cases import GENERATED, KINDS, random_model

VOC = next(path for path in GENERATED if path.stem == "ghostnet-0.5-voc")


@pytest.mark.parametrize("path", [*KINDS, VOC], ids=lambda path: path.stem)
def test_rebuilding_changes_nothing(path: object) -> None:
    network = load(str(path))
    again = passes.rebuild(network)
    assert again == network
    assert again is not network
    assert dumps(again) == dumps(network)
    spans = [node.span for node in network]
    assert [node.span for node in again] == spans


def test_resizing_there_and_back() -> None:
    network = load(VOC)
    other = passes.resize(network, (224, 352))
    assert (other.options.height, other.options.width) == (224, 352)
    assert [node.layer for node in other] == [node.layer for node in network]
    assert other[0].shape == (8, 112, 176)
    assert other[-1].shape[1:] == (7, 11)
    assert passes.resize(other, network.options.size) == network
    assert network.options.size == (416, 416), "the network itself stays"


def test_resized_model_computes_the_same_on_the_same_picture() -> None:
    model = random_model(VOC)
    other = random_model(passes.resize(model.network, (96, 64)))
    x = torch.from_numpy(np.random.default_rng(0).random((1, 3, 96, 64), np.float32))
    for a, b in zip(model(x), other(x), strict=True):
        assert torch.equal(a, b)


def test_size_that_does_not_fit_is_named_at_its_line() -> None:
    with pytest.raises(CfgError, match=r"voc\.cfg:\d+: \[route\] input 1 is 20x20 \(HxW\)"):
        passes.resize(load(VOC), (300, 300))
    for size, message in (((0, 64), "height 0"), ((64, -3), "width -3"), ((64, 20000), "20000")):
        with pytest.raises(OptionError, match=f"{message}; use 1 to 16384 pixels"):
            passes.resize(load(VOC), size)


@pytest.mark.parametrize("classes", [1, 20, 81])
def test_reclassing_changes_heads_and_what_feeds_them(classes: int) -> None:
    network = load(VOC)
    other = passes.reclass(network, classes)
    heads = [node for node in network if isinstance(node.layer, Yolo)]
    feeds = {node.inputs[0] for node in heads}
    for old, new in zip(network, other, strict=True):
        if isinstance(new.layer, Yolo):
            assert isinstance(old.layer, Yolo)
            assert new.layer.changed(classes=20) == old.layer
            assert new.shape.c == 5 + classes
        elif old.index in feeds:
            assert new.layer.changed(filters=25) == old.layer
        else:
            assert new == old
    assert len(feeds) == 3
    assert (other == network) == (classes == 20)
    assert loads(dumps(other)) == other


def test_reclassing_forgets_counters_of_the_old_classes() -> None:
    text = tiny.CFG.replace("classes=6", "classes=6\ncounters_per_class=1,2,3,4,5,6")
    assert passes.reclass(loads(text), 2)[-1].layer.counters_per_class == ()


def test_reclassing_needs_a_convolution_above() -> None:
    text = tiny.CFG.replace("[yolo]", "[avgpool]\n\n[yolo]")
    with pytest.raises(CfgError) as caught:
        passes.reclass(loads(text, path="x.cfg"), 2)
    assert str(caught.value) == (
        "x.cfg:38: [yolo] cannot change its classes: [avgpool] stands above it; "
        "put a [convolutional] above each head"
    )
