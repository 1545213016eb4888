"""Two runs of one network: they agree, or the first layer that differs and the cause are named."""

from __future__ import annotations

import contextlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ghostyolo import cli, gencfg, parity
from ghostyolo.data.inputs import random_input
from ghostyolo.errors import CfgError, DataError, OptionError
from ghostyolo.model.model import Model
from ghostyolo.network import load, loads, passes
from ghostyolo.parity import opencv_darknet
from ghostyolo.parity.difference import difference, relative_difference
from ghostyolo.runtime import onnxruntime
from support import published
from support.cases import KINDS, random_model
from support.opencv import needs_importer, run

NET = "[net]\nwidth=20\nheight=16\nchannels=3\n"
HEAD = "[yolo]\nmask=0,1\nanchors=2,3,5,6\nnum=2\nclasses=1\n"


def conv(filters: int = 6, size: int = 3, **more: object) -> str:
    keys = {"batch_normalize": 1, "filters": filters, "size": size, "pad": 1, "stride": 1}
    keys |= {"activation": "leaky", **more}
    return "[convolutional]\n" + "".join(f"{key}={value}\n" for key, value in keys.items())


# As yolov3-tiny: pooling by 2/2 and 2/1, a route back, an upsampling, two heads.
TINY = (
    NET + conv(6) + "[maxpool]\nsize=2\nstride=2\n" + conv(8) + "[maxpool]\nsize=2\nstride=1\n"
    + conv(8) + conv(12, 1, batch_normalize=0, activation="linear") + HEAD
    + "[route]\nlayers=-3\n" + conv(4, 1) + "[upsample]\nstride=2\n" + "[route]\nlayers=-1,0\n"
    + conv(12, 1, batch_normalize=0, activation="linear") + HEAD
)  # fmt: skip


def peer_of(model: Model, x: np.ndarray) -> parity.Peer:
    """Return a model's run as if nothing but its outputs were known."""
    outputs = model.trace(torch.from_numpy(x))
    return parity.Peer("other", x, {index: out.numpy() for index, out in enumerate(outputs)})


def tiny(text: str = TINY) -> tuple[Model, np.ndarray]:
    model = random_model(loads(text))
    return model, random_input(model.network, 1) - 0.5


def same_weights(model: Model, text: str) -> Model:
    """Return the model of another cfg with the same weights, stored to stored."""
    other = Model(loads(text)).eval()
    other.load_state_dict(model.state_dict())
    return other


def test_difference() -> None:
    inf, nan = np.inf, np.nan
    a = np.array([1.0, inf, nan, -inf], np.float32)
    assert difference(a, a) == 0
    assert difference(a, np.array([1.5, inf, nan, -inf], np.float32)) == 0.5
    assert difference(a, np.array([1, inf, 2, -inf], np.float32)) == inf
    assert difference(a, np.array([1, -inf, nan, -inf], np.float32)) == inf
    assert difference(a, a[:2]) == inf
    assert relative_difference(np.array([0.0, -4, inf]), np.array([0.0, -3, inf])) == 0.25


# What another program might compute, written independently of `known_differences`: the index of the
# layer, what becomes of its module, and the words that name it.
def _act(module: nn.Module) -> None:
    module.act = nn.ReLU()


def _slope(module: nn.Module) -> None:
    module.act = nn.LeakyReLU(0.2)


def _eps(module: nn.Module) -> None:
    module.norm.running_var += 1e-3 - 1e-5


def _no_norm(module: nn.Module) -> None:
    module.norm = None


def _live_norm(module: nn.Module) -> None:
    module.norm.forward = lambda x: F.batch_norm(
        x, None, None, module.norm.weight, module.norm.bias, training=True, eps=1e-5
    )


def _zero_pool(module: nn.Module) -> None:
    module.forward = lambda x: F.max_pool2d(F.pad(x, (0, 1, 0, 1)), 2, 1)


def _early_pool(module: nn.Module) -> None:
    module.forward = lambda x: F.max_pool2d(F.pad(x, (1, 0, 1, 0), value=-1e30), 2, 1)


def _bilinear(module: nn.Module) -> None:
    module.forward = lambda x: F.interpolate(x, scale_factor=2.0, mode="bilinear")


def _turned(module: nn.Module) -> None:
    module.conv.weight.copy_(module.conv.weight.flip(2, 3))


def _reversed(module: nn.Module) -> None:
    module.forward = lambda a, b: torch.cat((b, a), 1)


def _bgr(module: nn.Module) -> None:
    module.conv.weight.copy_(module.conv.weight.flip(1))


def _bytes(module: nn.Module) -> None:
    module.conv.weight.mul_(255)


def _half(module: nn.Module) -> None:
    forward = module.forward
    module.forward = lambda x: forward(x).half().float()


def _zero(module: nn.Module) -> None:
    forward = module.forward
    module.forward = lambda x: 0 * forward(x)


def _reflected(module: nn.Module) -> None:
    module.conv.padding_mode = "reflect"
    module.conv._reversed_padding_repeated_twice = [1, 1, 1, 1]


PROVOKED = {
    "activation": (4, _act, "activation=relu instead of leaky"),
    "slope": (4, _slope, "leaky slope 0.2 instead of 0.1"),
    "eps": (2, _eps, "batch-norm eps 0.001 instead of 1e-05"),
    "no norm": (2, _no_norm, "no batch norm"),
    "training mode": (2, _live_norm, "batch norm by the statistics of the input (training mode)"),
    "pool of zeros": (3, _zero_pool, "pixels outside count as 0 in the maximum"),
    "pool upwards": (3, _early_pool, "the odd pixel of padding left and above"),
    "upsampling": (9, _bilinear, "bilinear upsampling instead of nearest"),
    "kernel": (2, _turned, "the kernel rotated by 180 degrees (true convolution)"),
    "route": (10, _reversed, "its inputs in reversed order"),
    "BGR": (0, _bgr, "the input's channels in reversed order (BGR)"),
    "bytes": (0, _bytes, "the input as 0 to 255 instead of 0 to 1"),
    "half": (4, _half, "half precision: all its values there are float16 numbers"),
    "zero": (4, _zero, "all its values are 0 there"),
    "border": (4, _reflected, "at the border only, so the padding"),
}


@pytest.mark.parametrize("name", PROVOKED)
def test_provoked_departure_is_found_and_named(name: str) -> None:
    index, provoke, words = PROVOKED[name]
    text = TINY if name != "pool of zeros" else TINY.replace("leaky", "linear")
    model, x = tiny(text)
    other = same_weights(model, text)
    with torch.no_grad():
        provoke(other.layers[index])
    if name == "pool of zeros":  # which shows where all of a window is negative
        for each in (model, other):
            each.layers[2].norm.bias.data.sub_(2)
    found = parity.compare(model, x, peer_of(other, x))
    assert found.first and found.cause
    assert found.first.index == found.cause.index == index
    assert words in found.cause.text


def test_same_padding_of_tensorflow_is_named() -> None:
    text = NET + conv() + conv(stride=2)
    model, x = tiny(text)
    other = same_weights(model, text)
    strided = other.layers[1].conv
    strided.forward = lambda x: F.conv2d(F.pad(x, (0, 1, 0, 1)), strided.weight, stride=2)
    with torch.no_grad():
        found = parity.compare(model, x, peer_of(other, x))
    assert found.cause and found.cause.index == 1
    assert found.cause.text == "padding as TensorFlow's SAME, the odd pixel right and below"


KEYS = [
    (conv(size=3), "dilation=2\n", "dilation=1 instead of 2"),
    (conv(), "stride_x=2\n", "stride_x=1 instead of 2"),
    ("[upsample]\nstride=2\n", "scale=.5\n", "scale=1 instead of 0.5"),
    ("[softmax]\n", "temperature=3\n", "temperature=1 instead of 3"),
    ("[softmax]\nspatial=1\n", "", ""),
    (conv(6) + "[shortcut]\nfrom=-2\n", "activation=relu\n", "activation=linear instead of relu"),
]


@pytest.mark.parametrize(("layer", "key", "words"), KEYS, ids=lambda text: text.split("\n")[0])
def test_ignored_key_is_named(layer: str, key: str, words: str) -> None:
    model, x = tiny(NET + conv(6) + layer + key)
    text = NET + conv(6) + (layer if key else "[softmax]\n")
    found = parity.compare(model, x, peer_of(same_weights(model, text), x))
    assert found.cause
    assert found.cause.text == (words or "spatial=0 instead of 1")
    assert found.cause.index == len(model.network) - 1


def test_departures_below_the_tolerance_are_explained_together() -> None:
    model, x = tiny()
    for layer in model.layers:
        if hasattr(layer, "norm") and layer.norm is not None:
            layer.norm.running_var.data.fill_(0.02)
    other = same_weights(model, TINY)
    for layer in other.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = 1e-6
    found = parity.compare(model, x, peer_of(other, x), tolerance=5e-4)
    assert found.first and found.cause
    assert found.first.own is not None and found.first.own <= 5e-4 < found.first.share
    assert found.cause.text == "batch-norm eps 1e-06 instead of 1e-05, in every layer"


def test_rounding_is_called_so() -> None:
    model, x = tiny()
    other = peer_of(model.double(), x.astype(np.float64))
    outputs = {index: out.astype(np.float32) for index, out in other.outputs.items()}
    peer = parity.Peer("double", x, outputs)
    rows = parity.compare(model.float(), x, peer, 1e-9).rows
    most = max(row.own for row in rows if row.own is not None)
    found = parity.compare(model, x, peer, most * 1.01)
    assert found.cause and "accumulated rounding" in found.cause.text


def traced(model: Model, x: np.ndarray, folder: Path, **options: int) -> parity.Peer:
    """Return a model's run by way of a file."""
    path = folder / "x.npz"
    parity.write_trace(path, parity.record(model, x, **options))
    return parity.of_trace(parity.read_trace(path), path)


def test_trace_of_itself_is_equal_bit_for_bit(tmp_path: Path) -> None:
    model, x = tiny()
    found = parity.compare(model, x, traced(model, x, tmp_path), 1e-12)
    assert found.equal
    assert [row.difference for row in found.rows] == [0] * len(model.network)
    assert found.rows[0].shape == (6, 16, 20)


@pytest.mark.parametrize("path", KINDS, ids=lambda path: path.stem)
def test_trace_of_every_kind(path: Path, tmp_path: Path) -> None:
    model = random_model(path)
    x = random_input(model.network, 3)
    for samples in (0, 5):
        assert parity.compare(model, x, traced(model, x, tmp_path, samples=samples), 1e-9).equal


def test_trace_is_plain_npz(tmp_path: Path) -> None:
    model, x = tiny()
    traced(model, x, tmp_path)
    with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
        assert len(arrays.files) == len(model.network) + 2
        assert np.array_equal(arrays["input"], x)
        meta = json.loads(arrays["meta"].tobytes())
    assert meta["layers"][0]["kind"] == "convolutional"
    assert meta["layers"][0]["shape"] == [6, 16, 20]
    assert {"ghostyolo", "torch", "numpy"} <= set(meta["made"])
    assert len(meta["cfg_sha256"]) == 64


def test_samples_make_a_small_file_that_still_tells(tmp_path: Path) -> None:
    text = TINY.replace("20", "64").replace("16", "64")
    model, x = tiny(text)
    parity.write_trace(tmp_path / "whole.npz", parity.record(model, x))
    peer = traced(model, x, tmp_path, samples=20)
    sizes = [(tmp_path / name).stat().st_size for name in ("whole.npz", "x.npz")]
    assert sizes[1] < sizes[0] / 3
    other = same_weights(model, text)
    other.layers[4].act = nn.ReLU()
    found = parity.compare(other, x, peer)
    assert found.first and found.first.index == 4


def test_one_changed_weight_is_named(tmp_path: Path) -> None:
    model, x = tiny()
    peer = traced(model, x, tmp_path)
    with torch.no_grad():
        model.layers[4].conv.weight[3, 1, 1, 1] += 0.5
    found = parity.compare(model, x, peer)
    assert found.first and found.cause
    assert (found.first.index, found.cause.index) == (4, 4)
    assert found.cause.text == "other weights: layer 4 [convolutional] conv.weight differs"


def test_misaligned_weights_are_named(tmp_path: Path) -> None:
    model, x = tiny()
    peer = traced(model, x, tmp_path)
    stored = tmp_path / "x.weights"
    model.save_weights(stored)
    first = 5 * 6 - 6 + 6 * 27  # floats of layer 0
    values = np.fromfile(stored, np.uint8)
    at = 20 + 4 * first
    stored.write_bytes(np.concatenate((values[:at], np.roll(values[at:], 4))).tobytes())
    model.load_weights(stored)
    found = parity.compare(model, x, peer)
    assert found.cause and found.cause.index == 2
    assert "weights misaligned from layer 2 [convolutional] on: those of all 5 layers" in (
        found.cause.text
    )


def test_other_input_is_named(tmp_path: Path) -> None:
    model, x = tiny()
    peer = traced(model, x, tmp_path)
    found = parity.compare(model, random_input(model.network, 2), peer)
    assert found.cause and found.cause.text.startswith("another input: it differs by up to")
    found = parity.compare(model, np.ascontiguousarray(x[:, ::-1]), peer)
    assert found.cause and "reversed order (BGR)" in found.cause.text


def test_other_size_is_an_error_that_says_which(tmp_path: Path) -> None:
    model, x = tiny()
    peer = traced(model, x, tmp_path)
    larger = Model(passes.resize(model.network, (32, 40)))
    with pytest.raises(DataError, match=r"3x16x20, the network's 3x32x40.*give --size 16x20"):
        parity.compare(larger, random_input(larger.network, 0), peer)


@pytest.mark.parametrize(
    ("old", "new", "index", "words"),
    [
        ("size=2\nstride=1", "size=3\nstride=1", 3, "layer 3 [maxpool] size=3 here, 2 there"),
        ("layers=-1,0", "layers=0,-1", 10, "layer 10 [route] layers=0,-1 here"),
        ("[upsample]\nstride=2\n", "[upsample]\nstride=2\nscale=2\n", 9, "scale=2 here"),
        (
            "[maxpool]\nsize=2\nstride=2",
            "[local_avgpool]\nsize=2\nstride=2",
            1,
            "[local_avgpool] here",
        ),
    ],
)
def test_trace_of_another_cfg_says_what_differs(
    old: str, new: str, index: int, words: str, tmp_path: Path
) -> None:
    model, x = tiny()
    peer = traced(model, x, tmp_path)
    assert old in TINY
    other = random_model(loads(TINY.replace(old, new)))
    found = parity.compare(other, x, peer)
    assert found.first and found.cause
    assert words.replace("layers=0,-1 here", "reads layers (0, 9) here") in found.cause.text
    assert found.cause.index == index
    assert any(note.startswith("the cfgs differ: layer") for note in found.notes)


def test_cfg_that_differs_where_nothing_departs_is_noted(tmp_path: Path) -> None:
    model, x = tiny()
    peer = traced(model, x, tmp_path)
    other = same_weights(model, TINY.replace("anchors=2,3,5,6", "anchors=2,3,5,7"))
    found = parity.compare(other, x, peer)
    assert found.equal
    assert any("layer 6 [yolo] anchors=2,3,5,7 here, 2,3,5,6 there" in n for n in found.notes)


def test_damaged_trace_is_one_error(tmp_path: Path) -> None:
    model, x = tiny(NET + conv(2))
    path = tmp_path / "x.npz"
    parity.write_trace(path, parity.record(model, x))
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(150):
        data = bytearray(whole[: rng.integers(len(whole))] if rng.random() < 0.3 else whole)
        for at in rng.integers(0, max(1, len(data)), rng.integers(1, 4)):
            data[at : at + 1] = rng.bytes(1)
        path.write_bytes(data)
        with contextlib.suppress(DataError):  # a byte of the outputs may change unseen
            parity.read_trace(path)
    path.write_bytes(whole[:-9])
    with pytest.raises(DataError) as caught:
        parity.read_trace(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def _replaced(path: Path, name: str, data: bytes, compress: int = zipfile.ZIP_STORED) -> None:
    """Write a trace again with one member replaced."""
    with zipfile.ZipFile(path) as archive:
        members = {item: archive.read(item) for item in archive.namelist()}
    members[name] = data
    with zipfile.ZipFile(path, "w", compress) as archive:
        for item, content in members.items():
            archive.writestr(item, content)


def _npy(shape: tuple[int, ...], descr: str = "<f4", body: bytes = b"") -> bytes:
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (-(10 + len(header) + 1) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + body


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("layer_0.npy", _npy((1, 6, 10**9, 10**9)), "cannot reshape"),
        ("layer_0.npy", _npy((1, 6, 16, 20), "|O", b"\x80\x04."), "layer_0 is object"),
        ("layer_0.npy", _npy((1, 1), body=b"\0\0\0\0"), "layer 0 is"),
        ("input.npy", _npy((0,)), "input is float32"),
        ("meta.npy", _npy((2,), "|u1", b"[]"), "not of format 1"),
        ("meta.npy", _npy((3,), "|u1", b"{\xff}"), "not a whole trace"),
        ("meta.npy", _npy((100_000,), "|u1", b"[" * 100_000), "not a whole trace"),
        ("meta.npy", _npy((21,), "|u1", b'{"ghostyolo_trace":1}'), "'cfg'"),
        ("meta.npy", _npy((29,), "|u1", b'{"ghostyolo_trace":1,"cfg":7}'), "not a whole trace"),
    ],
)
def test_hostile_trace_is_refused(name: str, data: bytes, words: str, tmp_path: Path) -> None:
    model, x = tiny(NET + conv(6))
    traced(model, x, tmp_path)
    _replaced(tmp_path / "x.npz", name, data)
    with pytest.raises(DataError, match="not a whole trace") as caught:
        parity.read_trace(tmp_path / "x.npz")
    assert words in str(caught.value)


def test_bombs_are_refused(tmp_path: Path) -> None:
    model, x = tiny(NET + conv(6))
    traced(model, x, tmp_path)
    path = tmp_path / "x.npz"
    whole = path.read_bytes()
    _replaced(path, "more.npy", bytes(10**6), zipfile.ZIP_DEFLATED)
    with pytest.raises(DataError, match="a member is compressed"):
        parity.read_trace(path)
    path.write_bytes(whole)
    with zipfile.ZipFile(path, "a") as archive:  # names that share the bytes of one member
        info = archive.getinfo("layer_0.npy")
        for index in range(50):
            alias = zipfile.ZipInfo(f"layer_{index + 1}.npy")
            for name in ("header_offset", "file_size", "compress_size", "CRC"):
                setattr(alias, name, getattr(info, name))
            archive.filelist.append(alias)
        archive._didModify = True
    with pytest.raises(DataError, match="more bytes than the file has"):
        parity.read_trace(path)
    with pytest.raises(DataError, match="cannot read: No such file"):
        parity.read_trace(tmp_path / "none.npz")


def exported(model: Model, x: np.ndarray, path: Path, names: list[str] | None = None) -> Path:
    pytest.importorskip("onnx", reason="the onnx extra is not installed")
    pytest.importorskip("onnxruntime", reason="the onnx extra is not installed")
    args = (torch.from_numpy(x),)
    torch.onnx.export(model, args, str(path), dynamo=False, output_names=names)
    return path


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:Constant folding")
class TestOnnx:
    def test_exported_model_is_equal(self, tmp_path: Path) -> None:
        model, x = tiny()
        peer = parity.of_onnx(model, exported(model, x, tmp_path / "x.onnx"), x)
        found = parity.compare(model, x, peer)
        assert found.equal
        assert [row.index for row in found.rows] == model.output_indices

    def test_outputs_are_found_by_name(self, tmp_path: Path) -> None:
        """Unless the named layer has another shape."""
        model, x = tiny()
        named = exported(model, x, tmp_path / "x.onnx", ["yolo_6", "layer_12"])
        assert parity.of_onnx(model, named, x).names == {6: "yolo_6", 12: "layer_12"}
        chance = exported(model, x, tmp_path / "y.onnx", ["convolutional_0", "yolo_6"])
        assert parity.of_onnx(model, chance, x).names == {6: "convolutional_0", 12: "yolo_6"}

    @pytest.mark.parametrize(
        ("name", "value", "words"),
        [
            ("eps", 1e-3, "batch-norm eps 0.001 instead of 1e-05, in every layer"),
            ("negative_slope", 0.01, "leaky slope 0.01 instead of 0.1, in every layer"),
            ("negative_slope", 0.5, "unknown: no known difference explains these numbers"),
        ],
    )
    def test_cause_throughout_the_network(
        self, name: str, value: float, words: str, tmp_path: Path
    ) -> None:
        model, x = tiny()
        other = same_weights(model, TINY)
        for part in other.modules():
            if hasattr(part, name):
                setattr(part, name, value)
        peer = parity.of_onnx(model, exported(other, x, tmp_path / "x.onnx"), x)
        found = parity.compare(model, x, peer)
        assert found.first and found.first.index == 6
        assert found.cause and found.cause.text == words

    def test_raw_heads_are_called_so(self, tmp_path: Path) -> None:
        model, x = tiny()
        other = same_weights(model, TINY)
        other.layers[6], other.layers[12] = nn.Identity(), nn.Identity()
        peer = parity.of_onnx(model, exported(other, x, tmp_path / "x.onnx"), x)
        found = parity.compare(model, x, peer)
        assert found.cause
        assert found.cause.text == "the peer's output is the input of [yolo]"

    def test_other_size_and_other_file(self, tmp_path: Path) -> None:
        model, x = tiny()
        path = exported(model, x, tmp_path / "x.onnx")
        larger = Model(passes.resize(model.network, (32, 40)))
        with pytest.raises(DataError, match="1x3x16x20, this one 1x3x32x40; give --size 16x20"):
            parity.of_onnx(larger, path, random_input(larger.network, 0))
        path.write_bytes(b"not onnx")
        with pytest.raises(DataError, match=r"x\.onnx: onnxruntime: ") as caught:
            parity.of_onnx(model, path, x)
        assert "\n" not in str(caught.value)


def test_missing_onnxruntime_is_an_error_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(OptionError, match=r"not installed; pip install 'ghostyolo\[onnx\]'"):
        onnxruntime.session("x.onnx")


@pytest.mark.skipif(opencv_darknet.available(), reason="this OpenCV has the importer")
def test_opencv_without_importer_is_an_error_that_says_what_to_do() -> None:
    model, x = tiny()
    with pytest.raises(OptionError, match=r"OpenCV 5.* has no Darknet importer; install OpenCV 4"):
        parity.of_opencv(model, x)


def generated() -> Model:
    args = gencfg.parser().parse_args(["--width", "0.35", "--classes", "3"])
    return random_model(passes.resize(gencfg.build(args, ""), (64, 96)))


@needs_importer
class TestOpencv:
    @pytest.mark.parametrize("make", [generated, lambda: tiny()[0]], ids=["generated", "tiny"])
    def test_all_layers_agree(self, make: Callable[[], Model]) -> None:
        model = make()
        x = random_input(model.network, 0)
        found = parity.compare(model, x, parity.of_opencv(model, x), 2e-5)
        assert found.equal, found.first
        heads = [node.index for node, _ in model.heads]
        assert [row.index for row in found.rows] == [
            index for index in range(len(model.network)) if index not in heads
        ]
        assert any("corrected" in note for note in found.notes)

    @pytest.mark.parametrize("name", ["yolov3-tiny", "yolov4-tiny", "ghost-yolo"])
    def test_published_cfg(self, name: str) -> None:
        network = load(published.CFGS.get(f"cfg/{name}.cfg"))
        model = random_model(passes.resize(network, (96, 128)))
        x = random_input(model.network, 0)
        found = parity.compare(model, x, parity.of_opencv(model, x), 2e-5)
        assert found.equal and len(found.rows) == len(network) - 2

    def test_epsilon_left_as_it_is(self) -> None:
        model, x = tiny()
        model.layers[2].norm.running_var.data.mul_(0.001)
        assert parity.compare(model, x, parity.of_opencv(model, x)).equal
        found = parity.compare(model, x, parity.of_opencv(model, x, keep_eps=True))
        assert found.first and found.cause
        assert found.first.index == found.cause.index == 2
        assert found.cause.text == "batch-norm eps 1e-06 instead of 1e-05"
        assert any("not corrected" in note for note in found.notes)

    def test_one_changed_weight(self) -> None:
        model, x = tiny()
        peer = parity.of_opencv(model, x)
        with torch.no_grad():
            model.layers[4].conv.weight[3, 1, 1, 1] += 0.5
        found = parity.compare(model, x, peer)
        assert found.first and found.first.index == 4
        assert found.cause
        assert found.cause.text == "other weights: layer 4 [convolutional] conv.weight differs"

    @pytest.mark.parametrize(
        ("layers", "words"),
        [
            (conv(dilation=2), "dilation=1 instead of 2"),
            (conv(stride_x=2), "stride_x=1 instead of 2"),
            (conv(xnor=1), "xnor=0 instead of 1"),
            ("[upsample]\nstride=2\nscale=.5\n", "scale=1 instead of 0.5"),
            ("[maxpool]\nsize=2\nstride=2\nstride_y=1\n", "stride_y=2 instead of 1"),
            (conv() + conv() + "[shortcut]\nfrom=-2,-3\n", "the first 2 of its 3 inputs alone"),
            ("[softmax]\n", "spatial=1 instead of 0"),
        ],
    )
    def test_key_that_the_importer_does_not_read(self, layers: str, words: str) -> None:
        model, x = tiny(NET + conv() + layers)
        found = parity.compare(model, x, parity.of_opencv(model, x))
        assert found.first and found.cause
        assert found.first.index == found.cause.index == len(model.network) - 1
        assert found.cause.text == words

    def test_weights_that_the_importer_does_not_read_shift_the_rest(self) -> None:
        added = "[shortcut]\nfrom=-2\nweights_type=per_channel\nweights_normalization=relu\n"
        model, x = tiny(NET + conv() * 2 + added + "activation=linear\n" + conv() * 3)
        found = parity.compare(model, x, parity.of_opencv(model, x))
        assert found.first and found.first.index == 2
        assert found.cause and found.cause.text.startswith("weights_type=none instead of")

    def test_layers_behind_a_route_that_it_miscounts_are_not_compared(self) -> None:
        plain = conv(batch_normalize=0)
        model, x = tiny(NET + plain * 2 + "[route]\nlayers=-1,-2\ngroups=2\n[upsample]\n")
        found = parity.compare(model, x, parity.of_opencv(model, x))
        assert [row.index for row in found.rows] == [0, 1]
        assert any("2 [route], 3 [upsample]" in note for note in found.notes)

    def test_losses_are_not_compared(self) -> None:
        model, x = tiny(NET + conv() + "[avgpool]\n[softmax]\n[cost]\n")
        found = parity.compare(model, x, parity.of_opencv(model, x))
        assert found.equal
        assert [row.index for row in found.rows] == [0, 1, 2]

    def test_refused_cfg_is_one_line(self) -> None:
        model, x = tiny(NET + conv(activation="relu6"))
        with pytest.raises(CfgError, match="OpenCV refuses the network: Unsupported activation"):
            parity.of_opencv(model, x)

    def test_run_detects_what_the_model_detects(self) -> None:
        model, _ = tiny()
        images = np.concatenate([random_input(model.network, seed) for seed in (0, 1)])
        for ours, theirs in zip(model(torch.from_numpy(images)), run(model)(images), strict=True):
            assert relative_difference(ours.detach().numpy(), theirs) < 1e-5, cv2.__version__

    def test_reading_leaves_the_model_as_it_is(self) -> None:
        model, _ = tiny()
        before = {name: t.clone() for name, t in model.state_dict().items()}
        opencv_darknet.read(model)
        assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str, str]:
    """Return cfg, weights and a trace of them."""
    cfg, weights, trace = (str(tmp_path / f"x.{end}") for end in ("cfg", "weights", "npz"))
    Path(cfg).write_text(TINY)
    tiny()[0].save_weights(weights)
    assert cli.main(["trace", cfg, weights, trace, "--seed", "5"]) == 0
    return cfg, weights, trace


def test_commands(files: tuple[str, str, str], capsys: pytest.CaptureFixture[str]) -> None:
    cfg, weights, trace = files
    assert cli.main(["trace", *files, "--seed", "5"]) == 0
    assert "13 of 13 layers" in capsys.readouterr().out
    words = ["parity", cfg, weights, "--against", f"trace:{trace}"]
    assert cli.main(words) == 0
    out = capsys.readouterr().out
    assert f"equal to trace {trace}: 13 layers within 0.0001" in out
    assert len(out.splitlines()) == 5
    assert cli.main([*words, "--all"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 16
    assert cli.main([*words, "--seed", "6"]) == 1
    out = capsys.readouterr().out
    assert "first in layer 0 [convolutional]" in out
    assert "likely cause: another input" in out


def test_json(files: tuple[str, str, str], capsys: pytest.CaptureFixture[str]) -> None:
    cfg, weights, trace = files
    Path(cfg).write_text(TINY.replace("size=2\nstride=2", "size=3\nstride=2"))
    capsys.readouterr()
    assert cli.main(["parity", cfg, weights, "--against", f"trace:{trace}", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["equal"], found["first"], found["cause"]["index"]) == (False, 1, 1)
    assert [row["index"] for row in found["layers"]] == list(range(13))


def test_trace_options(files: tuple[str, str, str], capsys: pytest.CaptureFixture[str]) -> None:
    cfg, weights, trace = files
    picture = str(Path(trace).with_name("x.png"))
    cv2.imwrite(picture, np.zeros((5, 9, 3), np.uint8))
    words = ["trace", cfg, weights, trace, "--input", picture, "--layers", "0,3-5,outputs"]
    assert cli.main([*words, "--size", "32x40", "--samples", "7"]) == 0
    kept = parity.read_trace(trace)
    assert sorted(kept.outputs) == [0, 3, 4, 5, 6, 12]
    assert kept.x.shape == (1, 3, 32, 40)
    assert not kept.x.any()
    assert {array.shape for array in kept.outputs.values()} == {(11,)}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--against", "tensorflow"], "--against tensorflow; use opencv, onnx:FILE or trace:FILE"),
        (["--against", "trace:"], "--against trace:; use opencv"),
        (["--against", "trace:none.npz"], "none.npz: cannot read: No such file"),
        (["--against", "onnx:none.onnx"], "none.onnx: no such file"),
        (["--against", "opencv", "--tolerance", "0"], "--tolerance 0; use a number above 0"),
        (["--against", "opencv", "--seed", "-1"], "--seed -1; use 0 to"),
    ],
)
def test_wrong_options_are_one_line(
    words: list[str],
    message: str,
    files: tuple[str, str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["parity", *files[:2], *words]) == 1
    error = capsys.readouterr().err
    assert message in error or "onnxruntime is not installed" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("text", ["x", "3-", "-1", "99", "0,5-3", ""])
def test_wrong_layers_are_one_line(
    text: str, files: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["trace", *files, f"--layers={text}"]) == 1
    assert f"--layers {text}: '" in capsys.readouterr().err
