"""Devices and pipes in place of files: every reader refuses them at once, with one line."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ghostyolo import cli, gencfg
from support import tiny

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such files")
SECONDS = 20
# The command, with FILE for the file, and the suffix of its name.
COMMANDS = {
    "cfg": ("info FILE", ".cfg"),
    "lint": ("lint FILE", ".cfg"),
    "weights": ("lint CFG --weights FILE", ".weights"),
    "names": ("detect CFG WEIGHTS PICTURE --names FILE --runtime torch", ".names"),
    "detect": ("detect CFG WEIGHTS FILE --runtime torch", ".jpg"),
    "detect a video": ("detect CFG WEIGHTS FILE --runtime torch", ".mp4"),
    "detect a name without suffix": ("detect CFG WEIGHTS FILE --runtime torch", ""),
    "cached export": ("detect CFG FILE PICTURE --runtime onnxruntime", ".weights"),
    "onnx": ("detect FILE PICTURE", ".onnx"),
    "torchscript": ("detect FILE PICTURE", ".torchscript"),
    "openvino": ("detect FILE PICTURE", ".xml"),
    "convert": ("convert CFG FILE OUT.weights", ".pt"),
    "convert safetensors": ("convert CFG FILE OUT.weights", ".safetensors"),
    "convert weights": ("convert CFG FILE OUT.pt", ".weights"),
    "yaml": ("data FILE", ".yaml"),
    "coco": ("data FILE", ".json"),
    "darknet data": ("data FILE", ".data"),
    "list": ("data FILE", ".txt"),
    "parity": ("parity --against onnx:x.onnx CFG WEIGHTS --input FILE", ".jpg"),
    "parity trace": ("parity --against trace:FILE CFG WEIGHTS", ".npz"),
    "train weights": ("train CFG DATA --weights FILE --workers 0", ".weights"),
    "teacher": ("train CFG DATA --teacher CFG FILE --workers 0", ".weights"),
    "int8": ("export CFG WEIGHTS OUT.onnx --int8 FILE", ".jpg"),
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("devices")
    data = tiny.pictures(folder / "shapes")
    return {
        "CFG": str(tiny.write(folder)),
        "WEIGHTS": str(tiny.eager_weights(folder)),
        "PICTURE": str(next(data.glob("JPEGImages/*"))),
        "DATA": str(data),
    }


@pytest.fixture
def in_time() -> Iterator[None]:
    """Raise TimeoutError in what does not end."""

    def stop(*_: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("kind", ["pipe", "device"])
@pytest.mark.parametrize("reader", COMMANDS)
def test_every_reader_refuses_it(
    reader: str, kind: str, inputs: dict[str, str], tmp_path: Path, in_time: None,
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    line, suffix = COMMANDS[reader]
    path = tmp_path / f"x{suffix}"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    for name, value in {**inputs, "FILE": str(path)}.items():
        line = line.replace(name, value)
    words = line.split()
    assert cli.main(words) == 1
    out, err = capsys.readouterr()
    assert "a device or pipe, not a file" in out + err + caplog.text
    assert "Traceback" not in err


def test_names_of_the_generator(
    tmp_path: Path, in_time: None, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "x.names")
    assert gencfg.main(["--names", str(tmp_path / "x.names")]) == 1
    assert "is a device or pipe, not a file" in capsys.readouterr().err
