"""Checkpoints of the families beside GhostNet, there and back."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ghostyolo import convert, gencfg
from ghostyolo.convert import named_tensors
from ghostyolo.errors import WeightsError
from ghostyolo.model.model import Model
from ghostyolo.network import Network, info, passes
from ghostyolo.zoo import networks
from ghostyolo.zoo.mobilenet import MobileNetV2
from ghostyolo.zoo.mobilenetv3 import MobileNetV3
from ghostyolo.zoo.shufflenet import ShuffleNetV2
from ghostyolo.zoo.squeezenet import SqueezeNet
from ghostyolo.zoo.state_dicts import STATE_DICTS
from ghostyolo.zoo.vgg import VGG
from support import goldens, published
from support.cases import random_model
from support.checkpoints import state_dict_by_recipe

States = dict[str, Tensor]
GOLDENS = {
    "timm.mobilenetv1_100": "mobilenetv1",
    "torchvision.mobilenet_v2": "mobilenetv2",
    "torchvision.mobilenet_v3_large": "mobilenetv3-large",
    "torchvision.resnet50": "resnet50",
    "torchvision.shufflenet_v2_x1_0": "shufflenetv2",
    "torchvision.squeezenet1_0": "squeezenet1.0",
    "torchvision.squeezenet1_1": "squeezenet1.1",
}


def classifier(family: str) -> Network:
    words = ["--task", "classify", "--family", *family.split()]
    return gencfg.build(gencfg.parser().parse_args(words), "")


def logits(model: Model, x: Tensor) -> Tensor:
    """Return what goes into the softmax."""
    return model.trace(x)[-2].flatten(1)


def saved(path: Path, states: States) -> Path:
    torch.save(states, path)
    return path


def ulps(a: Tensor, b: Tensor) -> int:
    """Return how many floats lie between two tensors at most."""
    return int((a.view(torch.int32) - b.view(torch.int32)).abs().max())


@pytest.mark.parametrize("name", GOLDENS)
def test_checkpoint_golden(name: str, tmp_path: Path) -> None:
    golden = goldens.read(published.CHECKPOINTS.get(f"{name}.json"))
    states = state_dict_by_recipe(golden)
    network = classifier(GOLDENS[name])
    assert info.totals(info.rows(network)).parameters == golden["parameters"]
    model = Model(network)
    report = convert.load(model, saved(tmp_path / "x.pth", states))
    assert (report.source, report.kept) == (GOLDENS[name], ())
    for side in (224, 320):
        x = goldens.recipe.input_tensor(1, 3, side, side)
        got, scale = logits(model, torch.from_numpy(x))[0].numpy(), golden[f"stats_{side}"][2]
        np.testing.assert_allclose(got[:64], golden[f"logits_{side}"], rtol=0, atol=1e-5 * scale)
        stats = [got.mean(), got.std(), np.abs(got).max()]
        np.testing.assert_allclose(stats, golden[f"stats_{side}"], rtol=0, atol=1e-3 * scale)
    convert.save(model, tmp_path / "back.pth", kind=report.source)
    back = named_tensors.read(tmp_path / "back.pth").tensors
    assert back.keys() == states.keys()
    for key, value in states.items():
        rounded = "fc2" in key or (golden["bn_eps"] == [0.001] and key.endswith("running_var"))
        assert ulps(back[key], value) <= int(rounded), key


# The same, told apart from the zoo's code: as plain functions of a state dict.


def conv_norm(states: States, conv: str, norm: str, x: Tensor, **options: int) -> Tensor:
    weight = states[f"{conv}.weight"]
    pad = weight.shape[2] // 2
    x = F.conv2d(x, weight, states.get(f"{conv}.bias"), padding=pad, **options)
    mean, var = (states[f"{norm}.running_{part}"] for part in ("mean", "var"))
    return F.batch_norm(x, mean, var, states[f"{norm}.weight"], states[f"{norm}.bias"], eps=1e-5)


def linear(states: States, name: str, x: Tensor) -> Tensor:
    return F.linear(x, states[f"{name}.weight"], states[f"{name}.bias"])


def shufflenet(states: States, x: Tensor) -> Tensor:
    """ShuffleNetV2 with torchvision's names, whatever its width."""

    def branch(name: str, x: Tensor, first: int, stride: int) -> Tensor:
        if first:
            x = conv_norm(states, f"{name}.0", f"{name}.1", x).relu()
        dw, pw = (3, 5) if first else (0, 2)
        c = x.shape[1]
        x = conv_norm(states, f"{name}.{dw}", f"{name}.{dw + 1}", x, stride=stride, groups=c)
        return conv_norm(states, f"{name}.{pw}", f"{name}.{pw + 1}", x).relu()

    x = conv_norm(states, "conv1.0", "conv1.1", x, stride=2).relu()
    x = F.max_pool2d(x, 3, 2, 1)
    for level, units in enumerate((4, 8, 4), start=2):
        for unit in range(units):
            name = f"stage{level}.{unit}.branch"
            if unit:
                passed, read = x.chunk(2, 1)
                made = branch(f"{name}2", read, 1, 1)
            else:
                passed, made = branch(f"{name}1", x, 0, 2), branch(f"{name}2", x, 1, 2)
            x = torch.stack([passed, made], 2).flatten(1, 2)
    x = conv_norm(states, "conv5.0", "conv5.1", x).relu()
    return linear(states, "fc", x.mean((2, 3)))


SMALL = (
    (16, 1, 0, 2), (72, 0, 0, 2), (88, 0, 0, 1), (96, 1, 1, 2), (240, 1, 1, 1), (240, 1, 1, 1),
    (120, 1, 1, 1), (144, 1, 1, 1), (288, 1, 1, 2), (576, 1, 1, 1), (576, 1, 1, 1),
)  # fmt: skip


def mobilenet_v3_small(states: States, x: Tensor) -> Tensor:
    """MobileNetV3 small with torchvision's names: squeezed, hard swish, stride of each block."""
    x = F.hardswish(conv_norm(states, "features.0.0", "features.0.1", x, stride=2))
    for number, (_, se, hard, stride) in enumerate(SMALL, start=1):
        name, act, y = f"features.{number}.block", F.hardswish if hard else F.relu, x
        places = iter(range(4))
        if number > 1:
            k = next(places)
            y = act(conv_norm(states, f"{name}.{k}.0", f"{name}.{k}.1", y))
        k, c = next(places), y.shape[1]
        y = act(conv_norm(states, f"{name}.{k}.0", f"{name}.{k}.1", y, stride=stride, groups=c))
        if se:
            k = next(places)
            fc1, fc2 = (
                (states[f"{name}.{k}.fc{i}.weight"], states[f"{name}.{k}.fc{i}.bias"])
                for i in (1, 2)
            )
            gate = F.conv2d(F.conv2d(y.mean((2, 3), keepdim=True), *fc1).relu(), *fc2)
            y = y * F.hardsigmoid(gate)
        k = next(places)
        y = conv_norm(states, f"{name}.{k}.0", f"{name}.{k}.1", y)
        x = x + y if x.shape == y.shape else y
    x = F.hardswish(conv_norm(states, "features.12.0", "features.12.1", x)).mean((2, 3))
    return linear(states, "classifier.3", F.hardswish(linear(states, "classifier.0", x)))


def vgg11(states: States, x: Tensor) -> Tensor:
    """The convolutions of VGG-11 with torchvision's names."""
    place = 0
    for count in (1, 1, 2, 2, 2):
        for _ in range(count):
            x = conv_norm(states, f"features.{place}", f"features.{place + 1}", x).relu()
            place += 3
        x, place = F.max_pool2d(x, 2), place + 1
    return x


OTHERS: dict[str, Callable[[States, Tensor], Tensor]] = {
    "shufflenetv2 --width 0.5": shufflenet,
    "shufflenetv2 --width 1.5": shufflenet,
    "mobilenetv3-small": mobilenet_v3_small,
    "mobilenetv3-small --width 0.5": mobilenet_v3_small,
}


@pytest.mark.parametrize("words", OTHERS)
def test_ours_is_theirs(words: str, tmp_path: Path) -> None:
    """Our numbers under their names compute the same in their network, and come back the same."""
    model = random_model(classifier(words))
    kind = words.split()[0]
    convert.save(model, tmp_path / "x.pth", kind=kind, eps=1e-5)
    states, x = named_tensors.read(tmp_path / "x.pth").tensors, torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        want = OTHERS[words](states, x)
        got = logits(model, x)
    assert (got - want).abs().max() < 1e-5 * want.abs().max()
    back = Model(model.network)
    assert convert.load(back, tmp_path / "x.pth", eps=1e-5).source == kind
    mine, again = model.state_dict(), back.state_dict()
    for key, value in mine.items():
        assert key.endswith("tracked") or ulps(value, again[key]) <= 1, key


def test_bias_before_batch_norm_goes_into_its_mean(tmp_path: Path) -> None:
    network = networks.backbone(VGG(11), size=(64, 64))
    states, torch_rng = {}, torch.Generator().manual_seed(0)
    for layer in STATE_DICTS["vgg11"].layers([]):
        if not layer.norm:
            continue
        place = len(states) // 6
        out, inputs = ((64, 3), (128, 64), (256, 128), (256, 256), (512, 256), (512, 512),
                       (512, 512), (512, 512))[place]  # fmt: skip
        for name, shape in (
            (f"{layer.conv}.weight", (out, inputs, 3, 3)),
            *((f"{layer.conv}.bias", (out,)),),
            *((f"{layer.norm}.{part}", (out,)) for part in
              ("weight", "bias", "running_mean", "running_var")),
        ):  # fmt: skip
            bound = (3 / prod(shape[1:])) ** 0.5 if len(shape) > 1 else 1
            low = 0.5 if name.endswith("var") else -bound
            states[name] = torch.empty(shape).uniform_(low, bound, generator=torch_rng)
    model = Model(network).eval()
    report = convert.load_backbone(model, saved(tmp_path / "x.pth", states))
    assert (report.source, report.kept) == ("vgg11", ())
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        want = vgg11(states, x)
        assert (model(x)[-1] - want).abs().max() < 1e-5 * want.abs().max()


def test_vgg_without_batch_norm(tmp_path: Path) -> None:
    """Torchvision's features are one row of convolutions, activations and poolings."""
    rows: list[nn.Module] = []
    c = 3
    for width in (64, 128, 256, 512, 512):
        for _ in range(2):
            rows += [nn.Conv2d(c, width, 3, padding=1), nn.ReLU()]
            c = width
        rows.append(nn.MaxPool2d(2))
    theirs = nn.Sequential(*rows).eval()
    states = {f"features.{key}": value for key, value in theirs.state_dict().items()}
    network = networks.backbone(VGG(13, "none"), size=(32, 32))
    model = Model(network).eval()
    report = convert.load_backbone(model, saved(tmp_path / "x.pth", states))
    assert (report.source, report.kept) == ("plain-vgg13", ())
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        want = theirs(x)
        assert (model(x)[-1] - want).abs().max() < 1e-5 * want.abs().max()
    normed = Model(networks.backbone(VGG(13), size=(32, 32)))
    with pytest.raises(WeightsError, match=r"batch norm, plain-vgg13's features\.0 has a bias"):
        convert.load_backbone(normed, tmp_path / "x.pth")


def test_state_dicts_are_told_apart() -> None:
    """No family's names lie within another's: the fullest match is the right one."""
    keys = {name: foreign.keys for name, foreign in STATE_DICTS.items()}
    for name, own in keys.items():
        assert all(len(own & other) < len(own) for kind, other in keys.items() if kind != name
                   and not kind.startswith("resnet")), name  # fmt: skip


@pytest.mark.parametrize("kind", ["shufflenetv2", "timm-mobilenetv3-small", "timm-mobilenetv2"])
def test_there_and_back_at_another_width(kind: str, tmp_path: Path) -> None:
    family = kind.removeprefix("timm-")
    model = random_model(classifier(f"{family} --width 0.5"))
    convert.save(model, tmp_path / "x.safetensors", kind=kind)
    back = Model(model.network)
    assert convert.load(back, tmp_path / "x.safetensors").source == kind
    again = back.state_dict()
    for key, value in model.state_dict().items():
        assert key.endswith("tracked") or ulps(value, again[key]) <= 1, key


@pytest.mark.parametrize(
    ("words", "kind", "message"),
    [
        (
            "mobilenetv2 --activation relu",
            "mobilenetv2",
            r"activation=relu, mobilenetv2's is relu6",
        ),
        ("mobilenetv3-small --activation swish", "mobilenetv3-small", "activation=swish, .* relu"),
        ("mobilenetv3-small --gate logistic", "mobilenetv3-small", "has another gate"),
        ("mobilenetv3-large", "mobilenetv3-small", "the cfg|comes after|has"),
        ("shufflenetv2", "mobilenetv2", "batch norm|relu"),
    ],
)
def test_another_function_is_refused(words: str, kind: str, message: str, tmp_path: Path) -> None:
    model = Model(classifier(words))
    with pytest.raises(WeightsError, match=message):
        convert.save(model, tmp_path / "x.pth", kind=kind)


def test_another_activation_is_warned_of(tmp_path: Path) -> None:
    source = random_model(networks.classifier(MobileNetV2(0.25), classes=4, size=(64, 64)))
    convert.save(source, tmp_path / "x.pth", kind="mobilenetv2")
    family = MobileNetV2(0.25, activation="relu")
    model = Model(networks.detector(family, classes=3, size=(64, 64)))
    report = convert.load_backbone(model, tmp_path / "x.pth")
    assert "activation=relu, mobilenetv2's is relu6" in report.warning
    assert report.kept and len(report.matched) > 200
    same = Model(networks.detector(MobileNetV2(0.25), classes=3, size=(64, 64)))
    assert not convert.load_backbone(same, tmp_path / "x.pth").warning


def test_squeezenet_for_detection_takes_the_published_weights(tmp_path: Path) -> None:
    source = random_model(networks.classifier(SqueezeNet("1.0"), classes=4, size=(64, 64)))
    convert.save(source, tmp_path / "x.pth", kind="squeezenet1.0")
    network = networks.detector(SqueezeNet("1.0"), classes=3, size=(64, 64))
    assert "padded, unlike the published" in network.comment
    report = convert.load_backbone(Model(network), tmp_path / "x.pth")
    assert len(report.matched) == len(source.state_dict()) - 2  # all but the classifier's


def test_wider_shufflenet_is_a_misfit(tmp_path: Path) -> None:
    source = random_model(networks.classifier(ShuffleNetV2(1.0), classes=4))
    convert.save(source, tmp_path / "x.pth", kind="shufflenetv2")
    model = Model(networks.classifier(ShuffleNetV2(0.5), classes=4))
    with pytest.raises(WeightsError, match=r"'stage2\.0\.branch1\.2\.weight' is 58x24x1x1, layer"):
        convert.load(model, tmp_path / "x.pth")


def test_training_reaches_every_weight() -> None:
    """Through the products and clamps of a hard swish, and the pieces of a shuffle."""
    for family in (MobileNetV3(0.25, "small"), ShuffleNetV2(0.5)):
        model = random_model(networks.backbone(family, size=(32, 32))).train()
        model(torch.rand(4, 3, 32, 32))[-1].square().sum().backward()
        for name, parameter in model.named_parameters():
            assert isinstance(parameter, nn.Parameter)
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_a_resized_classifier_is_the_same_network() -> None:
    model = random_model(classifier("mobilenetv3-small --width 0.25"))
    other = Model(passes.resize(model.network, (96, 64)))
    other.load_state_dict(model.state_dict())
    x = torch.rand(1, 3, 96, 64)
    with torch.no_grad():
        assert torch.equal(logits(model, x), logits(other.eval(), x))
