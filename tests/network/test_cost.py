"""The cost model, by hand and by the formulas of its papers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ghostyolo import cli
from ghostyolo.bench import machine
from ghostyolo.network import IMAGE, Network, dumps, info, load
from ghostyolo.network.cost import Machine
from ghostyolo.network.net_options import NetOptions
from ghostyolo.zoo.blocks import add, concat, conv, depthwise
from ghostyolo.zoo.ghostnet import ghost
from support.cases import GENERATED, KINDS


def start(side: int = 8) -> Network:
    return Network(NetOptions(width=side, height=side, channels=16))


def test_memory_access_of_a_pointwise_convolution() -> None:
    """ShuffleNet V2, equation 1: hw (c1 + c2) + c1 c2, with the bias's c2 beside it."""
    network = start()
    conv(network, IMAGE, 32, norm=False, activation="linear")
    (row,) = info.rows(network)
    assert row.numbers == 64 * (16 + 32) + 16 * 32 + 32
    assert row.macs == 64 * 16 * 32
    assert row.flops_per_byte == pytest.approx(2 * row.macs / (4 * row.numbers))


def test_equal_channels_move_least() -> None:
    """G1: of convolutions with the same multiply-adds, c1 = c2 has the least traffic."""
    moved = {}
    for c1, c2 in ((64, 64), (32, 128), (128, 32), (16, 256)):
        network = Network(NetOptions(width=56, height=56, channels=c1))
        conv(network, IMAGE, c2, norm=False, activation="linear")
        (row,) = info.rows(network)
        moved[c1, c2] = row.numbers
        assert bool(row.breaks) == (c1 != c2)
        if row.breaks:
            assert row.breaks[0].startswith(f"G1: {c1} to {c2} channels")
    assert min(moved, key=lambda pair: moved[pair]) == (64, 64)


def test_guidelines_by_hand() -> None:
    network = start()
    a = conv(network, IMAGE, 16, 3)
    b = conv(network, a, 16, 3, groups=4)
    c = depthwise(network, b, 3)
    d = add(network, c, a)
    e = conv(network, d, 8)
    f = conv(network, e, 8)
    g = concat(network, f, e)
    broken = {row.index: row.breaks for row in info.rows(network)}
    assert broken[a.index] == broken[e.index] == ()
    assert broken[b.index] == ("G2: 4 groups",)
    assert broken[c.index] == ("G4: depthwise",)
    assert broken[d.index] == ("G4: element-wise",)
    assert broken[g.index] == ("G3: joins 2 pieces of 8 + 8 maps",)
    table = info.rows(network)
    total = info.totals(table)
    assert total.macs == info.totals(info.rows(network)).macs
    pieces = table[e.index].macs + table[f.index].macs
    assert total.fragmented == pytest.approx(pieces / total.macs)
    light = table[c.index].numbers + table[d.index].numbers
    assert total.elementwise == pytest.approx(light * 4 / total.bytes)


@pytest.mark.parametrize("s, d, k, c", [(2, 3, 3, 16), (2, 3, 1, 16), (4, 5, 1, 16)])
def test_gain_is_that_of_the_paper(s: int, d: int, k: int, c: int) -> None:
    """Han et al. 2020, equations 4 and 5, written out."""
    network, n, side = start(), 32, 8
    ghost(network, conv(network, IMAGE, c), n, ratio=s, size=k, dw_size=d)
    gain = info.rows(network)[-1].gain
    assert gain is not None
    ordinary = n * side * side * c * k * k
    module = n / s * side * side * c * k * k + (s - 1) * n / s * side * side * d * d
    assert gain.speedup == pytest.approx(ordinary / module)
    weights = n / s * c * k * k + (s - 1) * n / s * d * d
    assert gain.compression == pytest.approx(n * c * k * k / weights)
    assert gain.estimate == pytest.approx(s * c / (s + c - 1))
    assert gain.ratio == s


@pytest.mark.parametrize("path", [*KINDS, *GENERATED], ids=lambda path: path.stem)
def test_every_network_has_a_cost(path: Path) -> None:
    network = load(path)
    rates = Machine(1e9, 1e9, 1e-6)
    table = info.rows(network, rates)
    total = info.totals(table)
    assert total.macs == sum(row.macs for row in info.rows(network))
    assert 0 <= total.elementwise <= 1 and 0 <= total.fragmented <= 1
    assert total.seconds is not None and total.seconds >= max(total.macs, total.bytes) / 1e9
    assert len(info.cost_text(network, rates).splitlines()) == len(network) + 4
    assert json.loads(json.dumps(info.cost_as_dict(network, rates)))["macs"] == total.macs


def test_roofline_by_hand() -> None:
    rates = Machine(macs_per_s=100, bytes_per_s=10, call_s=1)
    assert rates.seconds(macs=1000, bytes_=10) == 11
    assert rates.seconds(macs=1000, bytes_=1000) == 101
    network = start()
    conv(network, IMAGE, 16, norm=True, activation="relu")
    (row,) = info.rows(network, Machine(float("inf"), 1.0))
    assert row.seconds == 4 * row.numbers + 2 * (2 * 4 * 16 * 64), "norm and ReLU pass once each"


def test_machine_is_measured_once(tmp_path: Path) -> None:
    path = tmp_path / "cache/machine.json"
    first = machine.machine(path)
    assert 1e8 < first.macs_per_s < 1e13 and 1e8 < first.bytes_per_s < 1e13
    assert 0 < first.call_s < 1e-2
    assert machine.machine(path) == first
    path.write_text("{damaged")
    assert machine.machine(path).macs_per_s > 0
    assert json.loads(path.read_text())


def test_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cfg = tmp_path / "x.cfg"
    network = start()
    conv(network, IMAGE, 32)
    cfg.write_text(dumps(network))
    assert cli.main(["info", str(cfg), "--cost"]) == 0
    assert "predicted" in capsys.readouterr().out
    assert cli.main(["info", str(cfg), "--cost", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["machine"]["bytes_per_s"] > 0 and found["seconds"] > 0
    assert (tmp_path / "ghostyolo/machine.json").exists()
