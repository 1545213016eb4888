"""Learning from a trained network: where the loss is least, what it pulls to, who may teach."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ghostyolo.data import open_dataset
from ghostyolo.errors import CfgError
from ghostyolo.loss import cross_entropy, distillation
from ghostyolo.loss.base import HeadOutput
from ghostyolo.loss.cross_entropy import ClassLogits
from ghostyolo.model.model import Model
from ghostyolo.network import loads
from ghostyolo.training.config import Teacher
from ghostyolo.training.loop import fit
from ghostyolo.training.state import initial_state
from ghostyolo.training.unsupported import check_teacher
from support import pictures, runs, tiny
from support.head_runs import SIZE, make_runs


def detached(runs: list[HeadOutput]) -> list[HeadOutput]:
    return [run._replace(raw=run.raw.detach()) for run in runs]


def moved(run: HeadOutput, by: float, seed: int) -> HeadOutput:
    """Return a run whose numbers are others; probabilities, those of new_coords, stay such."""
    noise = by * torch.randn(run.raw.shape, generator=torch.Generator().manual_seed(seed))
    raw = (run.raw.logit() + noise).sigmoid() if run.head.new_coords else run.raw + noise
    return run._replace(raw=raw)


@pytest.mark.parametrize("new_coords", [0, 1])
def test_the_teachers_predictions_have_the_least_loss(new_coords: int) -> None:
    shown = detached(make_runs(0, new_coords=new_coords, scale_x_y=1.1))
    least = distillation.distillation_loss(shown, shown, SIZE)
    assert least.parts["box"].abs() < 1e-3
    for seed in range(5):
        others = [moved(run, 0.1, seed) for run in shown]
        cost = distillation.distillation_loss(others, shown, SIZE)
        assert cost.total > least.total
        assert float(cost.total) == pytest.approx(sum(map(float, cost.parts.values())), rel=1e-5)
        assert cost.divisor == least.divisor


def test_slots_of_low_teacher_objectness_have_no_box_or_class_loss() -> None:
    shown = detached(make_runs(1))
    for run in shown:
        run.raw.view(2, 2, 8, *run.raw.shape[2:])[:, :, 4] = -20
    others = [moved(run, 9, 2) for run in shown]
    cost = distillation.distillation_loss(others, shown, SIZE)
    assert cost.parts["box"] == cost.parts["class"] == 0 < cost.parts["objectness"]
    assert cost.divisor == 1, "no division by nothing"


def test_a_classifier_learns_its_teachers_probabilities() -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 3.0]])
    shown = ClassLogits(logits, temperature=2.0)
    own = ClassLogits(torch.zeros(2, 3, requires_grad=True), temperature=2.0)
    cost = cross_entropy.distillation_loss(own, shown, SIZE)
    (gradient,) = torch.autograd.grad(cost.total, own.logits)
    assert torch.allclose(gradient, 1 / 3 - (logits / 2).softmax(1), atol=1e-6)
    assert cost.divisor == 2


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.pictures(tmp_path_factory.mktemp("teacher") / "shapes")


def test_a_network_approaches_its_teacher(data: Path, tmp_path: Path) -> None:
    """Labels have no part in it: with all of them gone the weights are the same."""
    weights = str(tiny.eager_weights(tmp_path))
    text = tiny.CFG.replace("max_batches=4", "max_batches=100")
    # at ten times this rate rounding decides
    text = text.replace("learning_rate=0.01", "learning_rate=0.001")
    config = runs.configured(data, tmp_path / "a", text, loss="modern")
    config = replace(config, val=None, teacher=Teacher(loads(text), weights))
    x = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    model = Model(loads(text), weights).eval()
    state = fit(config, runs.Silent())
    with torch.no_grad(), state.averaged():
        wanted, got = model(x)[0], state.model.eval()(x)[0]
        torch.manual_seed(config.seed)
        fresh = initial_state(config).model.eval()(x)[0]
    assert (got - wanted).abs().mean() < (fresh - wanted).abs().mean() / 2
    bare = open_dataset(data, "train")
    nothing = {"boxes_xyxy_px": np.zeros((0, 4), np.float32), "classes": np.zeros(0, np.int64)}
    nothing["ignore"] = np.zeros(0, bool)
    bare = replace(bare, samples=[replace(sample, **nothing) for sample in bare.samples])
    other = fit(replace(config, train=bare, folder=tmp_path / "b"), runs.Silent())
    for a, b in zip(state.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("anchors=10,12", "anchors=10,14", "anchors 10,14"),
        ("stride=4", "stride=2", "16x16 cells"),
        ("jitter=.2", "scale_x_y=1.2", "scale_x_y=1.2"),
    ],
)
def test_teacher_with_other_outputs_is_refused(old: str, new: str, said: str) -> None:
    network = loads(tiny.CFG)
    check_teacher(network, loads(tiny.CFG.replace("filters=8", "filters=12")))
    with pytest.raises(CfgError, match=f"the teacher's output is .*{said}.*, the network"):
        check_teacher(network, loads(tiny.CFG.replace(old, new)))
    with pytest.raises(CfgError, match=r"the teacher's output is one of \d classes"):
        check_teacher(network, loads(pictures.CFG))


def test_command(data: Path, tmp_path: Path, invoke: Callable[..., tuple[int, str, str]]) -> None:
    cfg, weights = str(tiny.write(tmp_path)), str(tiny.eager_weights(tmp_path))
    words = ["train", cfg, str(data), "--project", str(tmp_path), "--epochs", "1"]
    taught = ["--teacher", cfg, weights]
    assert invoke(*words, *taught, "--name", "a")[0] == 0
    assert (tmp_path / "a" / "best.weights").exists()
    for others, message in (
        (["--name", "a", "--resume"], "the run has another teacher"),
        ([*taught, "--loss", "darknet"], "learns from labels"),
        (["--teacher", cfg, str(tmp_path / "none.weights")], "none.weights"),
    ):
        code, _, err = invoke(*words, *others)
        assert code == 1 and message in err
