"""Checkpoints and weights that have changed since training wrote them are not used."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import ghostyolo
from ghostyolo import Model, WeightsError, cli
from ghostyolo.files import digest
from ghostyolo.inference import export_cache
from ghostyolo.network import load, run_record
from ghostyolo.training.config import TrainConfig
from ghostyolo.training.loop import fit
from ghostyolo.training.state import initial_state
from support import runs, tiny

CHANGED = r"best\.weights: has changed since ghostyolo wrote it: its SHA-256 is .{12}, in run"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.pictures(tmp_path_factory.mktemp("checksums") / "shapes")


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checksums") / "run"
    fit(runs.configured(data, folder, loss="modern"), runs.Silent())
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def flip(path: Path, place: int, bit: int = 0) -> None:
    """Change one bit of a file."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


def test_flipped_checkpoint_is_refused_or_unchanged(data: Path, run: Path) -> None:
    """Of the file, only dates and the room between its parts have no checksum."""
    config = runs.configured(data, run, loss="modern")
    whole, right = config.checkpoint.read_bytes(), runs.checkpoint(run)
    rng, refused = random.Random(0), 0
    for _ in range(150):
        config.checkpoint.write_bytes(whole)
        flip(config.checkpoint, rng.randrange(len(whole)), rng.randrange(8))
        state = initial_state(config)
        try:
            state.restore(config.checkpoint, config)
        except WeightsError as error:
            refused += 1
            assert "a damaged one" in str(error)  # noqa: PT017
            continue
        state.save(run / "again.pt", config, right["rng_states"])
        assert runs.same(torch.load(run / "again.pt", weights_only=True), right)
    assert refused > 75


def readers(run: Path, data: Path) -> dict[str, Callable[[], object]]:
    cfg, best, out = run / "model.cfg", run / "best.weights", run.parent / "out.onnx"
    teacher = (run, best)
    words = {"folder": run.parent / "new", "epochs": 1, "workers": 0, "val_split": "none"}
    return {
        "model of a folder": lambda: Model(run),
        "model of a path": lambda: Model(cfg, best),
        "load": lambda: Model(cfg).load_weights(best),
        "detect": lambda: Model(run).detect(next(data.glob("JPEGImages/*"))),
        "val": lambda: ghostyolo.val(run, data),
        "export": lambda: ghostyolo.export(run, out),
        "cached export": lambda: export_cache.exported(load(run), best, 1),
        "start": lambda: ghostyolo.train(cfg, data, weights=str(best), **words),
        "teacher": lambda: ghostyolo.train(cfg, data, teacher=teacher, loss="modern", **words),
    }


@pytest.mark.parametrize("reader", readers(Path(), Path()))
def test_flipped_weights_are_refused_by_every_reader(reader: str, run: Path, data: Path) -> None:
    flip(run / "best.weights", 400)
    with pytest.raises(WeightsError, match=CHANGED):
        readers(run, data)[reader]()
    assert not (run.parent / "out.onnx").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["detect", "RUN", "PICTURES"],
        ["detect", "RUN", "PICTURES", "--runtime", "onnxruntime"],
        ["val", "RUN", "DATA"],
        ["export", "RUN", "x.onnx"],
        ["lint", "RUN/model.cfg", "--weights", "RUN/best.weights"],
    ],
)
def test_flipped_weights_end_every_command(
    words: list[str], run: Path, data: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(run.parent)
    monkeypatch.setenv("XDG_CACHE_HOME", str(run.parent / "cache"))
    flip(run / "best.weights", 400)
    names = {"RUN": "run", "DATA": str(data), "PICTURES": str(data / "JPEGImages")}
    for name, path in names.items():
        words = [word.replace(name, path) for word in words]
    assert cli.main(words) == 1
    assert "has changed since ghostyolo wrote it" in "".join(capsys.readouterr())


def test_exports_of_changed_weights_in_the_cache_are_not_used(
    run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They may come from a copy of another name, which nothing is known about."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    flip(run / "best.weights", 400)
    copy = shutil.copy(run / "best.weights", tmp_path / "copy.weights")
    export_cache.exported(load(run), copy, 1)
    with pytest.raises(WeightsError, match=CHANGED):
        export_cache.exported(load(run), run / "best.weights", 1)


def test_ways_to_go_on(run: Path) -> None:
    """Copies of what the run wrote, weights of another name, and saving over a file."""
    shutil.copy(run / "last.weights", run / "best.weights")
    model = Model(run)
    flip(run / "best.weights", 400)
    other = shutil.copy(run / "best.weights", run / "mine.weights")
    Model(run, other)
    model.save_weights(run / "best.weights")
    Model(run)
    flip(run / "best.weights", 400)
    with pytest.raises(WeightsError, match=CHANGED):
        Model(run)


def test_crash_while_weights_are_replaced_leaves_weights_that_are_read(run: Path) -> None:
    """The record holds the checksums of the old and of the new file until the new one is there."""
    old = (run / "best.weights").read_bytes()
    model = Model(run)
    model.seen += 1
    crash = RuntimeError("as a kill would do")

    def interrupted() -> object:
        yield b"new weights"
        raise crash

    for _ in range(3):
        with pytest.raises(RuntimeError):
            run_record.replace(run / "best.weights", interrupted())
        assert (run / "best.weights").read_bytes() == old
        Model(run)
    record = json.loads((run / "run.json").read_text())
    pending = ["0" * 64, *record["sha256"]["best.weights"]]
    record["sha256"]["best.weights"] = pending
    (run / "run.json").write_text(json.dumps(record))
    Model(run)
    model.save_weights(run / "best.weights")
    sums = json.loads((run / "run.json").read_text())["sha256"]
    assert sums["best.weights"] == [digest(run / "best.weights")]


def before(run: Path) -> None:
    """Make a run one of a version that wrote no checksums."""
    record = json.loads((run / "run.json").read_text())
    del record["sha256"]
    (run / "run.json").write_text(json.dumps(record))


def test_run_from_before_resumes_and_is_told(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config: TrainConfig = runs.configured(data, tmp_path / "run", loss="modern", save_every=1)
    with pytest.raises(KeyboardInterrupt):
        fit(config, runs.Silent(stop_after=2))
    before(config.folder)
    Model(config.folder, config.folder / "last.weights")
    fit(config, runs.Silent(), resume=True)
    told = "its weights have no checksums, so changes of them cannot be noticed"
    assert sum(told in line for line in caplog.messages) == 1
    caplog.clear()
    fit(config, runs.Silent(), resume=True)
    assert not [line for line in caplog.messages if told in line]
    flip(config.folder / "best.weights", 400)
    with pytest.raises(WeightsError, match=CHANGED):
        Model(config.folder)


@pytest.mark.parametrize("text", ["{", "[]", "[" * 9000, '{"sha256": 3}', '{"sha256": {"x": 3}}'])
def test_damaged_record_is_told(text: str, run: Path, caplog: pytest.LogCaptureFixture) -> None:
    (run / "run.json").write_text(text)
    Model(run)
    assert [line for line in caplog.messages if "run.json: is no record of a run" in line]


def test_other_programs_files_are_left_alone(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "run.json"
    other.write_text('{"learning_rate": 0.1}')
    Model(run).save_weights(tmp_path / "x.weights")
    assert other.read_text() == '{"learning_rate": 0.1}'
    Model(run / "model.cfg", tmp_path / "x.weights")
