"""Networks of one channel, for grey cameras, from training to every output."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from ghostyolo.augment.batches import Batches
from ghostyolo.cli import main
from ghostyolo.data import open_dataset
from ghostyolo.data.images import preprocess, read_image, write_image
from ghostyolo.model.model import Model
from support import tiny


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a grey network; return the folder of its run."""
    folder = tmp_path_factory.mktemp("grey")
    cfg = tiny.write(folder, ("channels=3", "channels=1"))
    data = tiny.pictures(folder / "data")
    words = ["train", cfg, data, "--project", folder, "--name", "run", "--epochs", 1]
    assert main([str(word) for word in words]) == 0
    return folder


def picture(folder: Path) -> Path:
    return sorted((folder / "data").rglob("*.jpg"))[0]


def test_input_is_what_opencv_reads_as_grey(trained: Path) -> None:
    path = trained / "colours.png"
    write_image(path, np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8))
    planes, _ = preprocess(read_image(path), (64, 64), False, channels=1)
    expected = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert planes.shape == (1, 64, 64)
    assert np.abs(planes[0] * 255 - expected).max() < 1.01  # its decoder rounds otherwise


def test_batches_are_grey_before_colours_are_changed(trained: Path) -> None:
    dataset = open_dataset(trained / "data", "train")
    made = Batches(dataset, None, 2, (64, 64), compose=_unchanged, channels=1)
    assert made.batch_at(0)[0].shape == (2, 1, 64, 64)


def _unchanged(first, partner, size, settings, rng):
    assert (first.image == first.image[..., :1]).all()
    return cv2.resize(first.image, size[::-1]), np.empty((0, 5))


def test_every_command_takes_it(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, image, onnx = trained / "run", picture(trained), trained / "grey.onnx"
    cfg, weights = run / "model.cfg", run / "best.weights"
    for words in (
        ["val", cfg, weights, trained / "data"],
        ["export", cfg, weights, onnx],
        ["detect", cfg, weights, image, "--json", "--thresh", "0.001", "--runtime", "torch"],
        ["detect", onnx, image, "--json", "--thresh", "0.001"],
        ["trace", cfg, weights, trained / "trace.npz", "--input", image],
    ):
        assert main([str(word) for word in words]) == 0, words
    out = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[{")]
    assert len(out) == 2
    assert Model(cfg, weights).detect(image, thresh=0.001)


def test_sample_is_refused(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", trained / "run/model.cfg", trained / "run/best.weights", "x.onnx"]
    assert main([str(word) for word in [*words, "--sample", "python"]]) == 1
    assert "a sample takes colour pictures, the network grey ones" in capsys.readouterr().err
