"""Names of files and classes that would command the terminal: every command prints them escaped."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from ghostyolo import cli
from ghostyolo.errors import DataError, Span, printable
from ghostyolo.model.detections import Detections
from ghostyolo.model.model import Model
from ghostyolo.network import loads
from support import pictures, runs, tiny

# A colour, the window's title, 8-bit control, reversed order, and three ways to begin a line.
EVIL = "\x1b[31m\x1b]0;owned\x07\x9b2J\u202etxt\nforged\rforged\u2028forged"
RAW = re.compile(r"[\0-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
NAMES = [f"={number}{EVIL}" for number in range(6)]

Command = Callable[..., str]


@pytest.fixture
def show(
    invoke: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Command:
    """Return what runs a command and returns all that it printed, which is checked."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object, code: int = 0) -> str:
        found, *printed = invoke(*words)
        text = "".join(printed)
        assert found == code, text
        check(text)
        return text

    return run


def check(text: str) -> None:
    """Check that a name was printed, and that nothing of it reached the terminal raw."""
    assert "\\x1b[31m" in text, text
    assert not RAW.findall(text), ascii(text)
    assert not re.search(r"(?m)^\s*forged", text), ascii(text)


@pytest.fixture
def model(tmp_path: Path) -> tuple[Path, Path]:
    """Return cfg and weights in a folder of a hostile name."""
    folder = tmp_path / f"m{EVIL}"
    folder.mkdir()
    return tiny.write(folder), tiny.eager_weights(folder)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a YOLO data set of hostile pictures and classes, of which one label has no class."""
    path = tmp_path / f"d{EVIL}" / "data.yaml"
    for number in range(4):
        picture = path.parent / f"images/train/{number}{EVIL}.jpg"
        label = path.parent / f"labels/train/{number}{EVIL}.txt"
        pictures.write(picture, pictures.picture((40, 60, 200), np.random.default_rng(number)))
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(f"{number} .5 .5 .{number + 1} .5\n" + "1 2 3\n" * (number == 3))
    (path.parent / f"images/train/bad{EVIL}.jpg").write_bytes(b"\xff\xd8\xff")
    path.write_text(json.dumps({"train": "images/train", "val": "images/train", "names": NAMES}))
    return path


def test_escapes_stand_for_what_is_not_printed() -> None:
    name = "a\x1b[1m\n\x9b\u202e\udcff\x7f"
    assert printable(name) == r"a\x1b[1m\n\x9b\u202e\udcff\x7f"
    same = "Übergröße 猫 \U0001f408 \u2009 \u0645\u06cc\u200c\u062e C:\\x"
    assert printable(same) == same
    assert printable("a\n\x1b", keep="\n") == "a\n\\x1b"
    error = DataError(f"no {name}", span=Span(name), hint=name)
    check(str(DataError(EVIL)))
    assert not RAW.findall(str(error))
    assert error.diagnostic.message == f"no {name}"  # programs get it as it is


def test_data_and_anchors(show: Command, model: tuple[Path, Path], data: Path) -> None:
    assert "\\nforged" in show("data", data, "--quiet")
    show("anchors", data, model[0])


def test_split_of_a_hostile_name(show: Command, tmp_path: Path) -> None:
    voc = tiny.pictures(tmp_path / "voc")
    (voc / "ImageSets/Main/test.txt").rename(voc / f"ImageSets/Main/test{EVIL}.txt")
    show("data", voc)


def test_val(show: Command, model: tuple[Path, Path], data: Path) -> None:
    assert "\\nforged" in show("val", *model, data)
    show("val", *model, data, "--split", f"none{EVIL}", code=1)


def test_train(show: Command, model: tuple[Path, Path], data: Path) -> None:
    words = ("--epochs", 1, "--loss", "darknet", "--project", f"p{EVIL}")
    show("train", model[0], data, *words)


def test_detect_and_its_files(
    show: Command, model: tuple[Path, Path], data: Path, tmp_path: Path
) -> None:
    folder, names = data.parent / "images/train", tmp_path / "x.names"
    names.write_text("".join(f"={number}\x1b[31m\n" for number in range(6)))
    os.rename(folder / f"0{EVIL}.jpg", os.fsencode(folder) + b"/\xff\x1b[31m.jpg")
    for name in ("=1+1.jpg", "+1.jpg", "-1.jpg", "@1.jpg", "\t1.jpg", "\r1.jpg"):
        (tmp_path / name).write_bytes((folder / f"1{EVIL}.jpg").read_bytes())
    words = ("--names", names, "--csv", "x.csv", "--jsonl", "x.jsonl", "--voc", "voc")
    sources = (folder, "=1+1.jpg", "+1.jpg", "./-1.jpg", "@1.jpg", "\t1.jpg", "\r1.jpg")
    show("detect", *model, *sources, *words, "--out", f"o{EVIL}", code=1)

    rows = [json.loads(line) for line in (tmp_path / "x.jsonl").read_bytes().split(b"\n")[:-1]]
    assert str(folder / f"1{EVIL}.jpg") in {row["file"] for row in rows}
    assert not RAW.search((tmp_path / "x.jsonl").read_text())
    with (tmp_path / "x.csv").open(newline="") as file:
        head, *cells = csv.reader(file)
    assert {row[head.index("name")] for row in cells} == {
        f"'={found['class']}\x1b[31m" for row in rows for found in row["detections"]
    }
    files = {row[head.index("file")] for row in cells}
    assert {"'=1+1.jpg", "'+1.jpg", "'-1.jpg", "'@1.jpg", "'\t1.jpg", "'\r1.jpg"} < files
    assert str(folder / f"1{EVIL}.jpg") in files
    for path in (tmp_path / "voc").iterdir():
        assert all(len(line.split()) == 6 for line in path.read_text().split("\n")[:-1])


def test_lines_of_json_and_native_libraries(
    model: tuple[Path, Path], data: Path, tmp_path: Path
) -> None:
    film = tmp_path / f"film{EVIL}.mp4"
    film.write_bytes(b"no film")
    command = [sys.executable, "-m", "ghostyolo", "detect", *model, film, data.parent / "images"]
    words = ["--recursive", "--jsonl", "-", "--runtime", "torch"]
    done = subprocess.run(
        [*command, *words], capture_output=True, text=True, env=runs.variables(), cwd=tmp_path
    )
    assert done.returncode == 1
    check(done.stderr)
    assert not RAW.findall(done.stdout)
    rows = [json.loads(line) for line in done.stdout.split("\n")[:-1]]
    assert str(data.parent / f"images/train/1{EVIL}.jpg") in {row["file"] for row in rows}


def test_classify(show: Command, data: Path, tmp_path: Path) -> None:
    (tmp_path / f"{EVIL}.cfg").write_text(pictures.CFG)
    Model(loads(pictures.CFG)).save_weights(tmp_path / "x.weights")
    (tmp_path / "x.names").write_text("a\x1b[31m\nb\nc\n")
    show("classify", f"{EVIL}.cfg", "x.weights", data.parent / "images/train", code=1)
    show("train", f"{EVIL}.cfg", data.parent / "images", code=1)


def test_cfgs_and_weights(show: Command, model: tuple[Path, Path], tmp_path: Path) -> None:
    cfg, weights = model
    odd = tiny.write(tmp_path, ("[yolo]", "# \x1b[31mhead\n[yolo]\n\x1b[31m=1\n\x1b[32m=1"))
    show("info", odd)
    show("lint", odd, cfg, "--strict", code=1)
    show("lint", cfg, f"{EVIL}.cfg", code=1)
    show("convert", cfg, weights, f"{EVIL}.pt")
    show("convert", cfg, f"{EVIL}.pt", f"{EVIL}.weights")
    show("trace", cfg, weights, f"{EVIL}.npz", "--seed", 1)
    show("gencfg", "--names", f"{EVIL}.names", code=1)
    show("sample-data", cfg.parent, code=1)
    (tmp_path / f"{EVIL}.cfg").write_text(f"[{EVIL}]")
    show("info", f"{EVIL}.cfg", code=1)


def test_exported_files(show: Command, model: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    onnx = tmp_path / f"{EVIL}.onnx"
    show("export", *model, onnx)
    (tmp_path / f"bad{EVIL}.onnx").write_bytes(b"no graph")
    cv2.imwrite(str(tmp_path / "x.jpg"), np.zeros((64, 64, 3), np.uint8))
    show("detect", onnx, "x.jpg", "--out", f"o{EVIL}", "--runtime", "onnxruntime")
    show("detect", tmp_path / f"bad{EVIL}.onnx", "x.jpg", code=1)
    show("parity", *model, "--against", f"onnx:{onnx}", "--seed", 1)


def test_words_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["lint", f"--{EVIL}"], [EVIL], ["val", "a", "b", "c", "--batch", EVIL]):
        with pytest.raises(SystemExit):
            cli.main(words)
        check(capsys.readouterr().err)


def test_texts_of_the_library() -> None:
    found = Detections([(0, 0, 9, 9)], [0.5], [0], NAMES)
    check(repr(found))
    check(str(found[0]))


def test_letters_that_the_terminal_lacks(tmp_path: Path) -> None:
    path = tmp_path / "猫.cfg"
    path.write_text("[net]\n")
    command = [sys.executable, "-m", "ghostyolo", "lint", path]
    variables = {**runs.variables(), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, text=True, env=variables)
    assert (done.returncode, done.stderr) == (1, "")
    assert "\\u732b.cfg" in done.stdout
