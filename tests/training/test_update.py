"""What an update changes, and what it leaves: frozen layers, limits of weights, Adam."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ghostyolo.augment.batches import Batches
from ghostyolo.distributed import World
from ghostyolo.errors import CfgError
from ghostyolo.loss import DETECTION_LOSSES as LOSSES
from ghostyolo.training.gradient import gradient, update_config
from ghostyolo.training.loop import fit
from ghostyolo.training.state import State, initial_state, set_learning_rate
from support import runs, tiny


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.pictures(tmp_path_factory.mktemp("update") / "shapes")


def with_key(layer: int, text: str, base: str = tiny.CFG) -> str:
    """Return the cfg with a line in one of its convolutions."""
    parts = base.split("[convolutional]\n")
    parts[layer + 1] = f"{text}\n{parts[layer + 1]}"
    return "[convolutional]\n".join(parts)


def tensors(state: State, layer: int) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in state.model.layers[layer].state_dict().items()}


@pytest.mark.parametrize("loss", LOSSES)
def test_layers_up_to_stopbackward_are_frozen(loss: str, data: Path, tmp_path: Path) -> None:
    """Weights, running statistics and their averages; through validations as well."""
    val = runs.open_dataset(data, "val")
    settings = {"loss": loss, "val": val, "val_every": 1}
    text = with_key(1, "stopbackward=1\nclip=.001", tiny.CFG.replace("batch=2", "batch=3"))
    config = runs.configured(data, tmp_path, text, **settings)
    torch.manual_seed(config.seed)
    before = initial_state(config)
    state = fit(config, runs.Silent())
    for layer in (0, 1):
        for name, tensor in tensors(before, layer).items():
            assert torch.equal(tensor, tensors(state, layer)[name]), (layer, name)
    moved = tensors(state, 2)["conv.weight"] - tensors(before, 2)["conv.weight"]
    assert moved.abs().min() > 0
    with state.averaged():
        first = tensors(state, 0)["norm.running_mean"]
    assert torch.equal(first, tensors(before, 0)["norm.running_mean"])


def test_stopbackward_cuts_every_path_of_the_gradient(data: Path, tmp_path: Path) -> None:
    """Also one around the layer; what lies above gets the gradient that it gets without."""
    conv = "[convolutional]\nfilters=8\nsize=3\nstride={}\npad=1\nactivation=leaky\n\n"
    around = "[shortcut]\nfrom=-2\nactivation=linear\n\n[convolutional]\nfilters=22"
    net, rest = tiny.CFG.partition("[convolutional]")[0], tiny.CFG.partition("filters=22")[2]
    text = net + conv.format(16) + conv.format(1) + around + rest
    found = []
    for changed in (text, with_key(1, "stopbackward=1", text)):
        config = runs.configured(data, tmp_path, changed)
        torch.manual_seed(0)
        state = initial_state(config)
        images, truths = Batches(config.train, config.augmentation, 2, (64, 64)).batch_at(0)
        gradient(state, images, truths, update_config(config, World()))
        found.append([[p.grad for p in layer.parameters()] for layer in state.model.layers])
    whole, stopped = found
    assert all(g is not None and g.abs().max() > 0 for g in (*whole[0], *whole[1]))
    assert [*stopped[0], *stopped[1]] == [None] * 4
    for a, b in zip(whole[3], stopped[3], strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("layer", "key", "message"),
    [
        (1, "stopbackward=800", r"x\.cfg:\d+: \[convolutional\] stopbackward=800 cannot be"),
        (2, "stopbackward=1", r"\[convolutional\] stopbackward=1 leaves nothing to train; set"),
        (1, "dont_update=5", r"dont_update=5 cannot be honoured"),
    ],
)
def test_freezing_all_layers_is_refused(
    layer: int, key: str, message: str, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(CfgError, match=message):
        fit(runs.configured(data, tmp_path / "run", with_key(layer, key)), runs.Silent())
    assert not (tmp_path / "run").exists()


def test_clip_limits_the_weights_of_its_layer(data: Path, tmp_path: Path) -> None:
    """After one update they are those of a run without, but for what lies beyond."""
    one = tiny.CFG.replace("max_batches=4", "max_batches=1")
    free = fit(runs.configured(data, tmp_path / "a", one), runs.Silent())
    text = with_key(0, "clip=.1", one)
    held = fit(runs.configured(data, tmp_path / "b", text), runs.Silent())
    for layer in range(3):
        for name, tensor in tensors(free, layer).items():
            want = tensor.clamp(-0.1, 0.1) if (layer, name) == (0, "conv.weight") else tensor
            assert torch.equal(tensors(held, layer)[name], want), (layer, name)
    assert tensors(free, 0)["conv.weight"].abs().max() > 0.1


def test_adam_is_darknets(data: Path, tmp_path: Path) -> None:
    """In its own form: on sums over the batch, which grow against the gradient, decay on all."""
    text = tiny.CFG.replace("max_batches=4", "max_batches=4\nadam=1\nB1=.8\nB2=.99\neps=.01")
    config = runs.configured(data, tmp_path, text)
    state, step, options = (
        initial_state(config),
        update_config(config, World()),
        config.network.options,
    )
    batches = Batches(config.train, config.augmentation, 2, (64, 64))
    w = {name: p.detach().numpy().copy() for name, p in state.model.named_parameters()}
    m = {name: np.zeros_like(value) for name, value in w.items()}
    v = {name: np.zeros_like(value) for name, value in w.items()}
    for t in (1, 2, 3):
        rate = set_learning_rate(state, options)
        parts = gradient(state, *batches.batch_at(t), step)
        for name, parameter in state.model.named_parameters():
            sums = -parameter.grad.numpy() * config.batch
            d = sums - options.decay * config.batch * w[name]
            m[name] = 0.8 * m[name] + 0.2 * d
            v[name] = 0.99 * v[name] + 0.01 * d**2
            mhat, vhat = m[name] / (1 - 0.8**t), v[name] / (1 - 0.99**t)
            w[name] = w[name] + rate * mhat / (np.sqrt(vhat) + 0.01)
        state.advance(parts)
        for name, parameter in state.model.named_parameters():
            np.testing.assert_allclose(parameter.detach(), w[name], rtol=1e-4, atol=1e-6)


def test_adam_resumes_bit_for_bit(data: Path, tmp_path: Path) -> None:
    text = tiny.CFG.replace("max_batches=4", "max_batches=4\nadam=1")
    config = runs.configured(data, tmp_path / "parts", text, loss="modern")
    with pytest.raises(KeyboardInterrupt):
        fit(config, runs.Silent(stop_after=2))
    fit(config, runs.Silent(), resume=True)
    fit(replace(config, folder=tmp_path / "whole"), runs.Silent())
    assert runs.same(runs.checkpoint(config.folder), runs.checkpoint(tmp_path / "whole"))
