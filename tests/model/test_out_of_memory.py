"""Memory that runs out: one line says what was asked for, what is free and what to do."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

import ghostyolo
from ghostyolo import Model, OptionError, cli
from ghostyolo.model import out_of_memory
from ghostyolo.prediction.sources import read_source
from support import tiny

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
ROOM = 300 << 20
SIZE = (8192, 8192)
LARGE = "--size", "8192x8192"
LINE = (
    r"memory ran out with batch=\d+, size=8192x8192: .* [MG]B more were asked for, \d+ MB are free;"
)


@contextmanager
def room(size: int = ROOM) -> Iterator[None]:
    """Let the process take no more than this many bytes beyond what it has."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + size
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.pictures(tmp_path_factory.mktemp("memory") / "shapes")


@pytest.fixture
def large(tmp_path: Path) -> Path:
    return tiny.write(tmp_path, ("width=64", "width=8192"), ("height=64", "height=8192"))


@pytest.mark.parametrize(
    "text",
    [
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 2000000000 bytes.",
        "CUDA out of memory. Tried to allocate 1.86 GiB. GPU 0 has a total capacity of 9 GiB of "
        "which 20.00 MiB is free.",
        "Unable to allocate 1.86 GiB for an array with shape (80535709, 2)",
        "(-4:Insufficient memory) Failed to allocate 2000000000 bytes in function 'x'",
        "bfc_arena.cc:376 Failed to allocate memory for requested buffer of size 2000000000",
    ],
)
def test_what_libraries_say(text: str) -> None:
    lack = out_of_memory.lack_of_memory(RuntimeError(text), batch=4, size=(6016, 608))
    assert str(lack).startswith("memory ran out with batch=4, size=608x6016: 2.0 GB more were")
    assert ("21 MB are free" in str(lack)) == ("CUDA" in text)
    for error in (MemoryError(), RuntimeError("std::bad_alloc")):
        assert out_of_memory.lack_of_memory(error)
    assert out_of_memory.lack_of_memory(RuntimeError("shapes cannot be multiplied")) is None


def test_python_calls(large: Path, data: Path, tmp_path: Path) -> None:
    weights = tiny.eager_weights(tmp_path)
    model = Model(large, weights)
    picture = next(data.glob("JPEGImages/*"))
    with room(), pytest.raises(OptionError, match=LINE):
        model.detect(picture)
    with room(), pytest.raises(OptionError, match=LINE):
        ghostyolo.export(model, tmp_path / "x.onnx")
    with room(), pytest.raises(OptionError, match="memory ran out"):
        ghostyolo.val(model, data)
    line = "memory ran out with batch=2, size=8192x8192"
    with room(450 << 20), pytest.raises(OptionError, match=line):
        ghostyolo.train(large, data, folder=tmp_path / "run", workers=0, val_split="none")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "tiny.cfg", "tiny.weights"]


@pytest.mark.parametrize("command", ["detect", "val", "export"])
def test_commands(
    command: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cfg, weights = str(tiny.write(tmp_path)), str(tiny.eager_weights(tmp_path))
    pictures, out = str(data / "JPEGImages"), ["--project", str(tmp_path / "out")]
    rest = {
        "detect": [pictures, "--runtime", "torch", "--batch", "2", *out],
        "val": [str(data), "--runtime", "torch"],
        "export": [str(tmp_path / "x.onnx")],
    }[command]
    with room():
        assert cli.main([command, cfg, weights, *rest, *LARGE]) == 1
    err = capsys.readouterr().err
    assert "memory ran out" in err.splitlines()[-1]
    assert "give a smaller --batch or --size" in err.splitlines()[-1]
    assert "Traceback" not in err


def test_training_that_can_never_fit_ends_before_it_begins(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cfg, project = tiny.write(tmp_path), str(tmp_path / "runs")
    words = ["--batch", "512", "--size", "608x608", "--project", project, "--workers", "0"]
    with room():
        assert cli.main(["train", str(cfg), str(data), *words]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert "memory is too small with batch=512, size=608x608: at least 467 MB are needed" in line
    assert not (tmp_path / "runs").exists()


def test_picture_that_memory_is_too_small_for_is_told_and_passed_over(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "x.png"), np.zeros((8000, 8000, 3), np.uint8))
    with room(250 << 20):  # for one decoded picture, which is turned from BGR to RGB
        error = read_source(tmp_path / "x.png")
    assert "x.png: memory ran out: Failed to allocate 192000000 bytes; give" in str(error)


def test_detections_before_memory_ran_out_are_listed(data: Path, tmp_path: Path) -> None:
    """The second batch needs more than there is."""
    cfg, weights = tiny.write(tmp_path), tiny.eager_weights(tmp_path)
    words = ["detect", str(cfg), str(weights), str(data / "JPEGImages"), "--runtime", "torch"]
    out = tmp_path / "out"
    job_run = ghostyolo.prediction.job.predict_files

    def running_out(detector, paths, **options):
        found = job_run(detector, paths, **options)
        yield next(found)
        raise MemoryError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ghostyolo.prediction.job, "predict_files", running_out)
        assert cli.main([*words, "--out", str(out)]) == 1
    assert len(json.loads((out / "detections.json").read_text())) == 1
