"""Weights between formats, and into Darknet from other people's checkpoints."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ghostyolo import cli, convert
from ghostyolo.convert import named_tensors
from ghostyolo.errors import GhostyoloError, OptionError, WeightsError
from ghostyolo.layers.yolo import Yolo
from ghostyolo.model.model import Model
from ghostyolo.network import Network, dumps, info, loads, passes
from ghostyolo.zoo import networks
from ghostyolo.zoo.ghostnet import GhostNet
from ghostyolo.zoo.state_dicts import STATE_DICTS
from support import goldens, published
from support.checkpoints import state_dict_by_recipe

SMALL = """[net]
width=8
height=8
channels=3

[convolutional]
batch_normalize=1
filters=2
size=1
activation=linear

[convolutional]
filters=4
size=1
activation=relu
"""
EVERY_KIND = SMALL + "[batchnorm]\n[connected]\noutput=3\nbatch_normalize=1\n"
OTHER_GATE = "has another gate than the hard sigmoid of these weights"


# The paper's network, with the names of huawei-noah's ghostnet_pytorch and of timm. Each line is a
# stage: kernel, expansion, output, whether squeezed, stride of each of its bottlenecks.
STAGES = (
    ((3, 16, 16, 0, 1),),
    ((3, 48, 24, 0, 2),),
    ((3, 72, 24, 0, 1),),
    ((5, 72, 40, 1, 2),),
    ((5, 120, 40, 1, 1),),
    ((3, 240, 80, 0, 2),),
    ((3, 200, 80, 0, 1), (3, 184, 80, 0, 1), (3, 184, 80, 0, 1), (3, 480, 112, 1, 1),
     (3, 672, 112, 1, 1)),
    ((5, 672, 160, 1, 2),),
    ((5, 960, 160, 0, 1), (5, 960, 160, 1, 1), (5, 960, 160, 0, 1), (5, 960, 160, 1, 1)),
)  # fmt: skip


def rounded(value: float) -> int:
    four = max(4, int(value + 2) // 4 * 4)
    return four if four >= 0.9 * value else four + 4


def conv(i: int, o: int, k: int = 1, s: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(i, o, k, s, k // 2, groups=groups, bias=False)


class GhostModule(nn.Module):
    def __init__(self, i: int, o: int, relu: bool, eps: float) -> None:
        super().__init__()
        half, act = o // 2, nn.ReLU() if relu else nn.Identity()
        norms = [nn.BatchNorm2d(half, eps) for _ in range(2)]
        self.primary_conv = nn.Sequential(conv(i, half), norms[0], act)
        self.cheap_operation = nn.Sequential(conv(half, half, 3, groups=half), norms[1], act)

    def forward(self, x: Tensor) -> Tensor:
        x = self.primary_conv(x)
        return torch.cat((x, self.cheap_operation(x)), 1)


class Squeeze(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_reduce = nn.Conv2d(channels, rounded(channels / 4), 1)
        self.conv_expand = nn.Conv2d(rounded(channels / 4), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.conv_expand(self.conv_reduce(x.mean((2, 3), keepdim=True)).relu())
        return x * F.relu6(gate + 3) / 6


class Bottleneck(nn.Module):
    def __init__(self, i: int, k: int, exp: int, o: int, se: int, s: int, eps: float) -> None:
        super().__init__()
        self.ghost1, self.ghost2 = GhostModule(i, exp, True, eps), GhostModule(exp, o, False, eps)
        self.down = s > 1
        if self.down:
            self.conv_dw, self.bn_dw = conv(exp, exp, k, s, exp), nn.BatchNorm2d(exp, eps)
        self.se = Squeeze(exp) if se else nn.Identity()
        self.shortcut = nn.Sequential()
        if s > 1 or i != o:
            parts = conv(i, i, k, s, i), nn.BatchNorm2d(i, eps), conv(i, o), nn.BatchNorm2d(o, eps)
            self.shortcut = nn.Sequential(*parts)

    def forward(self, x: Tensor) -> Tensor:
        y = self.ghost1(x)
        y = self.bn_dw(self.conv_dw(y)) if self.down else y
        return self.ghost2(self.se(y)) + self.shortcut(x)


class Tail(nn.Module):
    def __init__(self, i: int, o: int, eps: float) -> None:
        super().__init__()
        self.conv, self.bn1 = conv(i, o), nn.BatchNorm2d(o, eps)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn1(self.conv(x)).relu()


class Reference(nn.Module):
    """GhostNet with random weights and statistics."""

    def __init__(self, width: float, classes: int, eps: float = 1e-5) -> None:
        super().__init__()
        channels = rounded(16 * width)
        self.conv_stem, self.bn1 = conv(3, channels, 3, 2), nn.BatchNorm2d(channels, eps)
        stages = []
        for rows in STAGES:
            blocks = []
            for k, exp, out, se, s in rows:
                exp, out = rounded(exp * width), rounded(out * width)
                blocks.append(Bottleneck(channels, k, exp, out, se, s, eps))
                channels = out
            stages.append(nn.Sequential(*blocks))
        tail = rounded(960 * width)
        self.blocks = nn.Sequential(*stages, nn.Sequential(Tail(channels, tail, eps)))
        self.conv_head, self.classifier = nn.Conv2d(tail, 1280, 1), nn.Linear(1280, classes)
        for name, tensor in self.state_dict().items():
            if tensor.is_floating_point():
                low = 0.001 if name.endswith("var") else -0.3
                bound = 1 / prod(tensor.shape[1:]) ** 0.5 if tensor.dim() > 1 else 0.3
                tensor.uniform_(low * (bound / 0.3 if low < 0 else 1), bound)
            if name.endswith(("bn1.weight", "bn_dw.weight")):
                tensor.add_(1)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.bn1(self.conv_stem(x)).relu()).mean((2, 3), keepdim=True)
        return self.classifier(self.conv_head(x).relu().flatten(1))


def classifier(width: float = 0.25, classes: int = 7, gate: str = "hard") -> Network:
    return networks.classifier(GhostNet(width=width, gate=gate), classes=classes, size=(64, 64))


def detector(width: float = 0.25, gate: str = "hard") -> Network:
    style = GhostNet(width=width, gate=gate)
    return networks.detector(style, classes=3, size=(64, 64), neck_width=16)


def logits(model: Model, x: Tensor) -> Tensor:
    """Return what goes into the softmax."""
    return model.trace(x)[-2].flatten(1)


def scramble(model: Model, seed: int = 5) -> Model:
    """Give a model weights and statistics unlike any initialisation."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for node, tensors in zip(model.network, model.tensors(), strict=True):
            for name, _ in node.layer.weights(*model.network.input_shapes(node)):
                tensors[name].uniform_(0.05, 0.9, generator=random)
    return model


def same(a: Model, b: Model) -> bool:
    mine, its = a.state_dict(), b.state_dict()
    return all(torch.equal(mine[key], its[key]) for key in mine if not key.endswith("tracked"))


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


@pytest.fixture(scope="module")
def reference() -> Reference:
    torch.manual_seed(3)
    return Reference(0.25, 7)


@pytest.fixture(scope="module")
def converted(reference: Reference, tmp_path_factory: pytest.TempPathFactory) -> Model:
    model = Model(classifier())
    path = tmp_path_factory.mktemp("reference") / "x.pth"
    convert.load(model, saved(path, reference.state_dict()))
    return model


# Into Darknet from GhostNet, and back.


@pytest.mark.parametrize(
    "name", ["official.ghostnet_100", "timm.ghostnet_050", "timm.ghostnet_100"]
)
def test_checkpoint_golden(name: str, tmp_path: Path) -> None:
    golden = goldens.read(published.CHECKPOINTS.get(f"{name}.json"))
    states = state_dict_by_recipe(golden)
    assert sum(value.numel() for value in states.values()) == golden["floats"]
    network = networks.classifier(GhostNet(width=int(name[-3:]) / 100, gate="hard"))
    assert info.totals(info.rows(network)).parameters == golden["parameters"]
    model = Model(network)
    report = convert.load(model, saved(tmp_path / "x.pth", states))
    assert (report.source, len(report.matched), report.kept) == ("ghostnet", len(states), ())
    convert.save(model, tmp_path / "x.weights")
    model = Model(network, tmp_path / "x.weights")
    for side in (224, 320):
        x = goldens.recipe.input_tensor(1, 3, side, side)
        got, scale = logits(model, torch.from_numpy(x))[0].numpy(), golden[f"stats_{side}"][2]
        np.testing.assert_allclose(got[:64], golden[f"logits_{side}"], rtol=0, atol=1e-4 * scale)
        stats = [got.mean(), got.std(), np.abs(got).max()]
        np.testing.assert_allclose(stats, golden[f"stats_{side}"], rtol=0, atol=1e-3 * scale)
    convert.save(model, tmp_path / "back.pth", kind="ghostnet")
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    _assert_equal_but_for_gates(back, states)


def _assert_equal_but_for_gates(back: dict[str, Tensor], states: dict[str, Tensor]) -> None:
    """Return trips divide by three and multiply again: one unit in the last place."""
    assert back.keys() == {key for key in states if not key.endswith("tracked")}
    for key, value in back.items():
        assert value.shape == states[key].shape
        apart = (value.view(torch.int32) - states[key].view(torch.int32)).abs().max()
        assert apart <= (1 if "conv_expand" in key else 0), key


@pytest.mark.parametrize("width", [0.25, 0.5, 1.3])
def test_logits_of_an_independent_ghostnet(width: float, tmp_path: Path) -> None:
    torch.manual_seed(1)
    other = Reference(width, 7)
    model = Model(classifier(width))
    convert.load(model, saved(tmp_path / "x.pth", other.state_dict()))
    x = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        want = other(x)
    assert (logits(model, x) - want).abs().max() < 1e-5 * want.abs().max()


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
def test_there_and_back(name: str, reference: Reference, tmp_path: Path) -> None:
    """Ours, trained, to theirs: the same logits there, and one unit in the last place when back."""
    model = scramble(Model(classifier()))
    convert.save(model, tmp_path / name, kind="ghostnet")
    other = Reference(0.25, 7)
    other.load_state_dict(named_tensors.read(tmp_path / name).tensors)
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(logits(model, x), other(x), rtol=1e-4, atol=0)
    back = Model(classifier())
    assert convert.load(back, tmp_path / name).source == "ghostnet"
    again = back.state_dict()
    for key, value in model.state_dict().items():
        if not key.endswith("tracked"):
            apart = value.view(torch.int32) - again[key].view(torch.int32)
            assert apart.abs().max() <= (1 if _is_gate(model, key) else 0), key


def _is_gate(model: Model, key: str) -> bool:
    return getattr(model.network[int(key.split(".")[1])].layer, "activation", "") == "hardtan"


@pytest.mark.parametrize("eps", [1e-3, 1e-7])
def test_another_eps_goes_into_the_variance(eps: float, tmp_path: Path) -> None:
    torch.manual_seed(2)
    other, model = Reference(0.25, 7, eps), Model(classifier())
    path = saved(tmp_path / "x.pth", other.state_dict())
    convert.load(model, path, eps=eps)
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(logits(model, x), other(x), rtol=1e-4, atol=1e-5)
    theirs = other.bn1.running_var.double()
    assert torch.equal(model.layers[0].norm.running_var, (theirs + (eps - 1e-5)).float())
    convert.save(model, tmp_path / "back.pth", kind="ghostnet", eps=eps)
    back = named_tensors.read(tmp_path / "back.pth").tensors["bn1.running_var"]
    torch.testing.assert_close(back, other.bn1.running_var)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda states: {"state_dict": states, "epoch": 3},
        lambda states: {"model": {f"module.{key}": value for key, value in states.items()}},
        lambda states: dict(reversed(states.items())),
        lambda states: {key: value.double() for key, value in states.items()},
    ],
    ids=["state_dict", "parallel", "reversed", "double"],
)
def test_shapes_that_checkpoints_come_in(
    wrap: Callable[[dict[str, Tensor]], Any],
    reference: Reference,
    converted: Model,
    tmp_path: Path,
) -> None:
    model = Model(converted.network)
    convert.load(model, saved(tmp_path / "x.pth", wrap(reference.state_dict())))
    assert same(model, converted)


def test_old_torch_format(reference: Reference, converted: Model, tmp_path: Path) -> None:
    torch.save(reference.state_dict(), tmp_path / "x", _use_new_zipfile_serialization=False)
    model = Model(converted.network)
    assert convert.load(model, tmp_path / "x").source == "ghostnet"
    assert same(model, converted)


def test_state_dicts_name_every_layer_once() -> None:
    """But for those whose convolutions stand in pieces, which share a name and no row."""
    for foreign in STATE_DICTS.values():
        rows: dict[str, list[tuple[int, ...]]] = {}
        for layer in foreign.layers([]):
            for name in filter(None, layer[:2]):
                rows.setdefault(name, []).append(layer.rows)
        assert len(rows) == len(foreign.keys)
        for pieces in rows.values():
            held = [row for piece in pieces for row in piece]
            assert len(held) == len(set(held))
            assert held or len(pieces) == 1


# Formats of our own.


@pytest.mark.parametrize("name", ["x.weights", "x.safetensors", "x.pt", "x.pth"])
def test_round_trip(name: str, tmp_path: Path) -> None:
    model, other = scramble(Model(loads(EVERY_KIND))), Model(loads(EVERY_KIND))
    model.seen = 12_345
    convert.save(model, tmp_path / name)
    assert convert.load(other, tmp_path / name).kept == ()
    assert same(model, other)
    assert other.seen == 12_345
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_safetensors_have_the_names_of_the_model(tmp_path: Path) -> None:
    model, other = scramble(Model(loads(EVERY_KIND))), Model(loads(EVERY_KIND))
    convert.save(model, tmp_path / "x.safetensors")
    other.load_state_dict(safetensors.torch.load_file(tmp_path / "x.safetensors"))
    assert same(model, other)


def test_signs_of_zero_survive(tmp_path: Path) -> None:
    model, other = Model(loads(SMALL)), Model(loads(SMALL))
    with torch.no_grad():
        model.layers[0].conv.weight.fill_(-0.0)
    convert.save(model, tmp_path / "x.safetensors")
    convert.load(other, tmp_path / "x.safetensors")
    assert other.layers[0].conv.weight.signbit().all()


def test_a_checkpoint_of_training(tmp_path: Path) -> None:
    network = loads(EVERY_KIND.replace("[net]", "[net]\nbatch=9\nsubdivisions=3"))
    model, other = scramble(Model(network)), Model(network)
    content = {
        "identity": {"cfg": "x"},
        "model": model.state_dict(),
        "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(2)}}, "param_groups": []},
        "iteration": 10,
        "rng": torch.get_rng_state(),
    }
    convert.load(other, saved(tmp_path / "checkpoint.pt", content))
    assert same(model, other)
    assert other.seen == 10 * 9


def test_shared_weights_are_stored_once(tmp_path: Path) -> None:
    text = SMALL + "[convolutional]\nfilters=4\nsize=1\n[convolutional]\nfilters=4\nsize=1\n"
    network = loads(text + "share_index=2\n")
    model, other = scramble(Model(network)), Model(network)
    convert.save(model, tmp_path / "x.safetensors")
    assert not any(
        "layers.3." in key for key in named_tensors.read(tmp_path / "x.safetensors").tensors
    )
    convert.load(other, tmp_path / "x.safetensors")
    assert same(model, other)
    convert.load(other, saved(tmp_path / "x.pt", {"model": model.state_dict()}))


def test_partial_files(tmp_path: Path) -> None:
    """The first layers come from the file, the others stay; a cut layer is an error."""
    model, other = scramble(Model(loads(SMALL))), Model(loads(SMALL))
    before = other.layers[1].conv.weight.clone()
    convert.save(model, tmp_path / "x.conv.1")
    report = convert.load(other, tmp_path / "x.conv.1")
    assert report.kept == ("layers.1.conv.bias", "layers.1.conv.weight")
    assert report.stopped == "the file ends there"
    assert torch.equal(other.layers[0].conv.weight, model.layers[0].conv.weight)
    assert torch.equal(other.layers[1].conv.weight, before)
    data = (tmp_path / "x.conv.1").read_bytes()
    (tmp_path / "x.weights").write_bytes(data)
    with pytest.raises(WeightsError, match=r"ends in layer 1 .* or name it \*\.conv\.1 to load"):
        convert.load(other, tmp_path / "x.weights")
    assert convert.load(other, tmp_path / "x.weights", kind="partial").kept == report.kept
    (tmp_path / "y.conv.1").write_bytes(data[:-4])
    with pytest.raises(WeightsError, match=r"ends in layer 0 \[convolutional\] conv\.weight"):
        convert.load(other, tmp_path / "y.conv.1")
    (tmp_path / "z.conv.2").write_bytes(data + bytes(400))
    with pytest.raises(WeightsError, match="too many"):
        convert.load(other, tmp_path / "z.conv.2")


def test_model_from_a_file_is_the_model_that_loads_it(tmp_path: Path) -> None:
    network = loads(SMALL + "[connected]\noutput=3\n[convolutional]\ndontload=1\n")
    model = Model(network)
    convert.save(scramble(Model(loads(SMALL + "[connected]\noutput=3\n"))), tmp_path / "x.weights")
    model.load_weights(tmp_path / "x.weights")
    other = Model(network, tmp_path / "x.weights")
    theirs = other.state_dict()
    for key, value in model.state_dict().items():
        assert key.startswith("layers.3.") or torch.equal(value, theirs[key])
    assert 0 < other.layers[3].conv.weight.abs().max() < 2  # not in the file, so drawn
    with pytest.raises(WeightsError, match="ends in layer"):
        Model(loads(SMALL + "[connected]\noutput=9\n"), tmp_path / "x.weights")


# Detectors from classifiers.


def test_backbone_from_our_classifier(tmp_path: Path) -> None:
    source, model = scramble(Model(classifier())), Model(detector())
    before = {key: value.clone() for key, value in model.state_dict().items()}
    convert.save(source, tmp_path / "x.weights")
    report = convert.load_backbone(model, tmp_path / "x.weights", source=classifier())
    body = networks.backbone(GhostNet(width=0.25, gate="hard"))
    assert len(report.matched) == sum(
        len(node.layer.weights(*body.input_shapes(node))) for node in body
    )
    assert report.stopped.startswith(f"layer {len(body)} [")
    after, theirs = model.state_dict(), source.state_dict()
    assert all(torch.equal(after[key], theirs[key]) for key in report.matched)
    assert all(torch.equal(after[key], before[key]) for key in report.kept)
    assert len(report.matched) + len(report.kept) == len([k for k in after if "tracked" not in k])


def test_backbone_from_a_checkpoint_is_the_same(
    reference: Reference, converted: Model, tmp_path: Path
) -> None:
    path = saved(tmp_path / "x.pth", reference.state_dict())
    convert.save(converted, tmp_path / "x.weights")
    one, other = scramble(Model(detector())), scramble(Model(detector()))
    report = convert.load_backbone(one, path)
    assert report.matched == (
        convert.load_backbone(other, tmp_path / "x.weights", source=classifier()).matched
    )
    assert same(one, other)
    assert not report.warning
    assert "'blocks.9.0.conv.weight' is" in report.stopped


def test_a_logistic_gate_is_refused_or_warned_of(reference: Reference, tmp_path: Path) -> None:
    path = saved(tmp_path / "x.pth", reference.state_dict())
    with pytest.raises(WeightsError, match=f"{OTHER_GATE}; make the cfg with gencfg --gate hard"):
        convert.load(Model(classifier(gate="logistic")), path)
    with pytest.raises(WeightsError, match=OTHER_GATE):
        convert.save(Model(classifier(gate="logistic")), tmp_path / "y.pth", kind="ghostnet")
    model = Model(detector(gate="logistic"))
    report = convert.load_backbone(model, path)
    assert OTHER_GATE in report.warning
    assert len(report.matched) == len(convert.load_backbone(Model(detector()), path).matched)
    expand = reference.get_submodule("blocks.3.0.se.conv_expand").weight
    assert any(torch.equal(expand, tensors.get("conv.weight", expand[0])) for tensors in
               model.tensors())  # fmt: skip


def test_shared_layers_end_where_the_cfgs_part(tmp_path: Path) -> None:
    other = SMALL.replace("activation=relu", "activation=leaky").replace("[net]", "[net]\nbatch=9")
    source = scramble(Model(loads(other + "learning_rate=3\n")))
    convert.save(source, tmp_path / "x.safetensors")
    model = Model(loads(SMALL.replace("size=1\nact", "size=1\nstopbackward=1\nact"), path="a.cfg"))
    report = convert.load_backbone(model, tmp_path / "x.safetensors", source=source.network)
    assert len(report.matched) == 5
    assert report.stopped == (
        "layer 1 [convolutional] (a.cfg:13) activation=relu here, leaky there"
    )


def test_detector_to_detector_keeps_all_but_the_outputs(tmp_path: Path) -> None:
    source = scramble(Model(detector()))
    convert.save(source, tmp_path / "x.weights")
    model = Model(passes.reclass(detector(), 5))
    report = convert.load_backbone(model, tmp_path / "x.weights", source=detector())
    first = next(node.inputs[0] for node in detector() if isinstance(node.layer, Yolo))
    assert report.kept[0] == f"layers.{first}.conv.bias"


# What does not fit, and what must not be opened.


@pytest.mark.parametrize(
    ("network", "change", "message"),
    [
        (classifier(0.5), {}, "'conv_stem.weight' is 4x3x3x3, layer 0 .* needs 8x3x3x3; use the"),
        (classifier(classes=9), {}, "'classifier.weight' is 7x1280, layer .* needs 9x1280"),
        (detector(), {}, "'blocks.9.0.conv.weight' is .* or take what fits with --backbone-only"),
        (loads(SMALL), {}, "'conv_stem.weight' is 4x3x3x3, layer 0 .* needs 2x3x1x1; use the"),
        (classifier(), {"bn1.bias": None}, "holds no 'bn1.bias' for layer 0"),
        (
            classifier(),
            {"bn1.bias": torch.zeros(4, dtype=torch.int32)},
            "'bn1.bias' is torch.int32",
        ),
        (classifier(), {"extra.weight": torch.zeros(1)}, "'extra.weight' .* has no place"),
        (classifier(), {"bn1.bias": 3}, "'bn1.bias' has type int instead of Tensor"),
        (
            networks.backbone(GhostNet(width=0.25, gate="hard")),
            {},
            "the cfg ends before ghostnet's",
        ),
    ],
    ids=["width", "classes", "detector", "cfg", "missing", "whole", "extra", "number", "backbone"],
)
def test_misfits_name_the_first_tensor(
    network: Network, change: dict[str, Any], message: str, reference: Reference, tmp_path: Path
) -> None:
    states = {**reference.state_dict(), **change}
    path = saved(tmp_path / "x.pth", {k: v for k, v in states.items() if v is not None})
    model = Model(network)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(WeightsError, match=message) as caught:
        convert.load(model, path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_unknown_families_are_said_to_be_unknown(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.pth", {"stem.weight": torch.zeros(2, 3, 1, 1)})
    with pytest.raises(WeightsError, match=r"first tensor is 'stem\.weight'; known are ghostnet"):
        convert.load(Model(loads(SMALL)), path)


def test_sizes_are_those_of_the_cfg_not_of_the_file(tmp_path: Path) -> None:
    """A tensor may claim to be huge without a byte behind it."""
    huge = torch.zeros(1).expand(1 << 20, 1 << 20, 1, 1)
    path = saved(tmp_path / "x.pt", {"model": {"layers.0.conv.weight": huge}})
    with pytest.raises(WeightsError, match="is 1048576x1048576x1x1, layer 0"):
        convert.load(Model(loads(SMALL)), path)


class Bomb:
    """Runs code when a careless reader opens it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_pickles_are_not_executed(zipped: bool, tmp_path: Path) -> None:
    content = {"state_dict": {"conv_stem.weight": torch.zeros(1)}, "args": Bomb(tmp_path / "run")}
    path = tmp_path / "x.pth"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match=r"as it may run code: it asks for .*mkdir"):
        convert.load(Model(loads(SMALL)), path)
    assert not (tmp_path / "run").exists()


def test_bare_pickles_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.weights"
    path.write_bytes(pickle.dumps(Bomb(tmp_path / "run"), 2))
    with pytest.raises(WeightsError):
        convert.load(Model(loads(SMALL)), path)
    assert not (tmp_path / "run").exists()


def test_a_dict_that_contains_itself(tmp_path: Path) -> None:
    content: dict[str, Any] = {}
    content["model"] = content
    with pytest.raises(WeightsError, match="'model' has type dict instead of Tensor"):
        convert.load(Model(loads(SMALL)), saved(tmp_path / "x.pt", content))


@pytest.mark.parametrize("name", ["x.safetensors", "x.pt", "x.weights", "x.conv.2"])
def test_damaged_files_are_refused(name: str, tmp_path: Path) -> None:
    """Bytes changed, cut off or put in: a `WeightsError`, or other numbers of the same shapes."""
    model, path, random = Model(loads(SMALL)), tmp_path / name, np.random.default_rng(0)
    convert.save(model, path)
    whole = path.read_bytes()
    for turn in range(40):
        data = bytearray(whole)
        if turn % 3 == 0:
            del data[int(random.integers(len(data))) :]
        for place in random.integers(len(data) or 1, size=1 + turn % 5) if data else ():
            data[place] = int(random.integers(256))
        path.write_bytes(data)
        with suppress(WeightsError):
            convert.load(model, path)


def test_eps_is_for_foreign_weights(tmp_path: Path) -> None:
    model = Model(loads(SMALL))
    with pytest.raises(OptionError, match=r"eps 0\.001 for weights whose eps is Darknet's"):
        convert.save(model, tmp_path / "x.pt", eps=1e-3)
    convert.save(model, tmp_path / "x.weights")
    with pytest.raises(OptionError, match="leave --bn-eps out"):
        convert.load(model, tmp_path / "x.weights", eps=1e-3)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("x.onnx", convert.OWN, "does not tell the format; end it in .weights, .conv.N"),
        ("x.weights", "ghostnet", "cannot hold the names of ghostnet; end it in .safetensors"),
        ("x.conv.9", convert.OWN, "the cfg has 2 layers; end it in .conv.1 to .conv.2"),
        ("none/x.pt", convert.OWN, "cannot write: No such file"),
    ],
)
def test_places_that_cannot_be_written(name: str, kind: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(GhostyoloError, match=message):
        convert.save(Model(loads(SMALL)), tmp_path / name, kind=kind)


def test_a_file_that_is_not_what_it_is_said_to_be(tmp_path: Path) -> None:
    model = Model(loads(SMALL))
    convert.save(model, tmp_path / "x.pt")
    with pytest.raises(WeightsError, match=r"named tensors, starting with 'layers\.0"):
        convert.load(model, tmp_path / "x.pt", kind="partial")
    with pytest.raises(WeightsError, match=r"holds no 'conv_stem\.weight' for layer 0"):
        convert.load(model, tmp_path / "x.pt", kind="ghostnet")
    convert.save(model, tmp_path / "x.weights")
    with pytest.raises(WeightsError, match="holds no names, as weights of ghostnet would"):
        convert.load(model, tmp_path / "x.weights", kind="ghostnet")


def test_our_formats_need_the_source_cfg(tmp_path: Path) -> None:
    convert.save(Model(loads(SMALL)), tmp_path / "x.weights")
    with pytest.raises(WeightsError, match="give its cfg with --source-cfg"):
        convert.load_backbone(Model(loads(SMALL)), tmp_path / "x.weights")


# The command.


def test_command(
    tmp_path: Path,
    reference: Reference,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "d.cfg").write_text(dumps(detector(gate="logistic")))
    path = saved(tmp_path / "x.pth", reference.state_dict())
    words = ["convert", str(tmp_path / "d.cfg"), str(path), str(tmp_path / "d.weights")]
    assert cli.main(words) == 1
    assert OTHER_GATE in capsys.readouterr().err
    assert cli.main([*words, "--backbone-only", "--json"]) == 0
    out = capsys.readouterr()
    report = json.loads(out.out)
    assert report["source"] == "ghostnet"
    assert report["kept"]
    assert "another gate" in caplog.text
    first = (tmp_path / "d.weights").read_bytes()
    assert cli.main([*words, "--backbone-only"]) == 0
    assert f"{len(report['matched'])} of " in capsys.readouterr().out
    assert (tmp_path / "d.weights").read_bytes() == first  # what the file lacks is seeded
    model = Model(tmp_path / "d.cfg", tmp_path / "d.weights")
    head = next(node for node in model.network if isinstance(node.layer, Yolo))
    bias = model.layers[head.inputs[0]].conv.bias
    assert bias[4] < -4  # the heads begin as those of a training do


def test_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["convert", "--help"])
    assert "--backbone-only" in capsys.readouterr().out
