"""Every kind's case is held to every invariant."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from cases import GENERATED, KINDS, departure, noted_shapes, random_input, random_model
from opencv import needs_importer
from opencv import read as read_by_opencv
from torch.utils.flop_counter import FlopCounterMode

from ghostyolo import info, layers
from ghostyolo.layers.options import edits, nearest, write
from ghostyolo.model import Model
from ghostyolo.network import dumps, load, loads
from ghostyolo.weights import file_size

cases = pytest.mark.parametrize("path", KINDS, ids=lambda path: path.stem)


def test_every_kind_has_a_case() -> None:
    used = {node.layer.kind for path in KINDS for node in load(path)}
    assert used == {kind.names[0] for kind in layers.KINDS.values()}


def test_every_activation_has_a_case() -> None:
    used = {getattr(node.layer, "activation", None) for path in KINDS for node in load(path)}
    assert used >= set(layers.ACTIVATIONS)


@cases
def test_shapes_are_as_noted(path: Path) -> None:
    assert [tuple(node.shape) for node in load(path)] == noted_shapes(path)


@cases
def test_text_round_trip(path: Path) -> None:
    network = load(path)
    assert loads(dumps(network)) == network
    assert dumps(loads(dumps(network))) == dumps(network)


@cases
def test_module_computes_the_declared_shape(path: Path) -> None:
    model = random_model(path)
    outputs = model.trace(torch.from_numpy(random_input(model.network, 2)))
    shapes = [tuple(out.shape) for out in outputs]
    assert shapes == [(2, *node.shape) for node in model.network]
    assert all(torch.isfinite(out).all() for out in outputs)


@cases
def test_module_has_exactly_the_stored_tensors(path: Path) -> None:
    model = random_model(path)
    for node, tensors in zip(model.network, model.tensors(), strict=True):
        stored = dict(node.layer.weights(*model.network.input_shapes(node)))
        shapes = {n: tuple(t.shape) for n, t in tensors.items() if "num_batches" not in n}
        assert shapes == stored


@cases
def test_batch_equals_single_pictures(path: Path) -> None:
    model = random_model(path)
    x = torch.from_numpy(random_input(model.network, 3))
    together, alone = model.trace(x), model.trace(x[1:2])
    for many, one in zip(together, alone, strict=True):
        torch.testing.assert_close(many[1:2], one, rtol=1e-4, atol=1e-5)


@cases
def test_weights_file_round_trip(path: Path, tmp_path: Path) -> None:
    model, other = random_model(path), Model(load(path))
    model.seen = 123456789012
    model.save_weights(tmp_path / "x.weights")
    assert (tmp_path / "x.weights").stat().st_size == file_size(model.network)
    other.load_weights(tmp_path / "x.weights")
    assert other.seen == model.seen
    for (name, want), got in zip(
        model.state_dict().items(), other.state_dict().values(), strict=True
    ):
        assert torch.equal(want, got), name


@pytest.mark.parametrize(
    "path", [*KINDS, *(path for path in GENERATED if "1.0" in path.stem)], ids=lambda p: p.stem
)
def test_multiply_adds_equal_torch_counter(path: Path) -> None:
    model = random_model(path)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.from_numpy(random_input(model.network)))
    assert counter.get_total_flops() == 2 * info.totals(info.rows(model.network)).macs


@needs_importer
@pytest.mark.parametrize("name", ["pooling", "route", "scale_channels"])
def test_last_output_equals_opencv(name: str, tmp_path: Path) -> None:
    path = next(path for path in KINDS if path.stem == name)
    text = path.read_text()
    if name == "pooling":  # OpenCV has no maxpool_depth and no local_avgpool
        text = text.replace("# -> 4x3x4\n[local_avgpool]\nsize=3\nstride=1\n", "")
        text = text.replace("# -> 2x3x4\n[maxpool]\nmaxpool_depth=1\nout_channels=2\n", "")
    if name == "scale_channels":  # nor scale_wh
        text = text[: text.index("# -> 1x12x16")]
    model = random_model(loads(text))
    x = random_input(model.network)
    net = read_by_opencv(model, tmp_path)
    net.setInput(x)
    got = net.forward(net.getUnconnectedOutLayersNames()[-1])
    want = model.trace(torch.from_numpy(x))[-1].numpy()
    assert departure(got.reshape(want.shape), want) < 1e-4, cv2.__version__


def test_activations_by_hand() -> None:
    """Values of Darknet's C functions at -2.5, -.5, .5 and 7.5."""
    from ghostyolo import ops

    x = torch.tensor([-2.5, -0.5, 0.5, 7.5]).view(1, 4, 1, 1)
    want = {
        "logistic": [0.0758582, 0.377541, 0.622459, 0.999447],
        "elu": [-0.917915, -0.393469, 0.5, 7.5],
        "gelu": [-0.0150844, -0.154286, 0.345714, 7.5],
        "ramp": [-0.25, -0.05, 0.55, 8.25],
        "plse": [0.1875, 0.4375, 0.5625, 1.035],
        "hardtan": [-1, -0.5, 0.5, 1],
        "loggy": [-0.848284, -0.244919, 0.244919, 0.998894],
        "selu": [-1.61372, -0.691731, 0.52535, 7.88025],
        "relie": [-0.025, -0.005, 0.5, 7.5],
        "leaky": [-0.25, -0.05, 0.5, 7.5],
        "stair": [-1.5, -0.5, 0, 3.5],
        "lhtan": [-0.0025, -0.0005, 0.5, 1.0065],
    }
    for name, values in want.items():
        got = ops.activation(name)(x).flatten()
        torch.testing.assert_close(got, torch.tensor(values), rtol=1e-5, atol=1e-6, msg=name)


def test_yolo_decodes_alike_in_numpy_and_torch() -> None:
    network = load(next(path for path in KINDS if path.stem == "yolo"))
    rng = np.random.default_rng(0)
    for node in network:
        if isinstance(node.layer, layers.Head):
            output = rng.random((2, *node.shape), np.float32)
            ours = node.layer.decode(output, (12, 16))
            torchs = node.layer.decode(torch.from_numpy(output), (12, 16))
            for a, b in zip(ours, torchs, strict=True):
                np.testing.assert_allclose(a, b.numpy(), rtol=1e-6)


def test_yolo_decodes_one_slot_by_hand() -> None:
    """Cell (row 1, column 2) of a 2x4 grid, second anchor (4, 6) of an input of 64x128 (HxW)."""
    head = layers.KINDS["yolo"](
        mask=(0, 1), anchors=(2.0, 3.0, 4.0, 6.0), num=2, classes=1, scale_x_y=1.2
    )
    output = np.zeros((1, 12, 2, 4), np.float32)
    output[0, 6:, 1, 2] = 0.25, 0.75, np.log(2), np.log(3), 0.9, 0.8
    boxes, objectness, classes = head.decode(output, (64, 128))
    slot = (1 * 4 + 2) * 2 + 1
    want = [(2 + 0.25) / 4, (1 + 0.75) / 2, 2 * 4 / 128, 3 * 6 / 64]
    np.testing.assert_allclose(boxes[0, slot], want, rtol=1e-6)
    np.testing.assert_allclose([objectness[0, slot], classes[0, slot, 0]], [0.9, 0.8])


def test_edit_distance() -> None:
    assert [edits("filter", "filters"), edits("strids", "stride"), edits("paddin", "padding")] == [
        1, 1, 1,
    ]  # fmt: skip
    assert edits("mosiac", "mosaic") == 1  # a swap of neighbours
    assert nearest("leeky", ("leaky", "linear")) == "leaky"
    assert nearest("zzz", ("leaky", "linear")) is None


def test_numbers_are_written_as_they_read() -> None:
    assert write(0.0005) == "0.0005"
    assert float(write(0.1 + 0.2)) == 0.1 + 0.2
    assert write((1.0, 2.5)) == "1,2.5"
