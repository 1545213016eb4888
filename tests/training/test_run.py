"""`ghostyolo.train` does and refuses what the command does; checkpoints of other versions."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import ghostyolo
from ghostyolo.errors import CfgError, DataError, OptionError, WeightsError
from ghostyolo.training.loop import fit
from ghostyolo.training.options import TrainOptions
from support import runs, tiny


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.pictures(tmp_path_factory.mktemp("run") / "shapes")


def test_one_call_writes_the_files_of_the_command(data: Path, tmp_path: Path) -> None:
    observer = runs.Silent()
    cfg, folder = tiny.write(tmp_path), tmp_path / "run"
    options = {"epochs": 2, "batch": 3, "workers": 0, "overrides": {"learning_rate": 0.02}}
    run = ghostyolo.train(cfg, data, folder=folder, observers=[observer], **options)
    assert {path.name for path in folder.iterdir()} == {
        "best.weights", "checkpoint.pt", "curve.png", "last.weights", "model.cfg", "model.names",
        "report.html", "results.csv", "train_batch0.jpg", "train_batch1.jpg", "train_batch2.jpg",
        "val_batch0.jpg",
    }  # fmt: skip
    assert (run.state.iteration, len(observer.losses)) == (4, 4)
    assert observer.rates[-1] == 0.02
    assert run.weights == folder / "best.weights"
    assert run.scores["AP"] == pytest.approx(max(row["AP"] for row in observer.rows), abs=1e-6)
    before = run.weights.read_bytes()
    with pytest.raises(OptionError, match="this run exists; give another --name, or --resume"):
        ghostyolo.train(cfg, data, folder=folder, **options)
    assert run.weights.read_bytes() == before
    again = ghostyolo.train(cfg, data, folder=folder, resume=True, **options)
    assert again.state.iteration == 4


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epochs": 0}, OptionError, "epochs=0; give a whole number of 1 or more"),
        ({"val_every": 1.5}, OptionError, "val_every=1.5; give a whole number"),
        ({"bn_momentum": 2.0}, OptionError, "bn_momentum=2.0; give a number from 0 to 1"),
        (
            {"loss": "cross-entropy"},
            OptionError,
            "is not for detection; use modern or darknet, or leave it out",
        ),
        ({"overrides": {"lerning_rate": 1}}, CfgError, "did you mean 'learning_rate'"),
        ({"val_split": "exam"}, DataError, "or give --val-split none to train without validation"),
        ({"amp": "fp8"}, OptionError, "amp=fp8; use one of auto, off, bf16, fp16"),
    ],
)
def test_invalid_options_are_refused(
    options: dict[str, object],
    error: type[Exception],
    message: str,
    data: Path,
    tmp_path: Path,
) -> None:
    with pytest.raises(error, match=message):
        ghostyolo.train(tiny.write(tmp_path), data, folder=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()
    with pytest.raises(TypeError, match="epoch"):
        TrainOptions(epoch=3)


def test_checkpoints_of_other_versions(data: Path, tmp_path: Path) -> None:
    """One without a version has other keys; one of a later version is refused."""
    config = runs.configured(data, tmp_path / "run", loss="modern")
    with pytest.raises(KeyboardInterrupt):
        fit(config, runs.Silent(stop_after=2))
    new = runs.checkpoint(config.folder)
    names = {"rng_states": "chances", "defects": "noted"}
    old = {names.get(key, key): value for key, value in new.items() if key != "version"}
    torch.save(old, config.checkpoint)
    state = fit(config, runs.Silent(), resume=True)
    assert (state.iteration, runs.checkpoint(config.folder)["version"]) == (4, 2)
    torch.save({**new, "version": 3}, config.checkpoint)
    with pytest.raises(WeightsError, match="has format version 3, this program reads up to 2"):
        fit(config, runs.Silent(), resume=True)
