"""Half precision in the forward pass, and compilation: close to float32, saved and restored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ghostyolo.augment.batches import Batches
from ghostyolo.distributed import World
from ghostyolo.errors import OptionError
from ghostyolo.loss.base import LossSum
from ghostyolo.network import loads
from ghostyolo.training import precision
from ghostyolo.training.config import TrainConfig
from ghostyolo.training.gradient import gradient, update_config
from ghostyolo.training.loop import fit
from ghostyolo.training.state import State, initial_state
from support import runs, tiny

DTYPES = {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.pictures(tmp_path_factory.mktemp("precision") / "shapes")


@pytest.fixture
def config(data: Path, tmp_path: Path) -> TrainConfig:
    return runs.configured(data, tmp_path / "run", loss="modern")


def scaled(state: State, scale: float) -> State:
    """Return the state with another scale of its gradient."""
    if state.scaler.is_enabled():
        state.scaler.load_state_dict({**state.scaler.state_dict(), "scale": scale})
    return state


def gradients(config: TrainConfig) -> list[torch.Tensor]:
    """Return the gradient of a batch, unscaled."""
    torch.manual_seed(0)
    state, step = scaled(initial_state(config), 64), update_config(config, World())
    images, truths = Batches(config.train, config.augmentation, 2, (64, 64)).batch_at(0)
    gradient(state, images, truths, step)
    return [p.grad for p in state.model.parameters() if p.grad is not None]


def test_dtypes_by_name() -> None:
    assert {name: precision.dtype_of(name, "cpu") for name in DTYPES} == DTYPES
    assert precision.dtype_of("auto", "cpu") is None


@pytest.mark.parametrize(("amp", "limit"), [("bf16", 0.1), ("fp16", 0.02)])
def test_gradients_are_near_those_of_float32(amp: str, limit: float, config: TrainConfig) -> None:
    """Of fp16 as well, though they were computed scaled; and not so near as to be float32's."""
    whole, half = gradients(config), gradients(replace(config, amp=amp))
    size = sum(float(g.square().sum()) for g in whole) ** 0.5
    apart = sum(float((a - b).square().sum()) for a, b in zip(whole, half, strict=True)) ** 0.5
    assert 1e-6 < apart / size < limit
    assert all(g.dtype is torch.float32 for g in half)


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_only_the_loss_is_computed_in_float32(amp: str, config: TrainConfig) -> None:
    seen: list[torch.dtype] = []

    def loss(runs_: object, truths: torch.Tensor, size: tuple[int, int]) -> LossSum:
        seen.extend(run.raw.dtype for run in runs_)  # type: ignore[attr-defined]
        return config.loss_config.function(runs_, truths, size)  # type: ignore[arg-type]

    state, update = initial_state(config), update_config(replace(config, amp=amp))
    state.model.layers[1].register_forward_hook(lambda *args: seen.append(args[2].dtype))
    images, truths = Batches(config.train, config.augmentation, 2, (64, 64)).batch_at(0)
    gradient(
        state, images, truths, replace(update, loss=replace(config.loss_config, function=loss))
    )
    assert seen == [DTYPES[amp], torch.float32]


def test_fp16_resumes_with_its_scale(config: TrainConfig) -> None:
    """And skips an update whose gradient it cannot hold, without touching a weight."""
    text = tiny.CFG.replace("max_batches=4", "max_batches=16")
    config = replace(config, amp="fp16", network=loads(text))
    whole = fit(replace(config, folder=config.folder.parent / "whole"), runs.Silent())
    with pytest.raises(KeyboardInterrupt):
        fit(config, runs.Silent(stop_after=9))
    fit(config, runs.Silent(), resume=True)
    assert whole.skipped == 0 < len(whole.optimizer.state)
    assert runs.same(*map(runs.checkpoint, (config.folder, config.folder.parent / "whole")))
    before = {k: v.clone() for k, v in whole.model.state_dict().items()}
    state = scaled(whole, 1e38)
    images, truths = Batches(config.train, config.augmentation, 2, (64, 64)).batch_at(0)
    parts = gradient(state, images, truths, update_config(config, World()))
    shown, scale = state.parts, state.scaler.get_scale()
    state.advance(parts)
    assert (state.iteration, state.skipped, state.parts) == (17, 1, shown)
    assert state.scaler.get_scale() == scale / 2
    for name, parameter in state.model.named_parameters():
        assert torch.equal(parameter, before[name]), name


def test_resuming_with_another_precision_is_refused(config: TrainConfig) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(config, runs.Silent(stop_after=1))
    with pytest.raises(OptionError, match="the run has another precision"):
        fit(replace(config, amp="bf16"), runs.Silent(), resume=True)
    state = fit(replace(config, amp="auto"), runs.Silent(), resume=True)
    assert state.iteration == 4


def test_compiled_forward_pass_is_equal(config: TrainConfig, data: Path) -> None:
    """Validated, saved and restored as ever; a graph of torch's own, not yet machine code."""
    from torch import _dynamo

    seen: list[int] = []

    def backend(graph: torch.fx.GraphModule, _: object) -> object:
        seen.append(len(graph.graph.nodes))
        return graph.forward

    plain, model = initial_state(config), initial_state(config).model
    model.load_state_dict(plain.model.state_dict())
    _dynamo.reset()
    run = torch.compile(model.run, backend=backend)
    x, keep = torch.rand(2, 3, 64, 64), frozenset({2, 3})
    want = plain.model.run(x, keep)
    assert all(torch.equal(want[i], y) for i, y in run(x, keep).items())
    assert len(seen) == 1  # one graph: nothing falls back to Python
