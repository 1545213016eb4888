"""`ghostyolo.train` does and refuses what the command does; checkpoints of other versions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

import ghostyolo
from ghostyolo.errors import CfgError, DataError, OptionError, WeightsError
from ghostyolo.loss import DETECTION_LOSSES
from ghostyolo.model.model import Model
from ghostyolo.network import loads
from ghostyolo.training.ema import running_statistics
from ghostyolo.training.freezing import frozen_layers
from ghostyolo.training.loop import fit
from ghostyolo.training.options import TrainOptions
from ghostyolo.training.run import prepare
from support import pictures, runs, tiny


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
        "report.html", "results.csv", "run.json", "train_batch0.jpg", "train_batch1.jpg",
        "train_batch2.jpg", "val.txt", "val_batch0.jpg",
    }  # fmt: skip
    assert (run.state.iteration, len(observer.losses)) == (4, 4)
    assert observer.rates[-1] == 0.02
    assert run.weights == folder / "best.weights"
    assert run.scores["AP"] == pytest.approx(max(row["AP"] for row in observer.rows), abs=1e-6)
    before = run.weights.read_bytes()
    with pytest.raises(OptionError, match="this run exists; give another --name "):
        ghostyolo.train(cfg, data, folder=folder, **options)
    assert run.weights.read_bytes() == before
    again = ghostyolo.train(cfg, data, folder=folder, resume=True, **options)
    assert again.state.iteration == 4


def test_threads_are_those_of_the_run_only(data: Path, tmp_path: Path) -> None:
    seen: list[int] = []

    class Watch(runs.Silent):
        def validated(self, row: dict[str, float]) -> None:
            seen.append(torch.get_num_threads())

    cfg, before = tiny.write(tmp_path), torch.get_num_threads()
    options = {"threads": before + 1, "workers": 0, "batch": 3, "epochs": 1}
    run = ghostyolo.train(cfg, data, folder=tmp_path / "run", observers=[Watch()], **options)
    assert (seen, torch.get_num_threads()) == ([before + 1], before)
    assert run.best == run.results[0]
    with pytest.raises(OptionError, match="threads=0; give a whole number"):
        TrainOptions(threads=0)


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
        (
            {"epochs": 2, "overrides": {"max_batches": 9}},
            OptionError,
            "epochs=2 and net.max_batches=9 set the same; give one of them",
        ),
        (
            {"batch": 2, "overrides": {"batch": 4}},
            OptionError,
            "batch=2 and net.batch=4 set the same",
        ),
        ({"freeze": 3}, OptionError, "freeze=3: layer 2 of 4 computes an output; give at most 2"),
        ({"freeze": "head"}, OptionError, "freeze=head; give a number of layers, or backbone"),
        ({"freeze": -1}, OptionError, "freeze=-1; give a number of layers, or backbone"),
        ({"amp": "fp8"}, OptionError, "amp=fp8; use one of auto, off, bf16, fp16"),
        ({"cache": "rom"}, OptionError, "cache=rom; use one of auto, ram, disk, none"),
        ({"loss": "hinge"}, OptionError, "loss=hinge; use one of modern, darknet, cross-entropy"),
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


@pytest.mark.parametrize("loss", DETECTION_LOSSES)
@pytest.mark.parametrize(("freeze", "count"), [("1", 1), ("backbone", 2), (0, 0)])
def test_frozen_layers_stay_as_they_were(
    loss: str,
    freeze: str | int,
    count: int,
    data: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In the weights of the best average too; the cfg of the run says so in Darknet's key."""
    cfg = tiny.write(tmp_path, ("[yolo]", "stopbackward=1\n[yolo]"))  # which --freeze replaces
    start = tiny.eager_weights(tmp_path)
    options = {"weights": str(start), "freeze": freeze, "loss": loss, "workers": 0, "adapt": True}
    run = ghostyolo.train(cfg, data, folder=tmp_path / "run", **options)
    before, after = Model(loads(tiny.CFG), start), Model(run.folder / "model.cfg", run.weights)
    kept = {
        name: torch.equal(p, after.get_parameter(name)) for name, p in before.named_parameters()
    }
    assert kept == {name: int(name.split(".")[1]) < count for name in kept}
    statistics = zip(running_statistics(before), running_statistics(after), strict=True)
    assert [torch.equal(*both) for both in statistics] == [n < 2 * count for n in range(4)]
    assert frozen_layers(after.network) == count
    told = f"the first {count} of 4 layers are frozen, {(0, 232, 824)[count]} of 1,022 parameters"
    assert (told in caplog.text) == bool(count)
    again = ghostyolo.train(cfg, data, folder=tmp_path / "run", resume=True, **options)
    assert again.state.iteration == 4


def test_adapted_run_is_resumed_from_its_own_cfg_or_the_first(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cfg, folder = (
        tiny.write(tmp_path, ("classes=6", "classes=9"), ("filters=22", "filters=28")),
        "run",
    )
    options = {"epochs": 2, "workers": 0, "adapt": True, "folder": tmp_path / folder}
    first = ghostyolo.train(cfg, data, **options)
    text = (first.folder / "model.cfg").read_text()
    assert "classes=6" in text and "anchors=10,12,30,28" not in text
    weights = first.weights.read_bytes()
    for source in (cfg, first.folder):
        again = ghostyolo.train(source, data, resume=True, **options)
        assert again.state.iteration == first.state.iteration
    assert (first.folder / "model.cfg").read_text() == text
    assert first.weights.read_bytes() == weights
    told = "this run has 6 updates of 2 pictures, and little is learned in fewer than 200; "
    assert f"{told}give --epochs 67 or more\n" in caplog.text


@pytest.fixture
def without_val(tmp_path: Path) -> Path:
    """Write a data set of six pictures for training and no validation set; return its folder."""
    data = tiny.pictures(tmp_path / "only train")
    for split in ("val", "test"):
        (data / f"ImageSets/Main/{split}.txt").unlink()
    return data


def test_folder_of_a_run_is_a_teacher_and_gives_weights(data: Path, tmp_path: Path) -> None:
    """Its best weights, else the last ones; a cfg alone has none."""
    cfg, folder = tiny.write(tmp_path), tmp_path / "first"
    folder.mkdir()
    (folder / "model.cfg").write_text(tiny.CFG.replace("=64", "=96"))
    for given in (folder, (folder, None), (str(folder), None)):
        with pytest.raises(WeightsError, match="first: no weights yet; train it"):
            prepare(cfg, data, TrainOptions(teacher=given), "cpu")
    with pytest.raises(WeightsError, match="first: no weights yet; train it"):
        prepare(cfg, data, TrainOptions(weights=str(folder)), "cpu")
    (folder / "best.weights").write_bytes(tiny.eager_weights(tmp_path).read_bytes())
    for given in (folder, (folder, folder / "best.weights"), (loads(tiny.CFG), folder)):
        config = prepare(cfg, data, TrainOptions(teacher=given, weights=str(folder)), "cpu")
        assert config.teacher
        assert config.teacher.weights == config.weights == str(folder / "best.weights")
        assert config.teacher.network == loads(tiny.CFG)  # at the size of the network
    for given in (cfg, loads(tiny.CFG), (cfg, None)):
        with pytest.raises(OptionError, match="a teacher without weights; give teacher="):
            prepare(cfg, data, TrainOptions(teacher=given), "cpu")


def test_run_without_a_validation_set_holds_one_out(without_val: Path, tmp_path: Path) -> None:
    """Which `val` finds again, and the folder lists; unless all pictures are to be trained on."""
    cfg, folder = tiny.write(tmp_path), tmp_path / "run"
    run = ghostyolo.train(cfg, without_val, folder=folder, epochs=1, workers=0)
    (held,) = (folder / "val.txt").read_text().splitlines()
    assert run.results[-1]["epoch"] == 1 and len(run.results) == 1
    assert run.state.iteration == 3  # of two of five pictures
    again = ghostyolo.val(folder, without_val)
    assert again.scores == pytest.approx(run.scores)
    assert [sample.path for sample in again.dataset.samples] == [held]
    config = prepare(cfg, without_val, TrainOptions(), "cpu")
    assert held not in {sample.path for sample in config.train.samples}
    everything = prepare(cfg, without_val, TrainOptions(val_split="none"), "cpu")
    assert (len(config.train), len(everything.train), everything.val) == (5, 6, None)
    ghostyolo.train(cfg, without_val, folder=folder, epochs=1, workers=0, resume=True)


def test_run_without_validation_trains_on_all_pictures(
    without_val: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a folder of pictures and boxes without splits, and of folders of classes."""
    none = TrainOptions(val_split="none")
    shutil.rmtree(without_val / "ImageSets")
    cfg = tiny.write(tmp_path)
    assert len(prepare(cfg, without_val, TrainOptions(), "cpu").train) == 9
    assert caplog.messages
    caplog.clear()
    assert len(prepare(cfg, without_val, none, "cpu").train) == 11
    cfg.write_text(pictures.CFG)
    flowers = pictures.folders(tmp_path / "flowers", {"": 6})
    assert len(prepare(cfg, flowers, none, "cpu").train) == 18
    assert not caplog.messages


def test_run_without_validation_trains_on_the_split_train_if_there_is_one(tmp_path: Path) -> None:
    """Though there are also lists of VOC's with the names that drawn splits have."""
    data = tiny.pictures(tmp_path / "voc")
    (data / "ImageSets/Main/test.txt").rename(data / "ImageSets/Main/all.txt")
    config = prepare(tiny.write(tmp_path), data, TrainOptions(val_split="none"), "cpu")
    assert len(config.train) == 6


@pytest.mark.parametrize("text", ['{"schema": 2}', "{}", "[]", "{"])
def test_folder_of_another_version(text: str, data: Path, tmp_path: Path) -> None:
    config = runs.configured(data, tmp_path / "run", loss="modern")
    fit(config, runs.Silent())
    about = config.folder / "run.json"
    assert json.loads(about.read_text())["schema"] == 1
    about.write_text(text)
    with pytest.raises(OptionError, match=r"run.json: its schema is .*, this program reads 1; res"):
        fit(config, runs.Silent(), resume=True)
    about.unlink()  # as before there was a schema
    assert fit(config, runs.Silent(), resume=True).iteration == 4


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
