"""A trained network's weights in its ghost version: orders, what is picked, what is fitted."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ghostyolo import cli
from ghostyolo.ghostify import GhostOptions, calibration, ghostify
from ghostyolo.ghostify.channel_order import ChannelOrders, choose_intrinsic, origins
from ghostyolo.ghostify.least_squares import (
    fit_kernels,
    layer_samples,
    samples,
    weight_correction,
)
from ghostyolo.ghostify.options import split
from ghostyolo.ghostify.rewrite import Ghostified
from ghostyolo.ghostify.weight_transfer import Transfer, transfer
from ghostyolo.layers.convolutional import Convolutional
from ghostyolo.model.model import Model
from ghostyolo.network import IMAGE, Network, dumps, load, passes
from ghostyolo.network.net_options import NetOptions
from ghostyolo.zoo.blocks import add, concat, conv
from support import tiny
from support.cases import GENERATED, KINDS, random_input, random_model

VOC = next(path for path in GENERATED if path.stem == "ghostnet-0.5-voc")


def unchanged(network: Network) -> Ghostified:
    """Return a rewriting that replaces nothing."""
    places = {index: index for index in range(-1, len(network))}
    return Ghostified(network, passes.rebuild(network), GhostOptions(), places)


@pytest.mark.parametrize("path", [*KINDS, VOC], ids=lambda path: path.stem)
def test_channels_in_another_order_compute_the_same(path: Path) -> None:
    """Every order that is free is shuffled; each output must be the old one, shuffled.

    A convolution after the last layer frees the order of the last layer too.
    """
    network = load(path)
    network.add(Convolutional(filters=5, activation="relu"), network[-1])
    if path is VOC:
        network = passes.resize(network, (64, 64))
    old, new = random_model(network), Model(passes.rebuild(network)).eval()
    orders, rng = ChannelOrders(network), np.random.default_rng(0)
    free = {
        number: size
        for node in network
        for number, size in orders.parts(node.index)
        if not orders.is_fixed(number)
    }
    shuffled = {number: rng.permutation(size) for number, size in free.items()}
    x = torch.from_numpy(random_input(network))
    pair = Transfer(old, new, unchanged(network), orders, shuffled)
    with torch.no_grad():
        list(pair.run(x))
    for node, a, b in zip(network, old.trace(x), new.trace(x), strict=True):
        a = a[:, pair.permutation(node.index)]
        assert (a - b).abs().max() <= 2e-4 * a.abs().max().clamp(min=1e-6), node.index
    if path is VOC:
        assert len(free) > 20


def test_what_keeps_an_order() -> None:
    network = Network(NetOptions(width=8, height=8, channels=3))
    a = conv(network, IMAGE, 8, 3)
    b = conv(network, a, 8, 3)
    c = add(network, b, a)
    d = conv(network, c, 4, 3)
    e = concat(network, d, c)
    network.add(Convolutional(filters=12, groups=3, activation="relu"), e)
    orders = ChannelOrders(network)
    assert orders.parts(a.index) == orders.parts(b.index) == orders.parts(c.index)
    assert orders.parts(e.index) == orders.parts(d.index) + orders.parts(c.index)
    assert all(orders.is_fixed(number) for number, _ in orders.parts(e.index)), "grouped reader"


@pytest.mark.parametrize("first, second", [(8, 1), (1, 8), (8, 6)])
def test_a_sum_of_some_channels_knows_them_by_number(first: int, second: int) -> None:
    network = Network(NetOptions(width=8, height=8, channels=3))
    a = conv(network, IMAGE, second, 3)
    b = conv(network, a, first, 3)
    conv(network, add(network, b, a), 4)
    orders = ChannelOrders(network)
    parts = [part for index in range(3) for part in orders.parts(index)]
    assert [size for _, size in parts] == [second, first, first]
    assert all(orders.is_fixed(number) for number, _ in parts)


@pytest.mark.parametrize("n, ratio", [(4, 2), (6, 2), (6, 3), (7, 3), (5, 2)])
def test_choose_intrinsic_is_near_the_best(n: int, ratio: int) -> None:
    """Against all orders: never better, and within a third of the way to the worst."""
    parts, rng = split(n, ratio), np.random.default_rng(n)
    source = origins(parts)[parts.primary :]
    assert len(source) == parts.cheap

    def loss(errors: np.ndarray, order: np.ndarray) -> float:
        return float(errors[order[source], order[parts.primary :]].sum())

    for _ in range(4):
        errors = rng.random((n, n))
        order = choose_intrinsic(errors, parts)
        assert sorted(order) == list(range(n))
        every = [loss(errors, np.array(p)) for p in itertools.permutations(range(n))]
        assert loss(errors, order) <= min(every) + (max(every) - min(every)) / 3


def test_choose_intrinsic_finds_twins() -> None:
    rng = np.random.default_rng(0)
    twins = rng.permutation(64).reshape(32, 2)
    errors = rng.uniform(0.5, 1, (64, 64))
    errors[twins[:, 0], twins[:, 1]] = errors[twins[:, 1], twins[:, 0]] = 0.01
    order = choose_intrinsic(errors, split(64, 2))
    found = {frozenset(pair) for pair in order.reshape(2, 32).T.tolist()}
    assert found == {frozenset(pair) for pair in twins.tolist()}


@pytest.mark.parametrize("act", [torch.relu, lambda z: F.leaky_relu(z, 0.1), F.mish])
def test_kernels_are_found_through_the_activation(act: object) -> None:
    assert callable(act)
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(2, 3, 16, 16, generator=generator)
    kernels = torch.randn(4, 1, 3, 3, generator=generator)
    source = torch.tensor([0, 0, 2, 1])
    bias = torch.tensor([0.1, -0.5, 0.0, -1.0])
    wanted = F.conv2d(maps[:, source], kernels, bias, padding=1, groups=4)
    windows, _ = samples(maps, maps, 3)
    # Below zero ReLU forgets how far: other targets there must not matter.
    targets = wanted.permute(0, 2, 3, 1).flatten(0, 2)
    if act is torch.relu:
        targets = torch.where(targets < 0, 3 * targets, targets)
    taps, found = fit_kernels(windows, targets, source, act)
    got = torch.einsum("sfk,fk->sf", windows[:, source], taps) + found
    error = (act(got) - act(targets)).square().mean(0) / act(targets).var(0).clamp(min=1e-3)
    assert error.max() < 1e-3


def test_correction_makes_up_for_a_changed_input() -> None:
    generator = torch.Generator().manual_seed(0)
    layer = torch.nn.Conv2d(4, 6, 3, stride=2, padding=1)
    x = torch.randn(4, 4, 20, 20, generator=generator)
    changed = x * torch.tensor([1.0, 0.5, 2.0, -1.0]).view(1, 4, 1, 1)
    with torch.no_grad():
        wanted = layer(x)
        before = (layer(changed) - wanted).square().mean()
        layer.weight += weight_correction(
            *layer_samples(changed, wanted - layer(changed), layer)
        ).view_as(layer.weight)
        after = (layer(changed) - wanted).square().mean()
    assert after < 0.01 * before


def redundant(seed: int = 0) -> Model:
    """Return a trained-like model: in each layer every map has a twin, the places shuffled."""
    network = Network(NetOptions(width=32, height=32, channels=3))
    a = conv(network, IMAGE, 8, 3, name="a")
    b = conv(network, a, 8, 3, name="b")
    c = add(network, b, a, name="c")
    d = conv(network, c, 12, 3, stride=2, name="d")
    conv(network, d, 5, norm=False, activation="linear", name="out")
    model = random_model(network, seed)
    rng = np.random.default_rng(seed)
    twins = rng.permutation(8)
    with torch.no_grad():
        for index, places in ((0, twins), (1, twins), (3, rng.permutation(12))):
            half = len(places) // 2
            one, two = torch.from_numpy(places[:half]), torch.from_numpy(places[half:])
            for name, tensor in model.tensors()[index].items():
                if tensor.dim():
                    tensor[two] = tensor[one] * (0.5 if name[-4:] in ("ight", "bias") else 1)
            weight = model.layers[index].conv.weight
            weight[two] = weight[one]
    return model


def test_redundant_network_is_kept_whole() -> None:
    old = redundant()
    done = ghostify(old.network, GhostOptions(select=("all",), keep=("out",)))
    x = torch.from_numpy(random_input(old.network, 8))
    new, kept = transfer(old, done, x)
    assert [row.index for row in kept if row.ghost] == [0, 1, 3]
    assert all(row.ordered for row in kept if row.ghost)
    assert max(row.error for row in kept) < 1e-3
    unseen = torch.from_numpy(random_input(old.network, 4, seed=9))
    a, b = old(unseen)[0], new(unseen)[0]
    assert (a - b).square().mean() < 1e-3 * a.var()


def test_descent_finds_more_than_its_start() -> None:
    """On pictures that it has not seen, too, and where maps have no twins."""
    network = Network(NetOptions(width=32, height=32, channels=3))
    x = IMAGE
    for filters in (8, 12, 16):
        x = conv(network, x, filters, 3)
    old = random_model(network, 3)
    done = ghostify(network, GhostOptions(select=("all",)))
    seen, unseen = (torch.from_numpy(random_input(network, 16, seed=seed)) for seed in (1, 2))
    lost, told = [], list[int]()
    for steps in (0, 100):
        new, kept = transfer(
            old, done, seen, steps=steps, progress=lambda done, _: told.append(done)
        )
        with torch.no_grad():
            error = float((new(unseen)[0] - old(unseen)[0]).square().mean())
        lost.append((sum(row.error for row in kept if row.ghost), error))
    assert lost[1][0] < 0.9 * lost[0][0]
    assert lost[1][1] < 0.9 * lost[0][1]
    assert told[-1] == 3


def test_training_goes_on_from_the_same_outputs() -> None:
    """In training, batch norms take the batch's statistics; those of the fit are the same."""
    old = redundant()
    done = ghostify(old.network, GhostOptions(select=("b", "d")))
    x = torch.from_numpy(random_input(old.network, 8))
    new, _ = transfer(old, done, x)
    with torch.no_grad():
        cheap = new.layers[done.ghosts[1].convolutions[1]]
        maps = new.trace(x)[done.ghosts[1].convolutions[0]].clone()
        still = cheap(maps)
        moving = cheap.train()(maps)
    assert (still - moving).abs().max() < 1e-2 * still.abs().max()


def test_made_up_pictures_are_smooth() -> None:
    network = passes.resize(load(VOC), (64, 96))
    x = calibration.synthetic_pictures(network, np.random.default_rng(0))
    assert x.shape == (calibration.MOST, *network.options.shape)
    assert x.min() >= 0 and x.max() <= 1 and 0.1 < x.std() < 0.3
    assert (x[..., 1:] - x[..., :-1]).std() < 0.75 * x.std(), "white noise has 1.41"


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cfg = tiny.write(tmp_path)
    tiny.eager_weights(tmp_path)
    folder = tiny.pictures(tmp_path / "data")
    words = ["ghostify", str(cfg), "-o", str(tmp_path / "g.cfg")]
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(cfg, run / "model.cfg")
    shutil.copy(tmp_path / "tiny.weights", run / "best.weights")
    fit = ["--from-weights", str(run)]
    fit += ["--weights-out", str(tmp_path / "g.weights")]
    photos = ["--calibrate", str(folder / "JPEGImages")]
    assert cli.main(words + fit + photos) == 0
    said = capsys.readouterr().out
    assert "lost variance of the maps: " in said
    taught = said.split("to win back what is lost: ghostyolo ")[1].split()
    taught[taught.index("DATA")] = str(folder)
    assert cli.main([*taught, "--project", str(tmp_path), "--val-split", "none"]) == 0
    first = (tmp_path / "g.weights").read_bytes()
    Model(load(tmp_path / "g.cfg"), tmp_path / "g.weights")
    assert cli.main(words + fit + photos) == 0
    assert (tmp_path / "g.weights").read_bytes() == first, "the same again"
    assert cli.main(words + fit) == 0, "made-up pictures"
    capsys.readouterr()
    for bad in (fit[:2], fit[2:], photos):
        assert cli.main(words + bad) == 1
        assert "go together" in capsys.readouterr().err
    assert dumps(load(tmp_path / "g.cfg")).count("groups=4") == 1
