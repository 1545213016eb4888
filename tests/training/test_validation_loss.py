"""The loss on val: what it is, and that computing it changes nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from ghostyolo.data import open_classification, open_dataset, read_image
from ghostyolo.data.images import preprocess, to_planes
from ghostyolo.model.classifier import center
from ghostyolo.model.model import Model
from ghostyolo.network import loads
from ghostyolo.training.config import TrainConfig
from ghostyolo.training.gradient import UpdateConfig, mini_batch_loss
from ghostyolo.training.loop import fit
from support import pictures, runs, tiny

BOXES = tiny.CFG.replace("batch=2", "batch=3")  # two epochs of two iterations
LAST = "[convolutional]\nfilters"
CHANCE = f"[dropout]\nprobability=.3\n\n{LAST}"
CASES = {
    "modern": (BOXES.replace(LAST, CHANCE), "modern"),
    "darknet": (BOXES, "darknet"),
    "letter box": (BOXES.replace("max_batches=4", "max_batches=4\nletter_box=1"), "modern"),
    "classifier": (pictures.CFG.replace(LAST, CHANCE).replace("batch=4", "batch=9"), ""),
}
Make = Callable[..., TrainConfig]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Return a function that makes the configuration of a case's run, with its validation set."""
    root = tmp_path_factory.mktemp("validation")
    boxes, colours = tiny.pictures(root / "shapes"), pictures.folders(root / "colours")

    def config(case: str, folder: str, **values: object) -> TrainConfig:
        text, loss = CASES[case]
        data, read = (boxes, open_dataset) if loss else (colours, open_classification)
        own = {"loss": loss, "train": read(data, "train"), "val": read(data, "val"), "val_every": 1}
        own |= {"network": loads(text), "folder": root / case / folder}
        return TrainConfig(**{**own, **values})

    return config


def plain(config: TrainConfig, case: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the pictures of val as inputs, and their targets, both made here."""
    inputs, targets, size = [], [], config.network.options.size
    for number, sample in enumerate(config.val.samples):
        image = read_image(sample.path)
        if case == "classifier":
            inputs.append(to_planes(center(image, size)))
            targets.append([(number, 1, sample.classes[0])])
            continue
        boxed = case == "letter box"
        inputs.append(preprocess(image, size, boxed)[0])
        assert (image.shape, size) == ((96, 128, 3), (64, 64))
        edges = sample.boxes_xyxy_px.reshape(-1, 2, 2) / (128, 128 if boxed else 96)
        edges += (0, 1 / 8 if boxed else 0)  # a grey border above and below
        columns = edges.mean(1), edges[:, 1] - edges[:, 0], sample.classes
        targets.append(np.column_stack((np.full(len(edges), number), *columns)))
    return np.stack(inputs), np.concatenate(targets)


@pytest.mark.parametrize("case", CASES)
def test_it_is_the_loss_of_the_saved_weights_on_plain_pictures(case: str, make: Make) -> None:
    config = make(case, "run")
    row = fit(config, runs.Silent()).rows[-1]
    model = Model(config.network, config.folder / "last.weights").eval()
    images, targets = (torch.from_numpy(each).float() for each in plain(config, case))
    update = UpdateConfig(config.loss_config, task=config.task)
    with torch.no_grad():
        loss = mini_batch_loss(model, images, targets, update)
    want = sum(loss.parts.values()) / loss.divisor
    assert row["val_loss"] == pytest.approx(float(want), rel=1e-5)
    assert row["val_loss"] != pytest.approx(row["loss"], rel=1e-3)


@pytest.mark.parametrize("case", ["modern", "classifier"])
def test_validation_changes_nothing(case: str, make: Make) -> None:
    """Neither weights, averages and statistics, nor random numbers, of which dropout draws some."""
    with_val, without = make(case, "with"), make(case, "without", val=None)
    fit(with_val, runs.Silent())
    fit(without, runs.Silent())
    a, b = (runs.checkpoint(config.folder) for config in (with_val, without))
    for name in ("model", "ema", "optimizer", "rng_states", "parts"):
        assert runs.same(a[name], b[name]), name
    files = [config.folder / "last.weights" for config in (with_val, without)]
    assert files[0].read_bytes() == files[1].read_bytes()
