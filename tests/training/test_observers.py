"""The pictures of batches that a run saves: which, once, and without an effect on the run."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from ghostyolo.training.loop import fit
from ghostyolo.training.observers import BatchPictures
from support import runs, tiny


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.pictures(tmp_path_factory.mktemp("observers") / "shapes")


def drawn(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.jpg")}


def test_pictures_of_batches_change_nothing_in_the_run(data: Path, tmp_path: Path) -> None:
    text = runs.RESUMABLE.replace("max_batches=135", "max_batches=8")
    for name, observers in (("with", [BatchPictures()]), ("without", [])):
        fit(runs.configured(data, tmp_path / name, text, loss="modern"), *observers)
    assert runs.same(runs.checkpoint(tmp_path / "with"), runs.checkpoint(tmp_path / "without"))
    config = runs.configured(data, tmp_path / "with", text, loss="modern")
    assert 3 < config.no_mosaic < 8
    files = drawn(tmp_path / "with")
    assert files.keys() == {f"train_batch{number}.jpg" for number in (0, 1, 2, config.no_mosaic)}
    assert len(set(files.values())) == 4
    for name in files:
        assert cv2.imread(str(tmp_path / "with" / name)) is not None


def test_resumed_run_keeps_its_pictures_and_adds_the_missing(data: Path, tmp_path: Path) -> None:
    config = runs.configured(data, tmp_path / "run", save_every=1)
    with pytest.raises(KeyboardInterrupt):
        fit(config, BatchPictures(), runs.Silent(stop_after=2))
    (config.folder / "train_batch0.jpg").write_bytes(b"kept")
    before = drawn(config.folder)
    assert len(before) == 2
    fit(config, BatchPictures(), resume=True)
    after = drawn(config.folder)
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {"train_batch2.jpg"}
