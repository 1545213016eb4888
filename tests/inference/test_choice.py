"""What computes a cfg or a file, and the automatic export."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ghostyolo.cli import main
from ghostyolo.data.images import write_image
from ghostyolo.exporters import export
from ghostyolo.exporters.formats import format_of
from ghostyolo.exporters.settings import ExportSettings
from ghostyolo.inference import export_cache
from ghostyolo.inference.choice import open_runtime
from ghostyolo.model.model import Model
from ghostyolo.network import load, loads
from ghostyolo.runtime.registry import installed_versions
from support import tiny

CLOSE = 1e-5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a cfg, weights, and the model in two formats."""
    path = tmp_path_factory.mktemp("choice")
    model = Model(tiny.write(path), tiny.eager_weights(path))
    for name in ("tiny.onnx", "tiny.torchscript"):
        export.write(model, path / name, ExportSettings(), format_of(name))
    return path


def test_fastest_comes_first_and_is_compared_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    source = (folder / "tiny.cfg", folder / "tiny.weights")
    assert open_runtime(*source, device="cpu").name == "openvino"
    (path,) = export_cache.folder().glob("*.onnx")
    version = installed_versions()["openvino"]
    assert 0 < (export_cache.read_deviation(path, f"openvino {version}") or 0) < CLOSE
    export_cache.write_deviation(path, f"openvino {version}", 0.01)  # as if measured
    assert open_runtime(*source, device="cpu").name == "onnxruntime"
    assert open_runtime(folder / "tiny.onnx").name == "openvino"
    assert open_runtime(folder / "tiny.torchscript").name == "torch"


def test_preparation_is_told_once_and_not_to_programs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In one line, when a network is opened for the first time."""
    picture = tmp_path / "x.png"
    write_image(picture, np.zeros((64, 64, 3), np.uint8))
    command = ["detect", str(folder / "tiny.cfg"), str(folder / "tiny.weights"), str(picture)]

    def told(cache: str, *words: str) -> list[str]:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / cache))
        caplog.clear()
        assert main([*command, "--project", str(tmp_path / "out"), *words]) == 0
        return [text for text in caplog.messages if text.startswith("preparing")]

    line = f"preparing {folder}/tiny.weights for other runtimes than torch, once; kept in"
    assert told("a") == [f"{line} {tmp_path}/a/ghostyolo/exports"]
    assert told("a") == told("b", "--quiet") == told("c", "--json") == []
    assert told("d", "--runtime", "torch") == []


def test_preparation_is_told_on_standard_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also when only the comparison with torch is missing, as after an update of a runtime."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    network = load(folder / "tiny.cfg")
    export_cache.exported(network, folder / "tiny.weights", 1)
    write_image(tmp_path / "x.png", np.zeros((64, 64, 3), np.uint8))
    command = [sys.executable, "-m", "ghostyolo", "detect", folder / "tiny.cfg"]
    command += [folder / "tiny.weights", tmp_path / "x.png", "--out", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("ghostyolo: preparing ")
    assert done.stderr.count("preparing") == 1


def test_cache_knows_contents_and_forgets_the_oldest(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    network, weights = loads(tiny.CFG), folder / "tiny.weights"
    first = export_cache.exported(network, weights, 1)
    stamp = first.stat().st_ino
    assert export_cache.exported(network, weights, 1).stat().st_ino == stamp, "it is not made again"
    other = tmp_path / "other.weights"
    other.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\0")
    monkeypatch.setattr(export_cache, "MOST_BYTES", first.stat().st_size + 1)
    assert export_cache.exported(network, other, 1) != first
    assert sorted(p.suffix for p in export_cache.folder().iterdir()) == [".onnx"], (
        "no room for both"
    )
    assert not first.exists()
