"""What is shown of a network, a model and a data set where they are printed: one line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ghostyolo
from ghostyolo.errors import Findings
from ghostyolo.network import Network, info, load, loads
from ghostyolo.network.net_options import NetOptions
from support import tiny
from support.cases import ERRORS, GENERATED, KINDS


def test_networks_and_models_are_shown_in_one_line() -> None:
    network = ghostyolo.load("ghostnet-0.5-voc")
    count = info.totals(info.rows(network)).parameters
    told = (
        f"-voc.cfg: 3x416x416, 20 classes in 3 heads, {len(network)} layers, {count:,} parameters"
    )
    assert repr(network).startswith("network ") and repr(network).endswith(told)
    assert len(repr(network)) < 150
    network = ghostyolo.load("ghostnet-0.5-imagenet")
    assert "-imagenet.cfg: 3x224x224, 1,000 classes, " in repr(network)
    model = ghostyolo.Model(loads(tiny.CFG, path="runs/train/a/model.cfg"))
    count = sum(parameter.numel() for parameter in model.parameters())
    want = f"network a/model.cfg: 3x64x64, 6 classes in 1 head, 4 layers, {count:,} parameters"
    assert repr(model.network) == want
    assert repr(model) == str(model) == f"model of {want}, on cpu"
    assert "LeakyReLU" in repr(model.layers)


@pytest.mark.parametrize("path", [*GENERATED, *KINDS], ids=lambda path: path.stem)
def test_every_network_can_be_shown(path: Path) -> None:
    network = load(path)
    assert re.search(rf", {len(network)} layers?, [\d,]+ parameters?$", repr(network))


def test_an_empty_network_and_a_damaged_one_can_be_shown() -> None:
    assert repr(Network(NetOptions())).startswith("network: ")
    for path in ERRORS:
        network = load(path, findings=Findings(lambda _: None))
        assert "layer" in repr(network)


def test_a_data_set_is_shown_in_one_line(tmp_path: Path) -> None:
    data = ghostyolo.open_dataset(tiny.pictures(tmp_path / "shapes"), "train")
    boxes = sum(len(sample.classes) for sample in data.samples)
    want = f"{tmp_path}/shapes, split train: 6 pictures, {boxes} boxes, 6 classes"
    assert repr(data) == want
