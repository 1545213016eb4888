"""The network in torch, against the numbers of the C program."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ghostyolo.errors import CfgError
from ghostyolo.layers.yolo import Yolo
from ghostyolo.model.model import Model
from ghostyolo.network import loads
from support import goldens, published
from support.cases import KINDS, random_input, random_model

SMALL_NET = "[net]\nwidth=16\nheight=16\nchannels=3\n"


def test_ghost_yolo_by_numbers() -> None:
    """The one public GhostNet-YOLO cfg: parameters and layers as Darknet counts them."""
    network = goldens.load(published.CFGS.get("cfg/ghost-yolo.cfg"), {"h": 256, "w": 320})
    assert len(network) == 163
    assert [node.shape for node in network if isinstance(node.layer, Yolo)] == [
        (21, 8, 10), (21, 16, 20),
    ]  # fmt: skip


def test_outputs_are_freed_after_their_last_use() -> None:
    model = random_model(next(path for path in KINDS if path.stem == "yolo"))
    x = torch.from_numpy(random_input(model.network))
    kept = model.run(x, frozenset({1}))
    assert set(kept) == {1}
    torch.testing.assert_close(kept[1], model.trace(x)[1])


@pytest.mark.parametrize(("keep", "count"), [(set(), 3), ({0}, 3), ({2}, 3), ({3}, 4)])
def test_what_has_no_effect_is_not_computed(keep: set[int], count: int) -> None:
    """A head, if only its input is kept; layers with statistics are computed in any case."""
    conv = "[convolutional]\nfilters=21\nsize=1\nactivation=linear\n"
    head = "batch_normalize=1\n[yolo]\nnum=3\nclasses=2\n"
    model, computed = Model(loads(SMALL_NET + conv + conv + conv + head)), list[int]()
    for index, layer in enumerate(model.layers):
        layer.register_forward_hook(lambda *_, index=index: computed.append(index))
    assert set(model.run(torch.zeros(1, 3, 16, 16), frozenset(keep))) == keep
    assert computed == list(range(count))


def test_forward_returns_the_heads() -> None:
    model = random_model(next(path for path in KINDS if path.stem == "yolo"))
    x = torch.from_numpy(random_input(model.network))
    trace = model.trace(x)
    for output, node in zip(model(x), (n for n, _ in model.heads), strict=True):
        torch.testing.assert_close(output, trace[node.index])


def test_trace_keeps_the_mode() -> None:
    model = random_model(KINDS[0]).train()
    before = [t.clone() for _, t in model.named_buffers()]
    model.trace(torch.from_numpy(random_input(model.network)))
    assert model.training
    assert all(torch.equal(a, b) for a, (_, b) in zip(before, model.named_buffers(), strict=True))


def test_xnor_by_hand() -> None:
    """Weights become sign times mean magnitude, inputs +1 or -1, padding -1."""
    text = "[convolutional]\nfilters=1\nsize=3\npad=1\nxnor=1\nactivation=linear\n"
    net = SMALL_NET.replace("16", "2").replace("channels=3", "channels=1")
    model = Model(loads(net + text)).eval()
    conv = model.layers[0].conv
    with torch.no_grad():
        conv.weight.copy_(torch.arange(9.0).view(1, 1, 3, 3) - 4.5)
    x = torch.tensor([[1.0, -2.0], [0.5, 3.0]]).view(1, 1, 2, 2)
    signs = np.full((4, 4), -1.0)
    signs[1:3, 1:3] = [[1, -1], [1, 1]]
    mean = np.abs(np.arange(9) - 4.5).mean()
    kernel = np.where(np.arange(9) - 4.5 > 0, mean, -mean).reshape(3, 3)
    want = [[(signs[i : i + 3, j : j + 3] * kernel).sum() for j in (0, 1)] for i in (0, 1)]
    np.testing.assert_allclose(model.trace(x)[0][0, 0].numpy(), want, rtol=1e-6)


def test_shared_weights_are_one_tensor() -> None:
    """The geometry stays each convolution's own."""
    conv = "[convolutional]\nbatch_normalize=1\nfilters=3\nsize=3\npad=1\nactivation=relu\n"
    model = Model(loads(SMALL_NET + conv + conv + "share_index=0\nstride=2\n"))
    first, second = model.layers
    assert first.conv.weight is second.conv.weight
    assert first.norm is second.norm
    assert [first.conv.stride, second.conv.stride] == [(1, 1), (2, 2)]


def test_flipped_weights_lie_inputs_first_in_the_file(tmp_path: Path) -> None:
    text = "[convolutional]\nfilters=4\nsize=3\nflipped={}\nactivation=linear\n"
    plain, flipped = (Model(loads(SMALL_NET + text.format(value))) for value in (0, 1))
    flipped.save_weights(tmp_path / "x.weights")
    plain.load_weights(tmp_path / "x.weights")
    stored = plain.layers[0].conv.weight.reshape(-1, 4).t()
    assert torch.equal(stored, flipped.layers[0].conv.weight.flatten(1))


def test_binary_output_is_activated_where_an_option_names_it() -> None:
    """Source: AlexeyAB/darknet src/parser.c, use_bin_output = 0."""
    conv = "[convolutional]\nfilters=3\nxnor=1\nbin_output=1\nactivation=relu\n"
    model = Model(loads(SMALL_NET + conv + conv + conv + "[route]\nlayers=0\n[maxpool]\n"))
    bare = [isinstance(layer.act, torch.nn.Identity) for layer in list(model.layers)[:3]]
    assert bare == [False, True, True]


def test_a_loss_is_no_result() -> None:
    model = random_model(loads(SMALL_NET + "[avgpool]\n[softmax]\n[cost]\n"))
    x = torch.from_numpy(random_input(model.network))
    assert model.output_indices == [1]
    assert not model.trace(x)[2].any()


def test_dropout_changes_the_layer_above_too() -> None:
    text = "[avgpool]\n[dropout]\nprobability=.5\n[route]\nlayers=-2\n"
    model = Model(loads(SMALL_NET.replace("channels=3", "channels=64") + text)).train()
    kept = model.run(torch.ones(1, 64, 16, 16), frozenset({1, 2}))
    assert torch.equal(kept[1], kept[2])
    assert 0 < int((kept[1] == 0).sum()) < 64


@pytest.mark.parametrize("option", ["coordconv=1", "padding=-1"])
def test_unsupported_option_is_named_at_its_section(option: str) -> None:
    text = f"{SMALL_NET}[convolutional]\n{option}\nactivation=linear\n"
    with pytest.raises(CfgError, match=rf"x\.cfg:5: \[convolutional\] {option} is not supported"):
        Model(loads(text, path="x.cfg"))
