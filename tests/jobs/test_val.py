"""The validation job: models of every kind, the same numbers, the page."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import ghostyolo
from ghostyolo.errors import DataError, OptionError
from ghostyolo.sample_data.painter import NAMES
from support import tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, tiny.cfg, tiny.weights, x.torchscript, and the folder of a run."""
    folder = tmp_path_factory.mktemp("val")
    cfg, weights = tiny.write(folder), tiny.eager_weights(folder)
    tiny.pictures(folder / "data")
    (folder / "run").mkdir()
    shutil.copy(cfg, folder / "run/model.cfg")
    shutil.copy(weights, folder / "run/best.weights")
    (folder / "run/model.names").write_text("".join(f"{name}\n" for name in NAMES))
    ghostyolo.export(folder / "run", folder / "x.torchscript")
    return folder


def test_every_kind_of_model_has_the_same_scores(folder: Path) -> None:
    data, weights = folder / "data", folder / "tiny.weights"
    model = ghostyolo.Model(folder / "tiny.cfg", weights)
    by_model = ghostyolo.val(model, data)
    assert by_model.scores["AP"] >= 0
    assert by_model.runtime.startswith("torch ")
    others = [
        ghostyolo.val(folder / "run", data),
        ghostyolo.val(str(folder / "tiny.cfg"), data, weights=weights, runtime="torch"),
        ghostyolo.val(model.network, data, weights=weights, batch=3, threads=1),
        ghostyolo.val(folder / "x.torchscript", data),
    ]
    for other in others:
        assert other.scores == pytest.approx(by_model.scores, abs=0.01)
    assert [each.runtime.split()[0] for each in others] == ["openvino", "torch"] * 2
    found = ghostyolo.val(folder / "run", data, "test", size=(96, 96))
    assert len(found.dataset) == 2 and found.network.options.size == (96, 96)


def test_data_without_names_takes_those_of_the_model(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "val").mkdir()
    named = ghostyolo.open_dataset(folder / "data", "val")
    for sample in named.samples:
        shutil.copy(sample.path, tmp_path / "val")
        h, w = sample.size
        boxes = sample.boxes_xyxy_px / (w, h, w, h)
        centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
        rows = np.concatenate((sample.classes[:, None], centres, sides), 1)
        np.savetxt(tmp_path / "val" / f"{Path(sample.path).stem}.txt", rows, "%d" + " %.9f" * 4)
    expected = ghostyolo.val(folder / "run", named).scores
    found = ghostyolo.val(folder / "run", tmp_path)
    assert found.dataset.names == tuple(NAMES)
    assert found.scores == pytest.approx(expected, abs=0.01)
    told = f"{tmp_path}: names no classes, so those of {folder / 'run/best.weights'} are taken"
    assert caplog.messages.count(told) == 1
    model = ghostyolo.Model(folder / "run")
    assert ghostyolo.export(model, tmp_path / "x.torchscript", val=tmp_path).scores
    with pytest.raises(DataError, match="its classes have no names"):  # no names anywhere
        ghostyolo.val(folder / "tiny.cfg", tmp_path, weights=folder / "tiny.weights")


def test_result_is_a_table_of_scores(folder: Path) -> None:
    result = ghostyolo.val(folder / "run", folder / "data", runtime="torch")
    *table, last = repr(result).splitlines()
    assert "\n".join(table) == result.metrics.table()
    assert last.startswith(f"3 pictures of {folder / 'data'}, split val, computed in torch 2")
    assert result.scores == result.metrics.row()
    found = result.as_dict()
    assert list(found) == ["mean", "classes", "threshold", "errors", "box_sizes"]
    assert sum(each["count"] for each in found["errors"].values()) > 0
    assert [each["name"] for each in found["box_sizes"]] == list(NAMES)


def test_page_is_named_after_the_model(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "pages/p.html"
    ghostyolo.val(ghostyolo.Model(folder / "run"), folder / "data", "test", report=page)
    assert "<title>run " in page.read_text()


def test_classes_in_another_order_are_refused(folder: Path) -> None:
    model = ghostyolo.Model(folder / "run")
    model.names = NAMES[::-1]
    with pytest.raises(OptionError, match=f"class 0 is '{NAMES[0]}', '{NAMES[-1]}' for the model"):
        ghostyolo.val(model, folder / "data")


def test_what_has_no_effect_on_a_model_is_refused(folder: Path) -> None:
    model = ghostyolo.Model(folder / "run")
    for options in ({"weights": "x"}, {"size": (32, 32)}, {"batch": 2}, {"runtime": "openvino"}):
        with pytest.raises(OptionError, match="with a Model; leave it out, or give the cfg"):
            ghostyolo.val(model, folder / "data", **options)
    for options in ({"thresh": 2}, {"batch": 0}):
        with pytest.raises(OptionError, match=r"=[20]; give"):
            ghostyolo.val(folder / "run", folder / "data", **options)
    with pytest.raises(OptionError, match="no weights; give its weights"):
        ghostyolo.val(folder / "tiny.cfg", folder / "data")
