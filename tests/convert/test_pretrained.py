"""Training that starts from a classifier that others have trained."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

from ghostyolo import cli, convert
from ghostyolo.convert.pretrained import CONFIG, IMAGENET, WEIGHTS, load_start
from ghostyolo.errors import OptionError, WeightsError
from ghostyolo.files import digest
from ghostyolo.model.model import Model
from ghostyolo.network import Network, dumps
from ghostyolo.zoo import networks
from ghostyolo.zoo.families import FAMILIES
from ghostyolo.zoo.ghostnet import GhostNet
from support import ROOT, tiny

NAME = "ghostnet_100.in1k"
MEAN, STD = (0.5, 0.25, 0.75), (0.5, 0.25, 0.125)


@pytest.fixture(scope="module")
def classifier() -> Network:
    return networks.classifier(GhostNet(width=0.1, gate="hard"), classes=5, size=(64, 64))


@pytest.fixture(scope="module")
def published(classifier: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder as the hub has it for a model of timm, with another normalisation."""
    folder = tmp_path_factory.mktemp("published")
    model = Model(classifier)
    torch.manual_seed(0)
    with torch.no_grad():
        for part in model.tensors():
            for name in filter(part.__contains__, ("norm.running_mean", "norm.running_var")):
                part[name].uniform_(0.5, 2)
    model.save_weights(folder / "c.weights")
    convert.convert(classifier, folder / "c.weights", folder / WEIGHTS, to="ghostnet")
    config = {"architecture": "ghostnet_100", "pretrained_cfg": {"mean": MEAN, "std": STD}}
    (folder / CONFIG).write_text(json.dumps(config))
    return folder


@pytest.fixture
def hub(published: Path, tmp_path: Path) -> Path:
    """Return a home of the hub's library whose cache has the model.

    Source: huggingface_hub's guide "Understand caching": a folder of each repository with refs, and
    a folder of files for each commit.
    """
    repository = tmp_path / "hf/hub" / f"models--timm--{NAME}"
    commit = repository / "snapshots" / ("0" * 40)
    commit.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("0" * 40)
    for file in (WEIGHTS, CONFIG):
        (commit / file).symlink_to(published / file)
    return tmp_path / "hf"


def detector(gate: str = "hard", classes: int = 6) -> Network:
    family = GhostNet(width=0.1, gate=gate)
    return networks.detector(family, classes=classes, size=(64, 64), neck_width=16)


def test_the_first_layer_takes_levels(classifier: Network, published: Path) -> None:
    """Its output is that of the published network for normalised pictures, but at the border."""
    reference, model = Model(classifier, published / "c.weights").eval(), Model(detector()).eval()
    load_start(model, f"timm:{published}")
    levels = torch.rand(2, 3, 64, 64)
    mean, std = (torch.tensor(value)[:, None, None] for value in (MEAN, STD))
    with torch.no_grad():
        wanted = reference.trace((levels - mean) / std)[0]
        found = model.trace(levels)[0]
    assert wanted.std() > 0.1
    torch.testing.assert_close(found[..., 1:, 1:], wanted[..., 1:, 1:], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(found, wanted, atol=1e-3)


def test_without_batch_norm(tmp_path: Path) -> None:
    network = networks.classifier(FAMILIES["squeezenet1.1"], classes=5, size=(64, 64))
    torch.manual_seed(0)
    reference, model = Model(network).eval(), Model(network).eval()
    reference.save_weights(tmp_path / "s.weights")
    path = tmp_path / "s.pth"
    convert.convert(network, tmp_path / "s.weights", path, to="squeezenet1.1")
    load_start(model, str(path))
    levels = torch.rand(1, 3, 64, 64)
    mean, std = (torch.tensor(value)[:, None, None] for value in IMAGENET)
    with torch.no_grad():
        wanted, found = reference.trace((levels - mean) / std)[0], model.trace(levels)[0]
    torch.testing.assert_close(
        found[..., 1:-1, 1:-1], wanted[..., 1:-1, 1:-1], rtol=1e-4, atol=1e-5
    )


def test_the_backbone_is_taken(
    classifier: Network, published: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, reference = Model(detector("logistic")), Model(classifier, published / "c.weights")
    sha = load_start(model, f"timm:{published}")
    whole, wanted = model.tensors()[1:29], reference.tensors()[1:29]
    torch.testing.assert_close(whole, wanted)  # the first gate comes then
    assert sum(map(bool, whole)) > 10
    assert sha == digest(published / WEIGHTS)
    assert "has another gate than the hard sigmoid of these weights; training has" in caplog.text
    assert "kept as initialised" in caplog.text
    assert "without mean 0.5,0.25,0.75 and std 0.5,0.25,0.125" in caplog.text


def test_own_tensors_are_taken_whole(tmp_path: Path) -> None:
    network = detector()
    model = Model(network)
    model.save_weights(tmp_path / "a.weights")
    convert.convert(network, tmp_path / "a.weights", tmp_path / "a.safetensors")
    other = Model(network)
    load_start(other, str(tmp_path / "a.safetensors"))
    torch.testing.assert_close(other.state_dict(), model.state_dict())


@pytest.mark.parametrize("named", ["timm:{}", f"timm:{NAME}"])
def test_training_starts_from_it(hub: Path, tmp_path: Path, published: Path, named: str) -> None:
    """Without a network, from a folder and from the hub's cache; the run knows the file."""
    (tmp_path / "d.cfg").write_text(dumps(detector()))
    data = tiny.pictures(tmp_path / "shapes")
    words = ["train", "d.cfg", str(data), "--epochs", "1", "--batch", "2", "--threads", "1"]
    words += ["--weights", named.format(published), "--workers", "0"]
    done = ghostyolo(words, tmp_path, hub)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "runs/train/d/run.json").read_text())
    assert record["start"] == {
        "weights": named.format(published),
        "sha256": digest(published / WEIGHTS),
    }
    without = [word for word in words if word not in ("--weights", named.format(published))]
    assert ghostyolo([*without, "--resume"], tmp_path, hub).returncode == 0
    assert json.loads((tmp_path / "runs/train/d/run.json").read_text())["start"] == record["start"]


def test_without_network_the_error_tells_the_way(hub: Path, tmp_path: Path) -> None:
    (tmp_path / "d.cfg").write_text(dumps(detector()))
    data = tiny.pictures(tmp_path / "shapes")
    words = ["train", "d.cfg", str(data), "--weights", "timm:mobilenetv2_100.ra_in1k"]
    done = ghostyolo(words, tmp_path, hub)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ghostyolo: timm:mobilenetv2_100.ra_in1k: model.safetensors of https:")
    assert "HF_HUB_OFFLINE is set; fetch model.safetensors and config.json" in last
    assert "--weights timm:FOLDER" in last
    assert not (tmp_path / "runs").exists()


def test_attempts_to_connect_are_not_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    closed = "http://127.0.0.1:9/{repo_id}/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", closed)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between attempts
    with pytest.raises(WeightsError, match="cannot be fetched"):
        load_start(Model(detector()), "timm:mobilenetv2_100.ra_in1k")
    told = "timm:mobilenetv2_100.ra_in1k: fetching model.safetensors from the Hugging Face hub"
    assert caplog.messages == [told]


def ghostyolo(words: list[str], folder: Path, hub: Path) -> subprocess.CompletedProcess[str]:
    variables = {"HF_HOME": str(hub), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "ghostyolo", *words]
    environment = {**os.environ, **variables}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"pretrained_cfg": {"mean": [1, 2], "std": [1, 1]}}',
     '{"pretrained_cfg": {"mean": [0, 0, 0], "std": [1, 0, 1]}}'],
)  # fmt: skip
def test_a_bad_config_is_refused(published: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / WEIGHTS).symlink_to(published / WEIGHTS)
    (tmp_path / CONFIG).write_text(content)
    model = Model(detector())
    before = {name: values.clone() for name, values in model.state_dict().items()}
    with pytest.raises(WeightsError, match=r"config\.json: has no mean and std"):
        load_start(model, f"timm:{tmp_path}")
    torch.testing.assert_close(model.state_dict(), before)


def test_a_folder_needs_both_files(published: Path, tmp_path: Path) -> None:
    (tmp_path / WEIGHTS).symlink_to(published / WEIGHTS)
    told = r"config\.json: it does not exist; the folder needs model\.safetensors and config\.json"
    with pytest.raises(WeightsError, match=told):
        load_start(Model(detector()), f"timm:{tmp_path}")


def test_a_name_that_is_none(published: Path) -> None:
    with pytest.raises(WeightsError, match="no trained model of that name; trained are ghostnet_1"):
        load_start(Model(detector()), "timm:ghostnet 0.5")


def test_another_width_is_refused(published: Path) -> None:
    wide = networks.detector(GhostNet(width=0.3), classes=6, size=(64, 64), neck_width=16)
    with pytest.raises(WeightsError, match=r"'conv_stem\.weight' is .*family, width"):
        load_start(Model(wide), f"timm:{published}")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(OptionError, match=r"pip install 'ghostyolo\[pretrained\]'"):
        load_start(Model(detector()), f"timm:{NAME}")


def test_convert_takes_no_name_of_timm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "d.cfg").write_text(dumps(detector()))
    words = ["convert", str(tmp_path / "d.cfg"), f"timm:{NAME}", str(tmp_path / "o.weights")]
    assert cli.main(words) == 1
