"""Ghosts among feature maps: those that are made must be found, and no others."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ghostyolo import cli
from ghostyolo.ghostify import ghost_maps, ghost_maps_figure, least_squares
from ghostyolo.layers.convolutional import Convolutional
from ghostyolo.network import IMAGE, Network, Node, load
from ghostyolo.network.net_options import NetOptions
from ghostyolo.zoo.blocks import conv
from support import tiny
from support.cases import GENERATED

VOC = next(path for path in GENERATED if path.stem == "ghostnet-0.5-voc")


def node(channels: int, side: int = 24) -> Node:
    network = Network(NetOptions(width=side, height=side, channels=3))
    return conv(network, IMAGE, channels, name="maps")


def maps_with_ghosts() -> Tensor:
    """Return 8 maps: 0 to 3 noise, 4 and 5 images of 0 and 1, 6 of 2 with noise, 7 dead."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 8, 24, 24, generator=generator)
    kernels = torch.randn(3, 1, 3, 3, generator=generator)
    maps[:, 4:7] = F.conv2d(maps[:, :3], kernels, padding=1, groups=3)
    noise = torch.randn(2, 24, 24, generator=generator)
    maps[:, 6] += 0.5 * maps[:, 6].std() * noise
    maps[:, 7] = 3.0
    return maps


def test_what_is_an_image_is_found() -> None:
    found = ghost_maps.find_ghosts(node(8), maps_with_ghosts())
    pairs = {(pair.source, pair.map): pair.error for pair in found.ghost_pairs(0.3)}
    assert {(0, 4), (1, 5), (2, 6)} == set(pairs)
    assert pairs[0, 4] < 1e-4 and pairs[1, 5] < 1e-4
    assert pairs[2, 6] == pytest.approx(0.2, abs=0.03), "0.25 / 1.25 is noise"
    assert (found.dead, found.ghosts(0.3), found.ghosts(1e-3)) == (1, 3, 2)


def test_pairwise_is_least_squares() -> None:
    maps = maps_with_ghosts()[:1, :4]
    errors = least_squares.pairwise(maps)
    padded = F.pad(maps[0], [1] * 4).numpy()
    columns = [padded[2, i : i + 24, j : j + 24].ravel() for i in range(3) for j in range(3)]
    a = np.stack([*columns, np.ones(576)], 1)
    y = maps[0, 3].numpy().ravel()
    _, residual, _, _ = np.linalg.lstsq(a, y, rcond=None)
    assert float(errors[2, 3]) == pytest.approx(residual[0] / ((y - y.mean()) ** 2).sum(), abs=1e-4)
    assert errors.diagonal().max() < 1e-4


def test_larger_kernels_miss_less() -> None:
    maps = maps_with_ghosts()
    pair = ghost_maps.MapPair(map=6, source=2, error=0, mse=0)
    errors = list(ghost_maps.mse_by_kernel(maps, pair).values())
    assert errors == sorted(errors, reverse=True)
    span = float(maps[:, 6].amax() - maps[:, 6].amin())
    noise = float((ghost_maps.linear_image(maps, 2, 6) - maps[:, 6]).var(correction=0))
    assert errors[1] == pytest.approx(noise / span**2, rel=1e-3)


def test_samples_see_every_column() -> None:
    maps = torch.arange(96.0).repeat(2, 1, 96, 1)
    _, seen = least_squares.samples(maps, maps, 3)
    assert len(seen.unique()) == 96
    assert len(seen) <= least_squares.PAIR_PIXELS


def test_candidates_are_wholes() -> None:
    network = load(VOC)
    found = ghost_maps.candidates(network)
    assert {node.index for node in found} & {3, 5}, "joined maps of ghost modules"
    for node in found:
        assert node.layer.kind in ("convolutional", "route")
    heads = {node.inputs[0] for node in network if node.layer.kind == "yolo"}
    assert not heads & {node.index for node in found}


def test_worthwhile_are_those_with_ghosts() -> None:
    network = Network(NetOptions(width=24, height=24, channels=3))
    x = conv(network, IMAGE, 8, 3)
    x = conv(network, x, 8, 3)
    conv(network, x, 8, 3)
    assert isinstance(x.layer, Convolutional)
    maps = maps_with_ghosts()
    layers = [ghost_maps.find_ghosts(network[index], maps) for index in (0, 1)]
    layers.append(ghost_maps.find_ghosts(network[2], torch.randn(1, 8, 24, 24)))
    assert ghost_maps.worth_replacing(network, layers, 0.3) == []
    maps[:, 7] = maps[:, 3].roll(1, -1)
    maps += 0.02 * torch.randn(maps.shape, generator=torch.Generator().manual_seed(1))
    layers[:2] = [ghost_maps.find_ghosts(network[index], maps) for index in (0, 1)]
    assert ghost_maps.worth_replacing(network, layers, 0.3) == [1], "0 is the stem, 2 is noise"
    assert [layer.index for layer in ghost_maps.most_redundant(layers, 0.3, 2)] == [0, 1]


def test_most_redundant_layers() -> None:
    """Large maps before small ones with more ghosts; but not without any ghost."""

    def layer(index: int, ghosts_: int, pixels: int) -> ghost_maps.LayerGhosts:
        pairs = [ghost_maps.MapPair(k, 9, 0.01 if k < ghosts_ else 0.5, 0.1) for k in range(8)]
        return ghost_maps.LayerGhosts(index, "", 10, tuple(pairs), 0, pixels)

    layers = [layer(0, 8, 100), layer(1, 2, 6400), layer(2, 0, 6400), layer(3, 3, 1600)]
    for most, want in ((1, [3]), (2, [1, 3]), (3, [0, 1, 3]), (4, [0, 1, 2, 3])):
        assert [found.index for found in ghost_maps.most_redundant(layers, 0.1, most)] == want


def test_pairs_are_drawn_by_likeness() -> None:
    """An inverted map is a ghost, and the last to be shown."""
    maps = torch.rand(1, 4, 40, 40, generator=torch.Generator().manual_seed(0))
    maps[:, 1] = -maps[:, 0]
    maps[:, 3] = maps[:, 2] + 0.1 * torch.rand(1, 40, 40)
    network = Network(NetOptions(width=40, height=40, channels=3))
    layer = ghost_maps.find_ghosts(conv(network, IMAGE, 4, 3), maps)
    assert layer.ghost_pairs()[0].error < 1e-6
    found = ghost_maps.GhostMaps((layer,), (layer,), {0: maps}, (), 0.1, 3)
    drawn = ghost_maps_figure.pairs_to_draw(layer, found)
    assert [{pair.source, pair.map} for pair in drawn] == [{2, 3}, {0, 1}]


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cfg = tiny.write(tmp_path, ("stride=4", "stride=1"))
    from ghostyolo.model.model import Model

    torch.manual_seed(0)
    weights = tmp_path / "x.weights"
    Model(load(cfg)).save_weights(weights)
    image = tmp_path / "x.png"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    cv2.imwrite(str(image), cv2.GaussianBlur(noise, (0, 0), 3))
    words = ["ghosts", str(cfg), str(weights), str(image)]
    out = tmp_path / "ghosts.png"
    assert cli.main([*words, "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "MSE of maps in [0, 1] by kernel" in text
    drawn = cv2.imread(str(out))
    assert drawn.shape[1] > 900 and drawn.std() > 10
    assert cli.main([*words, "--json", "--layer", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [layer["index"] for layer in found["layers"]] == [1]
    for bad, message in (
        (["--layer", "9"], "--layer 9: no layer with several maps"),
        (["--dw", "2"], "--dw 2; use an odd kernel"),
        (["--out", "x.jpg"], "name a .png file"),
    ):
        assert cli.main(words + bad) == 1
        assert message in capsys.readouterr().err
