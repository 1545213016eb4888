"""The `.weights` format: headers, lengths, partial files."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from ghostyolo.errors import CfgError, OptionError, WeightsError
from ghostyolo.model.model import Model
from ghostyolo.network import load, loads

TEXT = """[net]
width=8
height=8
channels=3

[convolutional]
batch_normalize=1
filters=2
size=1
activation=linear

[connected]
output=3
activation=linear
"""
COUNT = 2 * 4 + 2 * 3 + 3 + 3 * 128


def write(path: Path, floats: np.ndarray, header: bytes | None = None) -> Path:
    head = struct.pack("<iiiQ", 0, 2, 5, 77) if header is None else header
    path.write_bytes(head + floats.astype("<f4").tobytes())
    return path


def test_order_of_the_file(tmp_path: Path) -> None:
    """Source: save_convolutional_weights writes biases, scales, mean, variance, weights."""
    model = Model(loads(TEXT))
    model.load_weights(write(tmp_path / "x.weights", np.arange(COUNT)))
    conv, connected = model.tensors()
    order = ("norm.bias", "norm.weight", "norm.running_mean", "norm.running_var", "conv.weight")
    flat = torch.cat([conv[name].flatten() for name in order])
    assert torch.equal(flat, torch.arange(14.0))
    assert connected["linear.bias"].tolist() == [14, 15, 16]
    assert torch.equal(connected["linear.weight"].flatten(), torch.arange(17.0, COUNT))
    assert model.seen == 77


def test_old_header_counts_in_four_bytes(tmp_path: Path) -> None:
    model = Model(loads(TEXT))
    path = write(tmp_path / "x.weights", np.arange(COUNT), struct.pack("<iiiI", 0, 1, 0, 9))
    model.load_weights(path)
    assert model.seen == 9
    assert model.layers[0].norm.bias.tolist() == [0, 1]


def test_transposed_matrices(tmp_path: Path) -> None:
    model = Model(loads(TEXT))
    header = struct.pack("<iiiQ", 1001, 0, 0, 0)
    model.load_weights(write(tmp_path / "x.weights", np.arange(COUNT), header))
    matrix = model.layers[1].linear.weight
    assert torch.equal(matrix.t().flatten(), torch.arange(17.0, COUNT))


def test_short_file_names_the_layer(tmp_path: Path) -> None:
    model = Model(loads(TEXT, path="x.cfg"))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    path = write(tmp_path / "x.weights", np.arange(COUNT - 1))
    with pytest.raises(WeightsError) as caught:
        model.load_weights(path)
    assert str(caught.value) == (
        f"{path}: holds {COUNT - 1} floats, the cfg needs {COUNT}: it ends in layer 1 [connected] "
        "linear.weight (x.cfg:12); use the cfg that these weights were trained with"
    )
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_long_file_counts_what_is_left(tmp_path: Path) -> None:
    path = write(tmp_path / "x.weights", np.arange(COUNT + 5))
    with pytest.raises(WeightsError, match=f"needs {COUNT}: 5 too many"):
        Model(loads(TEXT)).load_weights(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a .weights file"),
        (b"PK\x03\x04" * 8, "is a zip archive, such as a PyTorch checkpoint, not a .weights file"),
        (b"\n<!DOCTYPE html><html>404</html>", "is a web page, not a .weights file; download the"),
        (b"<HTML><body>sign in</body></html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS.*git lfs pull"),
        (b"[net]\nwidth=8\n" * 4, "is a cfg, not a .weights file"),
        (struct.pack("<iiiQ", 0, 2, 5, 0) + b"\0" * 6, "2 bytes more than a multiple of 4"),
    ],
    ids=["empty", "archive", "page", "sign-in", "lfs", "cfg", "odd"],
)
def test_not_weights(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.weights").write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        Model(loads(TEXT)).load_weights(tmp_path / "x.weights")


def test_missing_file_and_unwritable_place(tmp_path: Path) -> None:
    model = Model(loads(TEXT))
    with pytest.raises(WeightsError, match="cannot read: No such file"):
        model.load_weights(tmp_path / "none.weights")
    with pytest.raises(OptionError, match="cannot write: No such file"):
        model.save_weights(tmp_path / "none" / "x.weights")


@pytest.mark.parametrize("version", [(0, 2, 5), (0, 1, 0)])
def test_header_of_another_version_is_named(version: tuple[int, ...], tmp_path: Path) -> None:
    """Some programs write the version of one header and the other one's length."""
    wide = version[1] == 2
    header = struct.pack("<iiiI" if wide else "<iiiQ", *version, 77)
    path = write(tmp_path / "x.weights", np.arange(1, COUNT + 1), header)
    message = f"has a header of {len(header)} bytes, and version 0.{version[1]}, whose header has"
    with pytest.raises(WeightsError, match=message):
        Model(loads(TEXT)).load_weights(path)


def test_values_that_are_not_finite_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    floats = np.arange(COUNT, dtype="<f4")
    floats[[2, 8, 9]] = np.nan, -np.inf, np.inf
    floats[10:12] = np.float32(3.4e38), np.float32(1e-45)  # finite, with unusual exponents
    path = write(tmp_path / "x.weights", floats)
    Model(loads(TEXT), path)
    assert (
        "layer 0 [convolutional] norm.weight has 1 of 2 values that are not finite, and 1 more "
        "tensors; the training has diverged"
    ) in caplog.text
    caplog.clear()
    Model(loads(TEXT), write(path, np.arange(COUNT)))
    assert not caplog.text


def test_devices_and_pipes_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/zero", tmp_path / "pipe"):
        with pytest.raises(WeightsError, match="is a device or pipe, not a file"):
            Model(loads(TEXT)).load_weights(path)
        with pytest.raises(CfgError, match="is a device or pipe, not a file"):
            load(path)


def test_cutoff_writes_the_first_layers(tmp_path: Path) -> None:
    model = Model(loads(TEXT))
    model.save_weights(tmp_path / "x.conv.1", cutoff=1)
    assert (tmp_path / "x.conv.1").stat().st_size == 20 + 4 * 14


def test_dontload_layers_are_not_in_the_file_but_written(tmp_path: Path) -> None:
    model = Model(loads(TEXT + "dontload=1\n"))
    model.load_weights(write(tmp_path / "x.weights", np.arange(14)))
    model.save_weights(tmp_path / "y.weights")
    assert (tmp_path / "y.weights").stat().st_size == 20 + 4 * COUNT


@pytest.mark.parametrize("key", ["dontload=1", "dontloadscales=1"])
def test_written_weights_load_where_parts_are_not_loaded(key: str, tmp_path: Path) -> None:
    """The C program writes all tensors, and its reader skips those of such layers."""
    text = TEXT.replace("[connected]", f"{key}\n[connected]")
    model, again = Model(loads(text)), Model(loads(text))
    model.save_weights(tmp_path / "x.weights")
    again.load_weights(tmp_path / "x.weights")
    pairs = zip(model.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_dontloadscales(tmp_path: Path) -> None:
    model = Model(loads(TEXT.replace("[connected]", "dontloadscales=1\n[connected]")))
    model.load_weights(write(tmp_path / "x.weights", np.arange(2 + 6 + COUNT - 14)))
    assert model.layers[0].norm.bias.tolist() == [0, 1]
    assert model.layers[0].norm.weight.tolist() == [1, 1]
    assert model.layers[0].conv.weight.flatten().tolist() == list(range(2, 8))


def test_nothing_is_left_beside(tmp_path: Path) -> None:
    Model(loads(TEXT)).save_weights(tmp_path / "x.weights")
    assert [path.name for path in tmp_path.iterdir()] == ["x.weights"]
