"""A loss that is not finite: the pictures and the layer that are named are those at fault."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ghostyolo.augment.batches import Batches
from ghostyolo.loss import darknet
from ghostyolo.loss.base import HeadOutput, LossSum
from ghostyolo.training import nan_diagnosis
from ghostyolo.training.config import TrainConfig
from ghostyolo.training.gradient import UpdateConfig, update_config
from ghostyolo.training.loop import fit
from ghostyolo.training.nan_diagnosis import NanError
from ghostyolo.training.state import initial_state
from support import runs, tiny

PLAIN = tiny.CFG.replace("batch_normalize=1\n", "")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.pictures(tmp_path_factory.mktemp("guard") / "shapes")


@pytest.fixture
def config(data: Path, tmp_path: Path) -> TrainConfig:
    return runs.configured(data, tmp_path / "run", PLAIN)


def batch(config: TrainConfig) -> nan_diagnosis.Batch:
    images, truths = Batches(config.train, config.augmentation, 2, (64, 64)).batch_at(0)
    return nan_diagnosis.Batch(images, truths, ["a.jpg", "b.jpg"])


@torch.no_grad()
@pytest.mark.parametrize(("layer", "line"), [(0, 15), (1, 22)])
def test_first_output_that_is_not_finite_is_named(
    layer: int, line: int, config: TrainConfig
) -> None:
    """A weight so large that its products leave float32, though it is a number itself."""
    state, given = initial_state(config), batch(config)
    with torch.enable_grad():
        assert nan_diagnosis.find_cause(state.model, given, UpdateConfig(config.loss_config)) == ""
    state.model.layers[layer].conv.weight.fill_(3e38)
    want = f"first in the output of layer {layer} [convolutional] (x.cfg:{line})"
    assert nan_diagnosis.find_cause(state.model, given, UpdateConfig(config.loss_config)) == want


@torch.no_grad()
def test_weight_that_is_not_finite_is_named_with_its_output(config: TrainConfig) -> None:
    state = initial_state(config)
    state.model.layers[1].conv.weight[3, 2] = torch.nan
    found = nan_diagnosis.find_cause(state.model, batch(config), UpdateConfig(config.loss_config))
    assert found.endswith("layer 1 [convolutional] (x.cfg:22), whose weights are not finite either")


def test_pictures_that_are_not_finite(config: TrainConfig) -> None:
    given = batch(config)
    given.images[1, 0, 5, 5] = torch.inf
    found = nan_diagnosis.find_cause(
        initial_state(config).model, given, UpdateConfig(config.loss_config)
    )
    assert found == "the pictures are not finite"


def wrong(kind: str) -> object:
    """Return a loss that is not finite, or one whose gradient is not."""

    def loss(runs_: Sequence[HeadOutput], *_: object) -> LossSum:
        zero = (runs_[0].raw * 0).sum()
        total = zero.sqrt() * 0 if kind == "gradient" else zero / 0
        return LossSum(total, total.detach() * 0 + 1, {"loss": total.detach()})

    return loss


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("loss", "the outputs of all layers are finite, but the loss is not"),
        ("gradient", "first in the gradient of layer 2 [convolutional] (x.cfg:29)"),
    ],
)
def test_loss_or_gradient_that_is_not_finite(kind: str, told: str, config: TrainConfig) -> None:
    step = UpdateConfig(replace(config.loss_config, function=wrong(kind)))
    assert nan_diagnosis.find_cause(initial_state(config).model, batch(config), step) == told


def test_run_stops_with_the_last_finite_weights(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names exactly the pictures of the batch; what was saved before is not touched."""
    config = replace(config, save_every=1)
    with pytest.raises(KeyboardInterrupt):
        fit(config, runs.Silent(stop_after=2))
    good = {path.name: path.read_bytes() for path in config.folder.iterdir()}
    monkeypatch.setattr(darknet, "CONFIG", replace(darknet.CONFIG, function=wrong("gradient")))
    with pytest.raises(NanError) as caught:
        fit(config, runs.Silent(), resume=True)
    batches = Batches(config.train, config.augmentation, 2, (64, 64))
    paths = batches.paths(2)
    assert "after iteration 2 (loss nan): first in the gradient of layer 2" in str(caught.value)
    assert f"its pictures: {', '.join(paths)}; " in str(caught.value)
    assert "last.weights has the last finite weights" in str(caught.value)
    assert (config.folder / nan_diagnosis.REPORT).read_text().splitlines()[1:] == paths
    left = {path.name: path.read_bytes() for path in config.folder.iterdir()}
    del left[nan_diagnosis.REPORT]
    assert left == good


def test_run_without_saved_weights_says_so(config: TrainConfig) -> None:
    text = PLAIN.replace("learning_rate=0.01", "learning_rate=1e30")
    with pytest.raises(NanError, match=r"nothing had been saved; lower the learning rate"):
        fit(replace(config, network=runs.loads(text)), runs.Silent())


def test_fp16_skips_overflowing_updates_and_stops_at_the_limit(config: TrainConfig) -> None:
    state = initial_state(replace(config, amp="fp16"))
    broken = {"loss": float("nan")}
    assert nan_diagnosis.usable(state, broken)
    state.skipped = nan_diagnosis.MAX_SKIPPED
    assert not nan_diagnosis.usable(state, broken)
    assert not nan_diagnosis.usable(initial_state(config), broken)
    assert (
        update_config(
            replace(config, amp="fp16"), nan_diagnosis.UpdateConfig(config.loss_config).world
        ).amp
        is torch.float16
    )
