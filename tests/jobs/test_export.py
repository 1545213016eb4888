"""The export job: what it returns, warns of and refuses before anything is written."""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import ghostyolo
from ghostyolo.errors import OptionError
from ghostyolo.exporters import calibration
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
    assert [line.split()[0] for line in lines] == ["wrote", "onnxruntime:", "wrote", "the", "the"]
    assert lines[0].endswith(" MB, onnx, raw: the outputs of the last layers")
    within = f"{found.deviation.absolute:.2g} (largest difference, in {found.deviation.output})"
    assert lines[1] == f"onnxruntime: equal to the model within {within}"


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
    assert "8-bit ranges from 2 different pictures; give 100 or more like yours" in caplog.text
    assert "its outputs depart by " in repr(found)


def noise(folder: Path, count: int, level: int = 255) -> list[Path]:
    """Write pictures of random colours, darker than a level."""
    folder.mkdir()
    paths, rng = [folder / f"{n}.png" for n in range(count)], np.random.default_rng(0)
    for path in paths:
        cv2.imwrite(str(path), rng.integers(0, level, (32, 32, 3), np.uint8))
    return paths


def test_pictures_that_tell_no_ranges_do_not_count(
    model: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    black, same = noise(tmp_path / "black", 3, level=1), noise(tmp_path / "d", 12)
    for path in same[1:]:
        path.write_bytes(same[0].read_bytes())
    for pictures, told in (
        (black[:1], "ranges from 0 different pictures of 1, 1 are of one colour"),
        (same + black, "ranges from 1 different pictures of 15, 3 are of one colour"),
    ):
        (tmp_path / "x.onnx").write_text("earlier")
        with pytest.raises(OptionError, match=told):
            ghostyolo.export(model, tmp_path / "x.onnx", int8=pictures, strict=True)
        assert (tmp_path / "x.onnx").read_text() == "earlier"
        ghostyolo.export(model, tmp_path / "x.onnx", int8=pictures)
        assert told in caplog.text


def test_letterbox_hides_no_picture_of_one_colour() -> None:
    letterboxed = np.full((1, 1, 3, 8, 8), 0.5, np.float32)
    letterboxed[..., 2:6, :] = 0.1
    assert "1 are of one colour" in calibration.shortage(letterboxed)


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_eight_bits_that_depart_are_told_and_with_strict_not_written(
    suffix: str, model: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A filter of large values makes the steps of its layer large; no other layer reads it."""
    if suffix == ".xml":
        pytest.importorskip("nncf")
    pictures, path = noise(tmp_path / "d", 100), tmp_path / f"x{suffix}"
    first, second, third = (model.tensors()[n] for n in range(3))
    with torch.no_grad():
        third["conv.weight"] *= 4  # so that the outputs are not all bias
    good = ghostyolo.export(model, path, int8=pictures, strict=True)
    assert good.deviation and good.deviation.rms < 0.2 and not caplog.records
    with torch.no_grad():
        first["norm.bias"][0] = 1e5
        second["conv.weight"][:, 0] = 0
    before = {each: each.read_bytes() for each in good.files}
    with pytest.raises(OptionError, match=r"departs from the model's by .*%, over 25.0%; "):
        ghostyolo.export(model, path, int8=pictures, strict=True)
    assert {each: each.read_bytes() for each in good.files} == before
    ghostyolo.export(model, path, int8=pictures)
    assert "departs from the model's by" in caplog.text


def test_eight_bit_detections_that_cannot_be_compared_are_told(
    model: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The steps of the file are so large that it finds another number of things."""
    with torch.no_grad():
        model.tensors()[0]["norm.bias"][0] = 1e5
        model.tensors()[1]["conv.weight"][:, 0] = 0
        model.tensors()[2]["conv.weight"] *= 4
    ghostyolo.export(model, tmp_path / "x.onnx", int8=noise(tmp_path / "d", 2), nms=True)
    told = "'detections' of the file in 8 bits cannot be compared with the model's; leave --nms out"
    assert told in caplog.text


def test_tolerance_of_float_files_is_lower() -> None:
    assert not Deviation("yolo", 1, 1e-3, 1).excess(int8=False)
    assert Deviation("yolo", 1, 2e-3, 0).excess(int8=False) == (
        "'yolo' of the file departs from the model's by 0.2%, over 0.1%"
    )
    assert not Deviation("detections", inf, inf, inf).excess(int8=False)
    assert "cannot be compared" in Deviation("detections", inf, inf, inf).excess(int8=True)


def test_strict_refuses_suppression_that_is_not_the_cfgs(tmp_path: Path) -> None:
    cfg = tiny.write(tmp_path, ("num=2", "num=2\nnms_kind=greedynms"))
    given = {"weights": tiny.eager_weights(tmp_path), "nms": True, "strict": True}
    with pytest.raises(OptionError, match=r"not by nms_kind=greedynms .*; leave --nms out"):
        ghostyolo.export(cfg, tmp_path / "x.onnx", **given)
    assert not (tmp_path / "x.onnx").exists()


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
    with pytest.raises(OptionError, match=r"tiny\.cfg: no weights; give its weights"):
        ghostyolo.export(tiny.write(tmp_path), tmp_path / "x.onnx")


def test_detections_that_cannot_be_compared_are_told_in_words() -> None:
    deviation = Deviation("detections", inf, inf, inf)
    result = ExportResult((), 0, 1, "onnx", "detections", False, "onnxruntime", deviation, None, {})
    wrote, told = repr(result).splitlines()
    assert wrote.endswith("detections: the boxes that suppression leaves")
    assert told.startswith("onnxruntime gives 'detections' in another shape than the model: the")


def test_large_deviation_is_not_called_equal() -> None:
    deviation = Deviation("boxes", 2.5, 0.04, 0.01)
    result = ExportResult((), 0, 1, "onnx", "decoded", True, "onnxruntime", deviation, None, {})
    told = "onnxruntime: differs from the model by at most 2.5, 4.0% of the largest value of boxes"
    assert repr(result).splitlines()[1] == told
