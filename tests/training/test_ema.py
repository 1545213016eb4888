"""The moving average of weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from ghostyolo.training.ema import Ema


def make_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))


def value(model: nn.Module) -> float:
    return model[0].weight[0, 0].item()


def move(model: nn.Module, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor += torch.rand(tensor.shape, generator=rng)


def test_average_is_the_formula() -> None:
    """Written out for one number: a short memory first, that of the horizon later."""
    model, horizon = make_model(), 20.0
    ema, want = Ema(model, horizon), value(model)
    for update in range(1, 60):
        move(model, update)
        ema.update()
        decay = (1 - 1 / horizon) * (1 - math.exp(-2 * update / horizon))
        want = decay * want + (1 - decay) * value(model)
        with ema.applied():
            assert value(model) == pytest.approx(want, rel=1e-5)
    assert decay == pytest.approx(1 - 1 / horizon, rel=0.01)


def test_running_statistics_are_averaged_and_counters_are_not() -> None:
    model = make_model()
    ema = Ema(model, 10)
    model[1].running_mean.fill_(1.0)
    model[1].num_batches_tracked.fill_(7)
    ema.update()
    with ema.applied():
        assert 0 < float(model[1].running_mean[0]) <= 1
        assert int(model[1].num_batches_tracked) == 7


def test_tensors_are_restored_also_after_an_error() -> None:
    model = make_model()
    ema = Ema(model, 10)
    move(model, 1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def interrupted() -> None:
        with ema.applied():
            assert not torch.equal(model[0].weight, before["0.weight"])
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        interrupted()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_restored_average_continues_bit_for_bit() -> None:
    a, b = make_model(), make_model()
    first, second = Ema(a, 5), Ema(b, 5)
    for seed in range(4):
        if seed == 2:
            second.load_state_dict(first.state_dict())
        for model in (a, b):
            move(model, seed)
        first.update()
        if seed >= 2:
            second.update()
    for one, other in zip(first.tensors, second.tensors, strict=True):
        assert torch.equal(one, other)
