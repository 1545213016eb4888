"""Paths, folders of runs and names of published cfgs as the files of a model."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from ghostyolo import CfgError, WeightsError, load
from ghostyolo.network.model_files import cfg_file, model_files, model_name, published_cfgs
from support import ROOT

CFGS = ROOT / "cfg"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.cfg").write_bytes((CFGS / "ghostnet-0.5-voc.cfg").read_bytes())
    return tmp_path


def test_published_cfgs_are_those_of_the_repository() -> None:
    assert published_cfgs() == {path.stem: str(path) for path in sorted(CFGS.glob("*.cfg"))}


@pytest.mark.parametrize("name", ["ghostnet-1.0-coco", "ghostnet-1.0-coco.cfg"])
def test_name_of_a_published_cfg(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(name) == load(CFGS / "ghostnet-1.0-coco.cfg")
    assert model_files(name) == (str(CFGS / "ghostnet-1.0-coco.cfg"), None)
    assert model_name(name) == "ghostnet-1.0-coco"


def test_file_goes_before_a_published_cfg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ghostnet-1.0-coco.cfg").write_text("[net]\nheight=8\nwidth=8\nchannels=3\n[avgpool]\n")
    assert len(load("ghostnet-1.0-coco.cfg")) == 1
    assert model_files("ghostnet-1.0-coco.cfg", "x.weights") == (
        "ghostnet-1.0-coco.cfg",
        "x.weights",
    )


def test_paths_are_left_as_they_are(tmp_path: Path) -> None:
    missing = tmp_path / "ghostnet-1.0-coco.cfg"
    assert model_files(missing) == (str(missing), None)
    assert model_name(missing) == "ghostnet-1.0-coco"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("gostnet-1.0-coco", r"did you mean ghostnet-1\.0-coco\?"),
        ("yolov4.cfg", r"known: ghostnet-0\.5-coco, .*, ghostnet-1\.3-voc"),
    ],
)
def test_unknown_name(name: str, hint: str) -> None:
    with pytest.raises(CfgError, match=f"^{name}: no file and no cfg of that name; {hint}$"):
        load(name)


def test_folder_of_a_run(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(
        WeightsError,
        match=r"no weights yet; train it: ghostyolo train .* --resume; or give WEIGHTS",
    ):
        model_files(folder)
    cfg, best, last = (str(folder / name) for name in ("model.cfg", "best.weights", "last.weights"))
    assert model_files(folder, "other.weights") == (cfg, "other.weights")
    Path(last).touch()
    assert model_files(folder) == (cfg, last)
    logged = (logging.WARNING, f"{folder}: no best.weights yet, so last.weights is used")
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [logged]
    Path(best).touch()
    assert model_files(folder) == (cfg, best)
    assert load(folder) == load(cfg)
    assert model_name(f"{folder}/") == model_name(cfg) == folder.name
    assert len(caplog.records) == 1


def test_folder_of_no_run(tmp_path: Path) -> None:
    with pytest.raises(
        CfgError, match=r"a folder without model\.cfg; give a cfg file or the folder"
    ):
        cfg_file(tmp_path)
