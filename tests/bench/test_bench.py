"""The benchmark: processes, roofline and tables."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ghostyolo import cli
from ghostyolo.bench import benchmark, foreign_onnx, process, roofline, text, worker
from ghostyolo.bench.process import Settings
from ghostyolo.errors import DataError, OptionError
from ghostyolo.exporters import export
from ghostyolo.exporters.settings import ExportSettings
from ghostyolo.model.model import Model
from ghostyolo.network import info, load, loads
from ghostyolo.network.cost import FLOAT, Machine
from ghostyolo.runtime.registry import installed_versions
from support import tiny

MACHINE = Machine(macs_per_s=1e9, bytes_per_s=1e8)


@pytest.fixture(scope="module")
def cfg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("cfg"))


@pytest.fixture(scope="module")
def exported(cfg: Path) -> Path:
    """Return the cfg as an ONNX file."""
    weights, path = tiny.eager_weights(cfg.parent), cfg.with_suffix(".onnx")
    pytest.importorskip("onnxruntime")
    export.write(Model(cfg, weights), path, ExportSettings(), "onnx")
    return path


@pytest.fixture(scope="module")
def report(cfg: Path) -> benchmark.Report:
    """Return what torch gives, measured once for all tests."""
    settings = Settings(str(cfg), batch=2, runtimes=("torch",), seconds=0.2, layers=True)
    return benchmark.measure(settings)


def test_bound_is_the_larger_of_arithmetic_and_traffic(cfg: Path) -> None:
    network = load(cfg)
    one, two = (roofline.bounds(network, MACHINE, batch) for batch in (1, 2))
    for row, again, known in zip(one, two, info.rows(network), strict=True):
        assert (row.macs, row.bytes) == (known.macs, FLOAT * known.numbers)
        assert row.seconds == max(row.macs / 1e9, row.bytes / 1e8)
        assert row.by == ("arithmetic" if row.macs / 1e9 >= row.bytes / 1e8 else "memory")
        assert again.macs == 2 * row.macs
        assert row.bytes <= again.bytes <= 2 * row.bytes
    weights = 8 * 3 * 9 + 4 * 8  # of the first convolution, which are moved once for both
    assert two[0].bytes == 2 * one[0].bytes - 4 * weights
    assert 0 <= roofline.memory_share(one) <= 1


def test_layers_that_move_nothing_are_bound_by_nothing() -> None:
    network = loads("[net]\nwidth=8\nheight=8\nchannels=3\n[dropout]\n")
    (row,) = roofline.bounds(network, MACHINE, 1)
    assert (row.seconds, row.by) == (0, "")


def test_times_are_those_of_the_calls() -> None:
    found = worker.times(lambda: time.sleep(0.01), 0.05)
    assert 3 <= len(found) <= 6
    assert min(found) >= 0.01
    assert len(worker.times(lambda: None, 0)) == worker.LEAST_RUNS


def test_peak_memory_grows_with_what_was_held() -> None:
    script = (
        "from ghostyolo.bench.worker import peak_bytes\n"
        "before = peak_bytes(); held = bytearray(b'x') * 200_000_000; del held\n"
        "print(peak_bytes() - before)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert 150e6 < int(done.stdout) < 300e6, done.stderr


def test_worker_costs_no_torch() -> None:
    """Its memory and start are to be those of the program that it measures."""
    script = "import sys, ghostyolo.bench.worker; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_report_holds_together(report: benchmark.Report) -> None:
    (row,) = report.rows
    assert row.version == installed_versions()["torch"]
    assert report.shape == (2, 3, 64, 64)
    assert 0 < row.least_s <= row.median_s <= row.p90_s
    assert row.start_s > row.least_s
    assert row.peak_bytes > 50e6
    assert 0 <= row.grown_bytes < row.peak_bytes - 50e6, "the imports are not the network's"
    numbers = 248 + 608 + 198 + 2 * (3 * 64 * 64 + 8 * 16 * 16)  # weights; image and first maps
    assert report.least_bytes == 4 * numbers
    assert row.cpu_s > 0
    assert 0 < row.pictures_per_s <= 2 / row.least_s
    least = sum(layer.bound.seconds for layer in report.layers)
    assert row.roofline == pytest.approx(least / row.median_s)
    assert len(report.layers) == 4
    assert all(layer.seconds and layer.seconds > 0 for layer in report.layers)


def test_tables_and_json_say_the_same(report: benchmark.Report) -> None:
    shown, found = text.text(report), json.loads(json.dumps(report.as_dict()))
    assert f"{report.rows[0].median_s * 1e3:.2f} ms" in shown
    assert "input 2x3x64x64, 1 thread\n" in shown
    assert "are live at once take 0.1 MB" in shown
    assert found["rows"][0]["median_s"] == report.rows[0].median_s
    assert [row["bound"]["kind"] for row in found["layers"]] == ["convolutional"] * 3 + ["yolo"]
    assert found["least_s"] == pytest.approx(
        sum(row["bound"]["seconds"] for row in found["layers"])
    )


def test_other_file_is_run_in_turns_with_ours(exported: Path) -> None:
    """Against its own export, a network is about as fast as itself."""
    settings = Settings(
        str(exported), runtimes=("onnxruntime", "torch"), seconds=0.4, against=str(exported)
    )
    found = benchmark.measure(settings)
    ours, torch = found.rows
    assert "torch does not read .onnx files" in torch.error
    assert ours.runs >= process.ROUNDS
    assert set(found.ratios) == {"onnxruntime", "best"}
    assert all(0.05 < ratio < 20 for ratio in found.ratios["best"])
    assert "ours takes" in text.text(found)


@pytest.mark.parametrize("program", foreign_onnx.RUNTIMES)
def test_file_with_other_sides_is_refused(exported: Path, program: str) -> None:
    pytest.importorskip(program)
    with pytest.raises(DataError, match="its input is 1x3x64x64, not 1x3x96x96"):
        foreign_onnx.open_file(Settings(str(exported), size=(96, 96)), program)
    opened, call = foreign_onnx.open_file(Settings(str(exported), size=(64, 64)), program)
    call()
    assert opened == {"shape": [1, 3, 64, 64]}


def test_process_that_dies_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(OptionError, match="the process ended"):
        process.Process(Settings("x.cfg"), "torch")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.cfg", "--runtime", "torch"], "nowhere.cfg"),
        (["x.cfg", "--runtime", "tensorflow"], "no runtime 'tensorflow'"),
        (["x.onnx", "--layers"], "x.onnx: only layers of a cfg are timed"),
    ],
)
def test_command_tells_what_is_wrong(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bench", *words]) == 1
    assert message in capsys.readouterr().err
