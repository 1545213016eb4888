"""The export job: what it returns, warns of and refuses before anything is written."""

from __future__ import annotations

from math import inf
from pathlib import Path

import pytest

from ghostyolo.cli import export
from ghostyolo.errors import OptionError
from ghostyolo.exporters.settings import ExportSettings, Suppression
from ghostyolo.inference.export_job import ExportResult, export_model
from ghostyolo.inference.verification import Deviation
from ghostyolo.model.model import Model
from ghostyolo.sample_data.painter import write_dataset
from support import tiny


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return Model(tiny.write(tmp_path), tiny.eager_weights(tmp_path)).eval()


def test_result_says_what_was_written(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    found = export_model(model, path, sample_language="python", score=lambda each: id(each.network))
    assert found.files == (path,)
    assert found.size == path.stat().st_size > found.float_size
    assert (found.format, found.layout, found.int8) == ("onnx", "raw", False)
    assert found.deviation and found.deviation.relative < 1e-5
    assert found.sample == tmp_path / "x_opencv.py" and found.sample.is_file()
    cfg, file = found.scores
    assert cfg == "the cfg in torch" and file.startswith("the file in openvino ")
    assert found.scores[cfg] == id(model.network) != found.scores[file]


def test_both_files_of_ir_are_named(model: Model, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    found = export_model(model, tmp_path / "x.xml")
    assert found.files == (tmp_path / "x.xml", tmp_path / "x.bin")
    assert found.size == sum(path.stat().st_size for path in found.files)


def test_a_file_of_any_suffix_is_verified(model: Model, tmp_path: Path) -> None:
    for name in ("onnx", "torchscript"):
        found = export_model(model, tmp_path / f"{name}.xy", format_name=name)
        assert found.deviation and found.deviation.relative < 1e-5


def test_few_pictures_are_warned_of(
    model: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pictures = sorted(write_dataset(tmp_path / "d", {"train": 2}, size=(96, 128)).rglob("*.jpg"))
    found = export_model(model, tmp_path / "x.onnx", pictures=pictures)
    assert found.int8 and found.deviation and 0 < found.deviation.relative < 0.2
    assert "ranges from 2 pictures only; give 32 or more like yours" in caplog.text


@pytest.mark.parametrize(
    ("name", "settings", "options", "message"),
    [
        ("x.pt", ExportSettings(), {"sample_language": "cpp"}, "--sample cpp reads ONNX"),
        (
            "x.onnx",
            ExportSettings(boxes="xyxy", suppression=Suppression()),
            {"score": lambda each: 0},
            "before suppression; leave --nms out",
        ),
        (
            "x.xy",
            ExportSettings(),
            {"format_name": "onnx", "score": lambda each: 0},
            "no runtime here opens a '.xy' file for a score",
        ),
        ("x", ExportSettings(), {}, "it has no suffix"),
    ],
)
def test_what_does_not_fit_is_refused_before_writing(
    name: str,
    settings: ExportSettings,
    options: dict[str, object],
    message: str,
    model: Model,
    tmp_path: Path,
) -> None:
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OptionError, match=message):
        export_model(model, tmp_path / name, settings, **options)  # type: ignore[arg-type]
    assert sorted(tmp_path.iterdir()) == before


def test_detections_that_cannot_be_compared_are_told_in_words() -> None:
    deviation = Deviation("detections", inf, inf)
    result = ExportResult((), 0, 1, "onnx", "detections", False, "onnxruntime", deviation, None, {})
    _, told = export._lines(result)
    assert told.startswith("onnxruntime gives 'detections' in another shape than the model: the")
