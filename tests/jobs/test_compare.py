"""The comparison job: sides of every kind, the data of the runs, the page, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

import ghostyolo
from ghostyolo import cli
from ghostyolo.cli.compare import sides
from ghostyolo.errors import DataError, GhostyoloError, OptionError
from ghostyolo.network import run_record
from ghostyolo.sample_data.painter import NAMES
from support import pictures, tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, runs a and b, the cfg of a classifier, and x.onnx."""
    folder = tmp_path_factory.mktemp("compare")
    data = tiny.pictures(folder / "data")
    weights = tiny.eager_weights(folder)
    for name in ("a", "b"):
        (folder / name).mkdir()
        tiny.write(folder).rename(folder / name / "model.cfg")
        shutil.copy(weights, folder / name / "best.weights")
        (folder / name / "model.names").write_text("".join(f"{each}\n" for each in NAMES))
        run_record.write(folder / name, {"data": str(data), "val_split": "val"})
    ghostyolo.export(folder / "a", folder / "x.onnx")
    return folder


def test_sides_of_every_kind(folder: Path) -> None:
    a = folder / "a"
    model = ghostyolo.Model(a)
    pair = (a / "model.cfg", folder / "b/best.weights")
    result = ghostyolo.compare(a, [folder / "b", pair, model], folder / "x.onnx", resamples=100)
    assert [len(side.models) for side in result.sides] == [1, 3, 1]
    assert [each.of.letter for each in result.differences] == ["B", "C"]
    assert len(result.dataset) == 3 and result.dataset.split == "val"
    expected = ghostyolo.val(a, folder / "data").scores
    for side in result.sides:
        assert side.scores.of("AP50")[0] == pytest.approx(expected["AP50"], abs=0.01)
        assert side.seconds > 0
    assert result.differences[0].better == "" and result.differences[0].seconds_ratio > 0
    assert result.page is None
    assert "3 pictures of" in repr(result)


def test_a_limit_is_told(folder: Path, tmp_path: Path) -> None:
    runs = [folder / "a", shutil.copytree(folder / "b", tmp_path / "b")]
    run_record.write(runs[1], {**run_record.read(runs[1]), "limit": 2})
    with pytest.raises(OptionError, match="split val, 2 pictures, "):
        ghostyolo.compare(*runs)
    result = ghostyolo.compare(*runs, limit=2, resamples=100)
    assert "these scores are limited to 2 of 3 pictures" in result.table()
    assert result.as_dict()["limited"] == "limited to 2 of 3 pictures"


def test_the_command_prints_and_writes_a_page(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["compare", str(folder / "a"), str(folder / "b"), "--runtime", "torch"]
    assert cli.main(words) == 0
    *_, verdict, last = capsys.readouterr().out.splitlines()
    assert verdict.startswith("no difference between A and B can be told from chance on 3 pict")
    assert last == "page: runs/compare/a-b/comparison.html"
    assert verdict[1:] in Path("runs/compare/a-b/comparison.html").read_text()
    page = tmp_path / "new/page.html"
    words += ["--split", "test", "--out", str(page), "--json", "--resamples", "100"]
    assert cli.main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["split"], found["pictures"], found["page"]) == ("test", 2, str(page))
    assert found["differences"][0]["better"] is None
    assert found["differences"][0]["mean"]["AP"]["value"] == 0
    assert [each["name"] for each in found["sides"][0]["classes"]] == list(NAMES)
    assert page.exists()


def test_weights_belong_to_the_model_before_them() -> None:
    assert sides(["a", "b.cfg", "b.weights", "c.onnx"]) == [
        ["a"], [("b.cfg", "b.weights")], ["c.onnx"],
    ]  # fmt: skip
    seeds = ["a", "b", "vs", "c.cfg", "0.weights", "c.cfg", "1.weights"]
    assert sides(seeds) == [["a", "b"], [("c.cfg", "0.weights"), ("c.cfg", "1.weights")]]


def refused(error: type[GhostyoloError], message: str, *models: Path, **options: object) -> None:
    with pytest.raises(error, match=re.escape(message)):
        ghostyolo.compare(*models, **options)  # type: ignore[arg-type]


def test_what_cannot_be_compared_is_refused(folder: Path, tmp_path: Path) -> None:
    a, b = folder / "a", folder / "b"
    refused(OptionError, "1 side to compare; give 2 to 26, such as", a)
    refused(OptionError, "1 side to compare; give 2", a, [])  # type: ignore[arg-type]
    refused(OptionError, "resamples=3; give 100 or more", a, b, resamples=3)
    refused(OptionError, "no data to compare on; give --data", folder / "x.onnx", folder / "x.onnx")
    refused(DataError, "there is no split 'tets'", a, b, split="tets")
    refused(DataError, "one picture tells no difference from chance", a, b, limit=1)
    other = shutil.copytree(b, tmp_path / "other")
    run_record.write(other, {"data": str(folder / "data"), "val_split": "test"})
    refused(OptionError, f"split test, {a} on", a, other)
    run_record.write(other, {"data": str(folder / "data"), "val_split": "none"})
    refused(OptionError, "the run had no validation set; give --data and --split", other, other)
    (other / "model.names").write_text("".join(f"{name}\n" for name in ("new", *NAMES[1:])))
    refused(OptionError, "its classes are new, ", a, other, data=folder / "data")
    run_record.write(other, {"data": str(tmp_path / "gone"), "val_split": "val"})
    refused(DataError, f"{other}: its data {tmp_path}/gone do not exist; give --data", other, other)
    refused(
        OptionError, f"{tmp_path}: it is a folder; give the path", a, b, out=tmp_path, split="x"
    )
    assert not list(tmp_path.glob("runs"))


def test_classifiers_and_pictures_without_boxes_are_refused(folder: Path, tmp_path: Path) -> None:
    flowers = pictures.folders(tmp_path / "flowers", {"train": 4, "val": 2})
    (tmp_path / "flowers.cfg").write_text(pictures.CFG)
    model = ghostyolo.Model(tmp_path / "flowers.cfg")
    refused(OptionError, "only detectors are compared", model, model, data=flowers)  # type: ignore[arg-type]
    data = shutil.copytree(folder / "data", tmp_path / "data")
    for path in data.glob("Annotations/val*.xml"):
        path.write_text(re.sub("<object>.*</object>", "", path.read_text(), flags=re.DOTALL))
    refused(DataError, "split 'val' has no boxes to find", folder / "a", folder / "b", data=data)
