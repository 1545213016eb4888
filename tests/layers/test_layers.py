"""Every kind's case is held to every invariant."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ghostyolo import layers
from ghostyolo.model.model import Model
from ghostyolo.network import dumps, info, load, loads
from ghostyolo.network.weights_file import file_size
from ghostyolo.syntax.suggestions import edits, nearest
from ghostyolo.syntax.values import write
from support.cases import GENERATED, KINDS, departure, noted_shapes, random_input, random_model
from support.opencv import needs_importer
from support.opencv import read as read_by_opencv

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
    if name == "route":  # and miscounts layers behind groups of several sources
        text = text[: text.index("# second half of each source")]
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
    from ghostyolo.ops.activations import activation

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
        got = activation(name)(x).flatten()
        torch.testing.assert_close(got, torch.tensor(values), rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("kind", ["yolo", "gaussian_yolo", "region", "detection"])
def test_head_decodes_alike_in_numpy_and_torch(kind: str) -> None:
    network = load(next(path for path in KINDS if path.stem == kind))
    rng = np.random.default_rng(0)
    for node in network:
        if isinstance(node.layer, layers.Head):
            node.layer.check_boxes()
            output = rng.random((2, *node.shape), np.float32)
            ours = node.layer.decode(output, (12, 16))
            torchs = node.layer.decode(torch.from_numpy(output), (12, 16))
            slots = ours[1].shape[1]
            assert [part.shape for part in ours] == [
                (2, slots, 4), (2, slots), (2, slots, node.layer.classes),
            ]  # fmt: skip
            for a, b in zip(ours, torchs, strict=True):
                np.testing.assert_allclose(a, b.numpy(), rtol=1e-5)


@pytest.mark.parametrize("thresh", [0.0, 0.7, 2.0])
@pytest.mark.parametrize("kind", ["yolo", "gaussian_yolo", "region", "detection"])
def test_head_picks_what_it_would_decode(kind: str, thresh: float) -> None:
    """The same numbers in the same order, to the last bit."""
    network = load(next(path for path in KINDS if path.stem == kind))
    for node in network:
        if isinstance(node.layer, layers.Head):
            output = np.random.default_rng(0).normal(0.5, 0.5, (3, *node.shape)).astype(np.float32)
            output[1] = 0  # a picture without anything
            boxes, objectness, classes = node.layer.decode(output, (12, 16))
            sure = objectness > thresh
            want = (np.nonzero(sure)[0], boxes[sure], objectness[sure], classes[sure])
            for got, part in zip(
                node.layer.decode_above(output, (12, 16), thresh), want, strict=True
            ):
                assert got.dtype == part.dtype
                np.testing.assert_array_equal(got, part)


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


def test_gaussian_yolo_decodes_one_slot_by_hand() -> None:
    """Cell (row 1, column 2) of a 2x4 grid; x and y are the right bottom corner."""
    head = layers.KINDS["Gaussian_yolo"](
        anchors=(4.0, 6.0), num=1, classes=1, yolo_point="right_bottom"
    )
    output = np.zeros((1, 10, 2, 4), np.float32)
    output[0, :, 1, 2] = 0.25, 0.1, 0.75, 0.2, np.log(2), 0.3, np.log(3), 0.4, 0.9, 0.8
    boxes, objectness, classes = head.decode(output, (64, 128))
    w, h = 2 * 4 / 128, 3 * 6 / 64
    want = [(2 + 0.25) / 4 - w / 2, (1 + 0.75) / 2 - h / 2, w, h]
    np.testing.assert_allclose(boxes[0, 6], want, rtol=1e-6)
    np.testing.assert_allclose([objectness[0, 6], classes[0, 6, 0]], [0.9, 0.8 * 0.75], rtol=1e-6)


def test_region_decodes_one_slot_by_hand() -> None:
    """Cell (row 1, column 2) of a 2x4 grid, second anchor (1, .5) in cells; raw x and y."""
    head = layers.KINDS["region"](anchors=(2.0, 3.0, 1.0, 0.5), num=2, classes=2)
    slots = np.zeros((1, 2, 4, 2, 7), np.float32)
    slots[0, 1, 2, 1] = 0, np.log(3), np.log(2), np.log(3), 0.5, 0.25, 0.75
    boxes, objectness, classes = head.decode(slots.reshape(1, 14, 2, 4), (64, 128))
    slot = (1 * 4 + 2) * 2 + 1
    want = [(2 + 0.5) / 4, (1 + 0.75) / 2, 2 * 1 / 4, 3 * 0.5 / 2]
    np.testing.assert_allclose(boxes[0, slot], want, rtol=1e-6)
    np.testing.assert_allclose([objectness[0, slot], *classes[0, slot]], [1, 0.125, 0.375])


def test_detection_decodes_one_slot_by_hand() -> None:
    """Cell (row 1, column 0) of 2x2, second of two boxes, square roots of w and h."""
    head = layers.KINDS["detection"](classes=3, coords=4, side=2, num=2, sqrt=1)
    output = np.zeros((1, 12 + 8 + 32, 1, 1), np.float32)
    slot = 2 * 2 + 1
    output[0, 2 * 3 : 3 * 3, 0, 0] = 0.1, 0.2, 0.3
    output[0, 12 + slot] = 0.5
    output[0, 20 + 4 * slot : 24 + 4 * slot, 0, 0] = 0.25, 0.75, 0.5, 0.8
    boxes, objectness, classes = head.decode(output, (64, 128))
    np.testing.assert_allclose(boxes[0, slot], [0.125, 0.875, 0.25, 0.64], rtol=1e-6)
    np.testing.assert_allclose([objectness[0, slot], *classes[0, slot]], [1, 0.05, 0.1, 0.15])


def test_normalization_by_hand() -> None:
    """Darknet's running sum, channel by channel; channel size // 2 never enters it."""
    from ghostyolo.ops.pooling import LocalResponse

    x = torch.rand(1, 6, 1, 1) + 0.5
    squares, size, alpha = (x.flatten() ** 2).tolist(), 5, 0.1
    norms = [1 + alpha * sum(squares[: size // 2])]
    for k in range(1, 6):
        leaves, enters = k - (size - 1) // 2 - 1, k + size // 2
        norms.append(norms[-1])
        norms[-1] -= alpha * squares[leaves] if leaves >= 0 else 0
        norms[-1] += alpha * squares[enters] if enters < 6 else 0
    want = x.flatten() * torch.tensor(norms) ** -0.75
    got = LocalResponse(size, alpha, 0.75, 1.0)(x).flatten()
    torch.testing.assert_close(got, want)


def test_region_reorders_cell_by_cell() -> None:
    from ghostyolo.ops.heads import RegionActivation

    x = torch.randn(1, 2 * 7, 3, 4)
    out = RegionActivation(2, (2,), softmax=True)(x).reshape(3, 4, 2, 7)
    slot = x.reshape(2, 7, 3, 4)[1, :, 2, 3]
    torch.testing.assert_close(out[2, 3, 1, :4], slot[:4])
    torch.testing.assert_close(out[2, 3, 1, 4], slot[4].sigmoid())
    torch.testing.assert_close(out[2, 3, 1, 5:], slot[5:].softmax(0))


@pytest.mark.parametrize("std", [0.25, -0.25, 0])
def test_implicit_starts_within_its_limits(std: float) -> None:
    """Darknet's rand_uniform(-std, std) exchanges limits that are in the wrong order."""
    text = f"[net]\nwidth=2\nheight=2\nchannels=3\n[implicit]\nmean=1\nstd={std}\nfilters=1000\n"
    weight = next(Model(loads(text)).parameters()).detach()
    assert abs(weight - 1).max() <= abs(std)
    assert weight.std() == pytest.approx(abs(std) / 3**0.5, 0.2)


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
