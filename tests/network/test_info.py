"""What a network costs, by hand and against the file that is written."""

from __future__ import annotations

import json

import pytest

from ghostyolo.model.model import Model
from ghostyolo.network import info, load, loads
from ghostyolo.network.weights_file import file_size
from support import tiny
from support.cases import GENERATED, KINDS

TEXT = """[net]
width=12
height=8
channels=3

# first
# of all -> 4x4x6
[convolutional]
batch_normalize=1
filters=4
size=3
stride=2
pad=1
activation=relu

[maxpool]
size=2
stride=2

[connected]
output=5
activation=linear
"""


def test_rows_by_hand() -> None:
    conv, pool, connected = info.rows(loads(TEXT))
    assert (conv.index, conv.kind, conv.name, conv.inputs) == (0, "convolutional", "of all", (-1,))
    assert (conv.shape, conv.stride, conv.detail) == ((4, 4, 6), 2, "3x3/2 relu")
    assert (conv.parameters, conv.stored) == (4 * 27 + 8, 4 * 27 + 16)
    assert conv.macs == 4 * 27 * 24
    assert conv.bflops == pytest.approx(2 * conv.macs / 1e9)
    assert (pool.shape, pool.stride, pool.parameters, pool.macs) == ((4, 2, 3), 4, 0, 0)
    assert pool.bflops == pytest.approx(2 * 2 * 24 / 1e9)
    assert (connected.parameters, connected.macs) == (24 * 5 + 5, 120)


def test_totals_are_sums() -> None:
    table = info.rows(loads(TEXT))
    totals = info.totals(table)
    assert totals.layers == 3
    assert totals.parameters == 116 + 125
    assert totals.macs == 2592 + 120
    assert totals.weights_bytes == 20 + 4 * (124 + 125)


@pytest.mark.parametrize("path", [*KINDS, *GENERATED], ids=lambda path: path.stem)
def test_file_is_as_long_as_told(path: object) -> None:
    network = load(str(path))
    assert info.totals(info.rows(network)).weights_bytes == file_size(network)


@pytest.mark.parametrize("path", KINDS, ids=lambda path: path.stem)
def test_parameters_are_those_of_the_model(path: object) -> None:
    network = load(str(path))
    trained = sum(parameter.numel() for parameter in Model(network).parameters())
    assert info.totals(info.rows(network)).parameters == trained


def test_text_has_a_line_for_each_layer() -> None:
    lines = info.text(loads(TEXT)).splitlines()
    assert lines[0].split()[:3] == ["#", "kind", "options"]
    assert lines[1].split() == [
        "0", "convolutional", "3x3/2", "relu", "image", "4x4x6", "2", "116", "2,592", "of", "all",
    ]  # fmt: skip
    assert lines[-1] == (
        "3 layers at 3x8x12 (CxHxW): 241 parameters, 0.0 M multiply-adds, "
        "0.000 BFLOPs as Darknet counts, .weights of 1,016 bytes"
    )
    assert all(line == line.rstrip() for line in lines)


def test_dictionary_is_plain() -> None:
    found = info.as_dict(loads(tiny.CFG))
    assert json.loads(json.dumps(found))["table"][-1]["shape"] == [22, 4, 4]
    assert found["macs"] == sum(row["macs"] for row in found["table"])
