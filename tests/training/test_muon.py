"""The optimizer of matrices."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ghostyolo.errors import OptionError
from ghostyolo.loss import loss_config
from ghostyolo.model.model import Model
from ghostyolo.network import loads
from ghostyolo.training import muon
from ghostyolo.training.loop import fit
from ghostyolo.training.state import optimizer
from ghostyolo.zoo import networks
from ghostyolo.zoo.ghostnet import GhostNet
from support import runs, tiny

# The second convolution is of 1x1 pixels.
CFG = tiny.CFG.replace("size=3\nstride=4\npad=1\nactivation=leaky\n\n[convolutional]\nfilters=22",
    "size=1\nstride=4\npad=1\nactivation=leaky\n\n[convolutional]\nfilters=22")  # fmt: skip


@pytest.mark.parametrize("shape", [(8, 8), (4, 12), (20, 6)])
def test_singular_values_are_set_near_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    given = torch.randn(3, *shape)
    found = muon.orthogonal(given)
    left, _, right = torch.linalg.svd(given, full_matrices=False)
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.6 and values.max() < 1.25
    between = left.mT @ found @ right.mT  # diagonal, as the directions are the same
    torch.testing.assert_close(between, torch.diag_embed(between.diagonal(dim1=1, dim2=2)),
        atol=1e-4, rtol=0)  # fmt: skip


@pytest.mark.parametrize("shape", [(8, 16), (24, 8)])
def test_updates_are_those_of_torch(shape: tuple[int, int]) -> None:
    """torch's Muon computes the iteration in bfloat16, which has three digits."""
    torch.manual_seed(0)
    start, rate, decay = torch.randn(shape), 0.02, 0.002
    theirs = torch.nn.Parameter(start.clone())
    ours = torch.nn.Parameter(start[..., None, None].clone())
    reference = torch.optim.Muon([theirs], rate, weight_decay=decay * muon.DECAY)
    group = {"params": [ours], "weight_decay": decay * muon.DECAY, "matrices": True}
    own = muon.Muon([group], lr=rate)
    for _ in range(5):
        theirs.grad = torch.randn(shape)
        ours.grad = theirs.grad[..., None, None].clone()
        reference.step()
        own.step()
    moved = (theirs - start).abs().max()
    torch.testing.assert_close(ours[..., 0, 0], theirs, atol=0.02 * moved.item(), rtol=0)


def test_matrices_are_the_hidden_convolutions_of_one_pixel() -> None:
    """All of a detector but stem, cheap operations and outputs."""
    network = networks.detector(GhostNet(width=0.3), classes=3, size=(64, 64), neck_width=16)
    convolutions = {node.index: node for node in network if node.layer.kind == "convolutional"}
    others = [convolutions[index] for index in convolutions.keys() - muon.matrices(network)]
    assert all(
        node.layer.size > 1 or node.layer.groups > 1 or node.title.endswith("output")
        for node in others
    )
    assert {"stem", "head, stride 8, output"} <= {node.title for node in others}
    found = [network[index].layer for index in muon.matrices(network)]
    assert {(layer.size, layer.groups) for layer in found} == {(1, 1)}
    assert sum(not layer.batch_normalize for layer in found) > 3  # squeeze-excite


def test_a_classifiers_logits_are_no_matrix() -> None:
    network = networks.classifier(GhostNet(width=0.1), classes=5, size=(64, 64))
    last = [node for node in network if node.layer.weights(*network.input_shapes(node))][-1]
    assert last.index not in muon.matrices(network)


def test_all_else_is_updated_as_by_sgd() -> None:
    torch.manual_seed(0)
    one, other = Model(loads(CFG)).train(), Model(loads(CFG)).train()
    other.load_state_dict(one.state_dict())
    modern = loss_config("modern")
    steps = [optimizer(one, modern, "muon"), optimizer(other, modern, "sgd")]
    for model, step in zip((one, other), steps, strict=True):
        torch.manual_seed(1)
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        step.step()
    differ = [
        name
        for (name, a), (_, b) in zip(one.named_parameters(), other.named_parameters(), strict=True)
        if not torch.equal(a, b)
    ]
    assert differ == ["layers.1.conv.weight"]


def test_a_run_resumes_bit_for_bit(tmp_path: Path) -> None:
    data = tiny.pictures(tmp_path / "shapes")
    text = CFG.replace("max_batches=4", "max_batches=6")
    options = {"loss": "modern", "optimizer": "muon"}
    whole = fit(runs.configured(data, tmp_path / "a", text, **options), runs.Silent())
    config = runs.configured(data, tmp_path / "b", text, **options)
    with pytest.raises(KeyboardInterrupt):
        fit(config, runs.Silent(stop_after=3))
    again = fit(config, runs.Silent(), resume=True)
    assert config.optimizer_name == "muon"
    torch.testing.assert_close(again.model.state_dict(), whole.model.state_dict(), atol=0, rtol=0)


def test_a_run_of_an_older_version_names_the_option(tmp_path: Path) -> None:
    """It was trained by SGD, and its checkpoint does not say so."""
    data = tiny.pictures(tmp_path / "shapes")
    config = runs.configured(data, tmp_path / "run", CFG, loss="modern", optimizer="sgd")
    with pytest.raises(KeyboardInterrupt):
        fit(config, runs.Silent(stop_after=2))
    content = torch.load(config.checkpoint, weights_only=True)
    assert content["identity"].pop("optimizer") == "sgd"
    torch.save(content, config.checkpoint)
    other = runs.configured(data, tmp_path / "run", CFG, loss="modern")
    assert other.optimizer_name == "muon"
    with pytest.raises(OptionError, match=r"another optimizer; .*: --optimizer sgd"):
        fit(other, runs.Silent(), resume=True)
    assert fit(config, runs.Silent(), resume=True).iteration == config.iterations


def test_a_loss_without_a_rate_for_it(tmp_path: Path) -> None:
    data = tiny.pictures(tmp_path / "shapes")
    config = runs.configured(data, tmp_path / "run", CFG, loss="darknet", optimizer="muon")
    with pytest.raises(OptionError, match="muon is not for --loss darknet"):
        _ = config.optimizer_name


def test_beside_adam(tmp_path: Path) -> None:
    data = tiny.pictures(tmp_path / "shapes")
    text = CFG.replace("decay=0.01", "decay=0.01\nadam=1")
    config = runs.configured(data, tmp_path / "run", text, loss="modern")
    assert config.optimizer_name == "adam"
    config = runs.configured(data, tmp_path / "run", text, loss="modern", optimizer="sgd")
    with pytest.raises(OptionError, match="sgd beside adam=1"):
        _ = config.optimizer_name
