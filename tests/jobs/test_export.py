"""The export job: what it returns, warns of and refuses before anything is written."""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ghostyolo
from ghostyolo.errors import OptionError
from ghostyolo.inference.verification import Deviation
from ghostyolo.jobs.export import ExportResult
from ghostyolo.model.model import Model
from ghostyolo.runtime.interface import open_file
from ghostyolo.sample_data.painter import write_dataset
from support import tiny


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return Model(tiny.write(tmp_path), tiny.eager_weights(tmp_path))


def test_result_says_what_was_written(model: Model, tmp_path: Path) -> None:
    path, data = tmp_path / "x.onnx", tiny.pictures(tmp_path / "data")
    done: list[tuple[int, int]] = []
    found = ghostyolo.export(
        model, path, sample="python", val=data, on_progress=lambda *counts: done.append(counts)
    )
    assert found.files == (path,)
    assert found.size == path.stat().st_size > found.float_size
    assert (found.format, found.layout, found.int8) == ("onnx", "raw", False)
    assert found.deviation and found.deviation.relative < 1e-5
    assert found.sample == tmp_path / "x_opencv.py" and found.sample.is_file()
    (cfg, own), (file, theirs) = found.scores.items()
    assert cfg == "the cfg in torch" and file.startswith("the file in openvino ")
    assert own == ghostyolo.val(model, data).scores
    assert theirs == pytest.approx(own, abs=0.01)
    assert done == [(3, 6), (6, 6)]
    lines = repr(found).splitlines()
    assert [line.split()[0] for line in lines] == ["wrote", "onnxruntime", "wrote", "the", "the"]


def test_both_files_of_ir_are_named(model: Model, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    found = ghostyolo.export(model, tmp_path / "x.xml")
    assert found.files == (tmp_path / "x.xml", tmp_path / "x.bin")
    assert found.size == sum(path.stat().st_size for path in found.files)


def test_a_file_of_any_suffix_is_verified(model: Model, tmp_path: Path) -> None:
    for name in ("onnx", "torchscript"):
        found = ghostyolo.export(model, tmp_path / f"{name}.xy", format=name)
        assert found.deviation and found.deviation.relative < 1e-5


def test_few_pictures_are_warned_of(
    model: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_dataset(tmp_path / "d", {"train": 2}, size=(96, 128))
    found = ghostyolo.export(model, tmp_path / "x.onnx", int8=[tmp_path / "d/JPEGImages"])
    assert found.int8 and found.deviation and 0 < found.deviation.relative < 0.2
    assert "ranges from 2 pictures only; give 32 or more like yours" in caplog.text


def test_cfg_with_weights_gives_the_file_of_its_model(model: Model, tmp_path: Path) -> None:
    weights, names = tmp_path / "tiny.weights", list("uvwxyz")
    given = {"path": tmp_path / "a.torchscript", "size": (96, 32), "names": names}
    ghostyolo.export(tmp_path / "tiny.cfg", weights=weights, batch=2, **given)
    with open_file(given["path"], "torch", None, 1, 1, "cpu") as opened:
        assert (opened.network.options.size, list(opened.class_names)) == ((96, 32), names)
        x = np.random.default_rng(0).random((2, 3, 96, 32), np.float32)
        (got,), (want,) = opened.run(x), model(torch.from_numpy(x))
    np.testing.assert_allclose(got, want.detach(), rtol=1e-4, atol=1e-4)


def test_model_is_left_as_it_was(model: Model, tmp_path: Path) -> None:
    model.names, half = list("abcdef"), model.double().train()
    ghostyolo.export(model, tmp_path / "x.onnx", decode=True, dynamic=True)
    assert half.training and next(half.parameters()).dtype == torch.float64
    with open_file(tmp_path / "x.onnx", "onnxruntime", (96, 64), 3, 1, "cpu") as opened:
        assert opened.metadata.boxes == "xyxy" and list(opened.class_names) == list("abcdef")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("x.pt", {"sample": "cpp"}, "--sample cpp reads ONNX"),
        ("x.onnx", {"nms": True, "val": "data"}, "before suppression; leave --nms out"),
        ("x.xy", {"format": "onnx", "val": "data"}, "no runtime here opens a '.xy' file for a"),
        ("x", {}, "it has no suffix"),
        ("x.onnx", {"format": "ONNX"}, "format='ONNX'; use onnx or openvino or torchscript"),
        ("x.onnx", {"sample": "java"}, "sample='java'; use python or cpp"),
        ("x.onnx", {"decode": "xywh"}, "decode='xywh'; use xyxy or cxcywh"),
        ("x.onnx", {"dynamic": "all"}, "dynamic='all'; use size or batch"),
        ("x.onnx", {"thresh": 0.1}, "--thresh is for suppression in the file; add --nms"),
        ("x.onnx", {"batch": 0}, "batch=0; give 1 or more"),
        ("x.onnx", {"names": ["a", "b"]}, "2 names, .* has classes=6; give one name for each"),
        ("x.onnx", {"weights": "y.weights"}, r"weights=y\.weights with a Model; leave it out, or"),
        ("x.onnx", {"size": (32, 32)}, r"size=\(32, 32\) with a Model; leave it out, or give"),
    ],
)
def test_what_does_not_fit_is_refused_before_writing(
    name: str, options: dict[str, Any], message: str, model: Model, tmp_path: Path
) -> None:
    if "val" in options:
        options = {**options, "val": tiny.pictures(tmp_path / "data")}
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OptionError, match=message):
        ghostyolo.export(model, tmp_path / name, **options)
    assert sorted(tmp_path.iterdir()) == before


def test_cfg_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"tiny\.cfg: no weights; give weights=, or a Model"):
        ghostyolo.export(tiny.write(tmp_path), tmp_path / "x.onnx")


def test_detections_that_cannot_be_compared_are_told_in_words() -> None:
    deviation = Deviation("detections", inf, inf)
    result = ExportResult((), 0, 1, "onnx", "detections", False, "onnxruntime", deviation, None, {})
    _, told = repr(result).splitlines()
    assert told.startswith("onnxruntime gives 'detections' in another shape than the model: the")
