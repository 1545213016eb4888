"""The commands: what they write and print, and how each says what is wrong."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import ghostyolo
from ghostyolo import cli
from ghostyolo.cli.model_argument import with_weights
from ghostyolo.files import SCHEMA
from ghostyolo.network import load
from support import ROOT, runs, tiny
from support.cases import ERRORS

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.pictures(tmp_path_factory.mktemp("data") / "shapes")


@pytest.fixture
def run(invoke: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Return what runs a command, in a folder of its own."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return invoke


@pytest.fixture
def cfg(tmp_path: Path) -> Path:
    return tiny.write(tmp_path)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return tiny.eager_weights(tmp_path)


def assert_refused(done: tuple[int, str, str], message: str, *, lines: int = 1) -> None:
    """Check for exit code 1, nothing printed, and the message on a line of its own; no files."""
    code, out, err = done
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == f"ghostyolo: {message}"
    assert len(err.splitlines()) == lines
    assert not list(Path().rglob("*")), "something was left"


def without_runtime(err: str) -> str:
    """Return standard error without its line about what computed, which must be there once."""
    left, count = re.subn(
        r"(?m)^ghostyolo: computed in (\w+) \d+\.[^\s:]+(: .* pictures/s .*)?\n", "", err
    )
    assert count == 1, err
    return left


# --- info


@pytest.mark.parametrize("path", ERRORS, ids=lambda path: path.stem)
def test_broken_cfg(path: Path, run: Command) -> None:
    expected = path.read_text().splitlines()[0].removeprefix("# expect: ")
    assert_refused(run("info", path), f"{path}:{expected}")


@pytest.mark.parametrize("command", ["train", "val", "detect"])
def test_broken_cfg_stops_every_command(
    command: str, run: Command, data: Path, weights: Path
) -> None:
    path = next(path for path in ERRORS if path.stem == "section")
    rest = {"train": [data], "val": [weights, data], "detect": [weights, data / "JPEGImages"]}
    message = f"{path}:7: [convolutionl] unknown section; did you mean [convolutional]?"
    assert_refused(run(command, path, *rest[command]), message)


def test_info_tells_all(run: Command, cfg: Path) -> None:
    code, out, err = run("info", cfg)
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 1 + 4 + 2
    assert "1,022 parameters" in out
    code, out, err = run("info", cfg, "--json", "--size", "128x64")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found["input"] == [3, 128, 64]
    assert [row["shape"] for row in found["table"]][-1] == [22, 8, 4]
    assert found["parameters"] == 1022 == sum(row["parameters"] for row in found["table"])


@pytest.mark.parametrize(
    "words",
    [
        "info {cfg}", "lint {cfg}", "data {data}", "anchors {data} {cfg}", "env",
        "ghostify {cfg} -o g.cfg", "val {cfg} {weights} {data}",
        "convert {cfg} {weights} x.safetensors",
    ],
)  # fmt: skip
def test_json_states_its_schema(
    words: str, run: Command, cfg: Path, weights: Path, data: Path
) -> None:
    words = words.format(cfg=cfg, weights=weights, data=data)
    found = json.loads(run(*words.split(), "--json")[1])
    assert next(iter(found.items())) == ("schema", SCHEMA)
    assert len(found) > 1


def test_warning_goes_to_standard_error_and_strict_stops(
    run: Command, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tiny.write(tmp_path, ("mask=0,1\n", "mask=0,1\nmax_epochs=3\n"))
    code, out, _ = run("info", path, "--json")
    assert code == 0
    assert json.loads(out)["layers"] == 4
    assert f"{path}:38: [yolo] unknown key 'max_epochs'" in caplog.text
    message = f"{path}:38: [yolo] unknown key 'max_epochs'; Darknet does not read it here; "
    assert_refused(run("info", path, "--strict"), f"{message}delete the line")


def test_darknet_compat_reads_on(run: Command, tmp_path: Path) -> None:
    path = tiny.write(tmp_path, ("activation=linear", "activation=lineer"))
    assert run("info", path)[0] == 1
    assert run("info", path, "--darknet-compat")[0] == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the first section is not [net]; add [net]"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\n", "is not text; give the path of a cfg"),
        ("[net]\n".encode("utf-16"), "is text in UTF-16, not a cfg; save it as UTF-8"),
        (b"<!doctype html>", "is a web page, not a cfg; download the file itself"),
    ],
)
def test_file_that_is_no_cfg(content: bytes, message: str, run: Command, tmp_path: Path) -> None:
    path = tmp_path / "x.cfg"
    path.write_bytes(content)
    code, out, err = run("info", path)
    assert (code, out) == (1, "")
    assert message in err
    assert err.count("\n") == 1
    assert err.isprintable() or err[:-1].isprintable()


def test_cfg_that_is_not_there(run: Command, tmp_path: Path) -> None:
    path, hint = tmp_path / "x.cfg", "give a cfg file or the folder of a run"
    assert_refused(run("info", path), f"{path}: cannot read it: No such file or directory; {hint}")
    assert_refused(run("info", tmp_path), f"{tmp_path}: a folder without model.cfg; {hint}")
    for words in (("detect", "runs/none", "dog.jpg"), ("val", "runs/none", "DATA")):
        assert run(*words)[2].endswith(f"No such file or directory; {hint}\n")


@pytest.mark.parametrize(
    ("words", "usurper"),
    [
        ("detect {cfg} dog.jpg", "dog.jpg"),
        ("detect {cfg} a.jpg b.jpg", "a.jpg"),
        ("detect --thresh .1 {cfg} . b.jpg", "."),
        ("val {cfg} data.yaml", "data.yaml"),
        ("val {cfg} . --split test", "."),
        ("export {cfg} my.onnx", "my.onnx"),
        ("trace {cfg} out.npz", "out.npz"),
        ("serve {cfg} dog.jpg", "dog.jpg"),
        ("classify {cfg} dog.jpg", "dog.jpg"),
    ],
)
def test_weights_that_are_missing(
    words: str, usurper: str, run: Command, cfg: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run(*words.format(cfg=cfg).split())
    assert caught.value.code == 2
    *usage, message = capsys.readouterr().err.splitlines()
    hint = f"give a .weights file after {cfg}, or a run's folder in place of both"
    assert message.endswith(f"WEIGHTS is missing: {usurper} stands in its place; {hint}")
    assert [line[:6] for line in usage] == ["usage:", "   or:"]
    assert "RUN" in usage[1] and "WEIGHTS" not in usage[1]


@pytest.mark.parametrize(
    "words",
    [[], ["paint"], ["info"], ["info", "x.cfg", "--sise", "3"], ["detect", "a.cfg", "b"],
     ["val", "a", "b", "c", "--thresh", "2"], ["val", "a", "b", "c", "--nms", "high"],
     ["train", "a", "b", "--epochs", "0"], ["train", "a", "b", "--batch", "-2"],
     ["train", "a", "b", "--bn-momentum", "7"], ["train", "a", "b", "--val-every", "no"]],
)  # fmt: skip
def test_usage_error(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("usage: ghostyolo")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("detect --nms .5 x.onnx dog.jpg", "x.onnx '' --nms .5 dog.jpg"),
        ("detect X.XML x.pt", "X.XML '' x.pt"),
        ("bench x.torchscript", "x.torchscript ''"),
        ("detect x.cfg x.pt dog.jpg", None),
        ("val run DATA --split test", "run run/best.weights DATA --split test"),
        ("detect --out run run run", "run run/best.weights --out run run"),
        ("detect --show -- run pictures", "run run/best.weights --show -- pictures"),
        ("detect run run/last.weights dog.jpg", None),
        ("detect x.cfg x.weights pictures", None),
        ("export run x.onnx --int8 pictures", "run run/best.weights x.onnx --int8 pictures"),
        ("convert run x.weights", "run run/best.weights x.weights"),
        ("parity run --against onnx:x.onnx", "run run/best.weights --against onnx:x.onnx"),
        ("info run", None),
        ("train x.cfg DATA --teacher run", "x.cfg DATA --teacher run run/best.weights"),
        ("train --teacher run x.cfg DATA", "--teacher run run/best.weights x.cfg DATA"),
        ("train x.cfg DATA --teacher run run/last.weights", None),
        ("train x.cfg DATA --teacher x.cfg x.weights", None),
    ],
)
def test_one_word_stands_for_cfg_and_weights(
    words: str, expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in ("run/model.cfg", "run/best.weights", "run/last.weights", "pictures/dog.jpg"):
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).touch()
    name, *rest = shlex.split(words)
    found = with_weights(cli.parser(name)[0], rest)
    assert found == (rest if expected is None else shlex.split(expected))


def test_run_without_weights_is_refused(run: Command, cfg: Path) -> None:
    folder = cfg.parent / "run"
    folder.mkdir()
    shutil.copy(cfg, folder / "model.cfg")
    command = f"ghostyolo train {folder} DATA --project {folder.parent} --resume"
    message = f"{folder}: no weights yet; train it: {command}; or give WEIGHTS"
    assert_refused(run("detect", folder, "dog.jpg"), message)
    message = "rum: no file and no cfg of that name"
    assert run("detect", "rum", "dog.jpg")[2].startswith(f"ghostyolo: {message}")
    assert run("export", folder.parent, "x.onnx")[2].startswith(
        f"ghostyolo: {folder.parent}: a folder without model.cfg"
    )
    assert run("lint", folder)[0] == run("info", folder)[0] == 0


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    told = "Write a trained cfg as a file for others, such as ONNX."
    for words, want in (
        (["--version"], ghostyolo.__version__),
        (["train", "--help"], "--adapt"),
        (["export", "--help"], told),
    ):
        with pytest.raises(SystemExit) as caught:
            cli.main(words)
        assert caught.value.code == 0
        assert want in capsys.readouterr().out


# --- detect


def test_detect_draws_and_lists(run: Command, cfg: Path, weights: Path, data: Path) -> None:
    code, out, err = run(
        "detect", cfg, weights, data / "JPEGImages", "--names", data / "shapes.names"
    )
    assert (code, without_runtime(err)) == (0, "")
    sources = sorted((data / "JPEGImages").iterdir())
    rows = json.loads(Path("runs/detect/tiny/detections.json").read_text())
    names = (data / "shapes.names").read_text().split()
    assert [row["file"] for row in rows] == [str(path) for path in sources]
    *lines, last = out.splitlines()
    assert len(lines) == len(sources)
    assert last == "wrote runs/detect/tiny: detections.json and the annotated pictures"
    for row, path in zip(rows, sources, strict=True):
        drawn, plain = cv2.imread(f"runs/detect/tiny/{path.name}"), cv2.imread(str(path))
        assert drawn.shape == plain.shape == (row["height"], row["width"], 3)
        assert row["detections"], "these weights find something everywhere"
        assert np.abs(drawn.astype(int) - plain).max() > 100
        for found in row["detections"]:
            left, top, right, bottom = found["box"]
            assert 0 <= left < right <= 128 and 0 <= top < bottom <= 96
            assert found["name"] == names[found["class"]]
            assert 0.25 < found["score"] <= 1


def test_detect_json_writes_nothing(run: Command, cfg: Path, weights: Path, data: Path) -> None:
    picture = data / "JPEGImages/test_00000.jpg"
    code, out, err = run("detect", cfg, weights, picture, "--json", "--thresh", "0.99")
    assert code == 0
    assert json.loads(out) == [
        {
            "schema": 1, "file": str(picture), "width": 128, "height": 96, "format": "xyxy",
            "detections": [],
        }
    ]  # fmt: skip
    names, nothing = without_runtime(err).splitlines()
    assert names == "ghostyolo: no class names; give them with --names FILE"
    assert nothing == "ghostyolo: nothing found above --thresh 0.99; a lower one shows more"
    assert not list(Path().rglob("*"))


def test_names_beside_the_weights(run: Command, cfg: Path, weights: Path, data: Path) -> None:
    picture = data / "JPEGImages/test_00000.jpg"
    shutil.copy(data / "shapes.names", weights.parent / "model.names")
    (weights.parent / "other.names").write_text("one\ntwo\n")  # not as many as the classes
    code, out, err = run("detect", cfg, weights, picture, "--json")
    assert (code, without_runtime(err)) == (0, "")
    assert json.loads(out)[0]["detections"][0]["name"] in (data / "shapes.names").read_text()


def test_blanks_and_letters_of_all_kinds_in_paths(
    run: Command, tmp_path: Path, cfg: Path, weights: Path, data: Path
) -> None:
    folder = tmp_path / "größe mit 空白"
    folder.mkdir()
    for path in (cfg, weights):
        shutil.copy(path, folder / f"ein {path.name}")
    shutil.copy(data / "JPEGImages/test_00000.jpg", folder / "Bild ä 1.JPG")
    code, _, err = run(
        "detect",
        folder / "ein tiny.cfg",
        folder / "ein tiny.weights",
        folder,
        "--out",
        folder / "ö",
    )
    assert (code, without_runtime(err).count("\n")) == (0, 2)  # no names, and two other files
    assert sorted(p.name for p in (folder / "ö").iterdir()) == ["Bild ä 1.JPG", "detections.json"]


def test_equal_names_from_two_folders(
    run: Command, tmp_path: Path, cfg: Path, weights: Path, data: Path
) -> None:
    for folder, source in (("a", "test_00000"), ("b", "test_00001")):
        (tmp_path / folder).mkdir()
        shutil.copy(data / f"JPEGImages/{source}.jpg", tmp_path / folder / "x.jpg")
    code, _, _ = run("detect", cfg, weights, tmp_path / "a", tmp_path / "b", tmp_path / "a/x.jpg")
    assert code == 0
    written = sorted(path.name for path in Path("runs/detect/tiny").iterdir())
    assert written == ["detections.json", "x-2.jpg", "x.jpg"]


def test_every_detect_has_a_folder_of_its_own(
    run: Command, tmp_path: Path, cfg: Path, weights: Path, data: Path
) -> None:
    picture, broken = data / "JPEGImages/test_00000.jpg", tmp_path / "broken.jpg"
    broken.write_text("not a picture")
    shutil.copy(cfg, tmp_path / "model.cfg")  # as in the folder of a run
    words = ["--names", data / "shapes.names", "--runtime", "torch"]
    for model, more, folder in (
        (cfg, [], "runs/detect/tiny"),
        (cfg, ["--thresh", 0.99], "runs/detect/tiny-2"),
        (tmp_path / "model.cfg", [], f"runs/detect/{tmp_path.name}"),
        (cfg, ["--project", "a", "--name", "b"], "a/b"),
        (cfg, ["--project", "a", "--name", "b"], "a/b-2"),
        (cfg, ["--out", "c", "--txt", "c"], "c"),
    ):
        code, out, _ = run("detect", model, weights, picture, *words, *more)
        assert (code, out.splitlines()[-1].split()[1]) == (0, f"{folder}:")
        (row,) = json.loads(Path(folder, "detections.json").read_text())
        assert bool(row["detections"]) != ("--thresh" in more), "the first result is still there"
    code, out, err = run("detect", cfg, weights, picture, *words, "--json", "--name", "quiet")
    assert json.loads(out) == json.loads(Path("runs/detect/quiet/detections.json").read_text())
    assert "wrote runs/detect/quiet: " in err
    code, out, err = run("detect", cfg, weights, broken, *words)
    assert (code, out, err.splitlines()[-1]) == (1, "", "ghostyolo: 1 of 1 sources cannot be read")
    folders = {"tiny", "tiny-2", tmp_path.name, "quiet"}
    assert {path.name for path in Path("runs/detect").iterdir()} == folders


@pytest.mark.parametrize("option", ["--out", "--txt", "--voc"])
def test_folder_with_files_is_refused(
    option: str, run: Command, tmp_path: Path, cfg: Path, weights: Path, data: Path
) -> None:
    """Among them the folder of the source."""
    shutil.copy(data / "JPEGImages/test_00000.jpg", tmp_path / "x.jpg")
    before = (tmp_path / "x.jpg").read_bytes()
    words = ("detect", cfg, weights, tmp_path / "x.jpg", "--names", data / "shapes.names")
    done = run(*words, "--json", option, tmp_path)
    assert_refused(done, f"{tmp_path}: there are files in it; give a new or empty folder")
    assert (tmp_path / "x.jpg").read_bytes() == before
    message = "--out is a whole path; leave it or --project and --name out"
    assert_refused(run(*words, "--out", "y", "--name", "z"), message)


def test_one_bad_picture_does_not_stop_the_others(
    run: Command, tmp_path: Path, cfg: Path, weights: Path, data: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "a.jpg").write_text("not a picture")
    shutil.copy(data / "JPEGImages/test_00000.jpg", folder / "b.jpg")
    code, out, err = run("detect", cfg, weights, folder, "--names", data / "shapes.names")
    assert code == 1
    assert len(out.splitlines()) == 2
    assert err.startswith(f"ghostyolo: {folder / 'a.jpg'}: ")
    assert without_runtime(err).splitlines()[1:] == ["ghostyolo: 1 of 2 sources cannot be read"]
    written = sorted(path.name for path in Path("runs/detect/tiny").iterdir())
    assert written == ["b.jpg", "detections.json"]


def detect_inputs(tmp_path: Path, data: Path) -> dict[str, tuple[list[object], str]]:
    """Return wrong words for detect, and the message that each gets."""
    cfg, weights = tiny.write(tmp_path), tiny.eager_weights(tmp_path)
    picture = data / "JPEGImages/test_00000.jpg"
    whole = weights.read_bytes()
    for name, content in (("short", whole[:-400]), ("long", whole + b"\0" * 8), ("text", b"hello")):
        (tmp_path / f"{name}.weights").write_bytes(content)
    (tmp_path / "empty").mkdir()
    (tmp_path / "two.names").write_text("one\ntwo\n")
    (tmp_path / "headless.cfg").write_text(tiny.CFG.partition("[yolo]")[0])
    two_channels = tiny.CFG.replace("channels=3", "channels=2")
    (tmp_path / "two_channels.cfg").write_text(two_channels)
    ghostyolo.Model(load(tmp_path / "two_channels.cfg")).save_weights(
        tmp_path / "two_channels.weights"
    )
    names = ["--names", data / "shapes.names"]
    trained = "use the cfg that these weights were trained with"
    floats = (len(whole) - 20) // 4
    last = f"layer 2 [convolutional] conv.weight ({cfg}:31)"
    return {
        "truncated": (
            [cfg, tmp_path / "short.weights", picture, *names],
            f"{tmp_path}/short.weights: holds {floats - 100} floats, the cfg needs {floats}: "
            f"it ends in {last}; {trained}",
        ),
        "too long": (
            [cfg, tmp_path / "long.weights", picture, *names],
            f"{tmp_path}/long.weights: holds {floats + 2} floats, the cfg needs {floats}: "
            f"2 too many; {trained}",
        ),
        "not weights": (
            [cfg, tmp_path / "text.weights", picture, *names],
            f"{tmp_path}/text.weights: not a .weights file; "
            "give a file that Darknet or ghostyolo wrote",
        ),
        "no weights": (
            [cfg, tmp_path / "none.weights", picture, *names],
            f"{tmp_path}/none.weights: cannot read: No such file or directory; "
            "give the path of a .weights file",
        ),
        "empty folder": (
            [cfg, weights, tmp_path / "empty"],
            f"{tmp_path}/empty: no pictures in this folder; put pictures (.avif, .bmp, .gif, "
            ".heic, .heif, .jfif, .jp2, .jpe, .jpeg, .jpg, .pgm, .png, .ppm, .tif, .tiff, .webp) "
            "or videos (.avi, .m4v, .mkv, .mov, .mp4, .mpeg, .mpg, .webm, .wmv) there",
        ),
        "no source": (
            [cfg, weights, tmp_path / "none.jpg"],
            f"{tmp_path}/none.jpg: no such file or folder; check the path",
        ),
        "no match": (
            [cfg, weights, tmp_path / "*.png"],
            f"{tmp_path}/*.png: no such file or folder; check the path",
        ),
        "names that do not fit": (
            [cfg, weights, picture, "--names", tmp_path / "two.names"],
            f"{tmp_path}/two.names: 2 names, {cfg} has classes=6; give one name for each class",
        ),
        "no names": (
            [cfg, weights, picture, "--names", tmp_path / "none.names"],
            f"{tmp_path}/none.names: cannot read it: no such file or directory; check the path",
        ),
        "no heads": (
            [tmp_path / "headless.cfg", weights, picture, *names],
            f"{tmp_path}/headless.cfg:31: no detection head, so no boxes; add a [yolo]",
        ),
        "two_channels": (
            [tmp_path / "two_channels.cfg", tmp_path / "two_channels.weights", picture, *names],
            "[net] channels=2, pictures have 3, or 1 in grey; give a network for pictures",
        ),
        "no such device": (
            [cfg, weights, picture, "--device", "warp:9", *names],
            "--device warp:9 is not available; use cpu or auto",
        ),
        "empty size": (
            [cfg, weights, picture, "--size", "0x0"],
            "height 0; use 1 to 16384 pixels",
        ),
        "no size": (
            [cfg, weights, picture, "--size", "33x-1"],
            "--size 33x-1; write height x width, as 416x416, or one number for a square",
        ),
        "file in the way": (
            [cfg, weights, picture, *names, "--out", cfg],
            f"{cfg}: cannot make it: File exists; give a folder that can be written",
        ),
    }  # fmt: skip


DETECT_INPUTS = (
    "truncated", "too long", "not weights", "no weights", "empty folder", "no source", "no match",
    "names that do not fit", "no names", "no heads", "two_channels", "no such device", "empty size",
    "no size", "file in the way",
)  # fmt: skip


@pytest.mark.parametrize("case", DETECT_INPUTS)
def test_detect_refuses(case: str, run: Command, tmp_path: Path, data: Path) -> None:
    words, message = detect_inputs(tmp_path, data)[case]
    assert_refused(run("detect", *words), message)


def test_size_that_the_network_does_not_take(run: Command, data: Path) -> None:
    path = ROOT / "cfg/ghostnet-0.5-voc.cfg"
    code, out, err = run("detect", path, "none.weights", data / "JPEGImages", "--size", "300x330")
    assert (code, out) == (1, "")
    assert err.startswith(f"ghostyolo: --size 300x330 does not fit: {path}:")
    assert err.endswith("; use multiples of 32, such as 288x320\n")
    assert err.count("\n") == 1


def test_cuda_that_is_not_there(run: Command, cfg: Path, weights: Path, data: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("it is there")
    done = run(
        "detect", cfg, weights, data / "JPEGImages", "--device", "cuda",
        "--names", data / "shapes.names",
    )  # fmt: skip
    assert_refused(done, "--device cuda is not available; use cpu or auto")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """Return the network as an ONNX file that has names."""
    folder = tmp_path_factory.mktemp("exported")
    cfg, weights = tiny.write(folder), tiny.eager_weights(folder)
    names = data / "shapes.names"
    words = ["export", cfg, weights, folder / "x.onnx", "--names", names]
    assert cli.main([str(word) for word in words]) == 0
    return folder / "x.onnx"


def test_every_runtime_and_file_finds_the_same(
    run: Command, cfg: Path, weights: Path, data: Path, exported: Path
) -> None:
    pictures, names = data / "JPEGImages", ["--names", data / "shapes.names"]
    code, want, _ = run("detect", cfg, weights, pictures, "--json", "--runtime", "torch", *names)
    assert code == 0
    for words in ([cfg, weights, pictures, *names], [exported, pictures]):
        for more in ([], ["--runtime", "onnxruntime", "--batch", 2]):
            code, out, err = run("detect", *words, "--json", *more)
            assert (code, without_runtime(err)) == (0, "")
            pairs = zip(json.loads(out), json.loads(want), strict=True)
            for a, b in pairs:
                assert a["file"] == b["file"]
                assert [d["class"] for d in a["detections"]] == [
                    d["class"] for d in b["detections"]
                ]
                boxes = [[d["box"] for d in row["detections"]] for row in (a, b)]
                np.testing.assert_allclose(*boxes, atol=0.02)


def test_val_of_an_exported_file(
    run: Command, cfg: Path, weights: Path, data: Path, exported: Path
) -> None:
    _, want, _ = run("val", cfg, weights, data, "--split", "test", "--json", "--runtime", "torch")
    code, out, _ = run("val", exported, data, "--split", "test", "--json")
    assert code == 0
    assert json.loads(out)["mean"] == pytest.approx(json.loads(want)["mean"], abs=2e-3, nan_ok=True)


def test_export_tells_what_eight_bits_cost(
    run: Command, cfg: Path, weights: Path, data: Path
) -> None:
    words = ("export", cfg, weights, "x.onnx", "--int8", data / "JPEGImages", "--val", data)
    code, out, err = run(*words)
    assert (code, out.splitlines()[-1]) == (0, "try it: ghostyolo detect x.onnx PICTURES")
    assert "8-bit ranges from 11 different pictures; give 100 or more" in err
    told = re.findall(r"the (cfg|file) in [^:]+: AP (0\.\d{4}), AP50", out)
    for (_, ap), source in zip(told, ([cfg, weights], ["x.onnx"]), strict=True):
        _, measured, _ = run("val", *source, data, "--json")
        assert json.loads(measured)["mean"]["ap"] == pytest.approx(float(ap), abs=2e-3)
    code, _, err = run(*words, "--nms")
    assert code == 1 and "leave --nms out" in err


def test_detect_in_a_video_and_lists_of_all_kinds(
    run: Command, data: Path, exported: Path, tmp_path: Path
) -> None:
    from ghostyolo.prediction import video

    source = sorted((data / "JPEGImages").iterdir())[0]
    image = cv2.imread(str(source))
    writer = video.VideoWriter(tmp_path / "film.mp4", 10.0)
    for _ in range(5):
        writer.add(image)
    writer.close()
    code, out, err = run(
        "detect", exported, tmp_path / "film.mp4", source, "--batch", 2, "--jsonl", "x.jsonl",
        "--coco", "x.json", "--voc", "voc", "--txt", "txt", "--csv", "x.csv",
    )  # fmt: skip
    assert (code, without_runtime(err)) == (0, "")
    assert out.splitlines()[-2] == f"{tmp_path / 'film.mp4'}: 5 frames -> runs/detect/x/film.mp4"
    drawn = cv2.VideoCapture("runs/detect/x/film.mp4")
    assert drawn.get(cv2.CAP_PROP_FRAME_COUNT) == 5
    rows = [json.loads(line) for line in Path("x.jsonl").read_text().splitlines()]
    assert rows == json.loads(Path("runs/detect/x/detections.json").read_text())
    assert [row.get("frame") for row in rows] == [None, 0, 1, 2, 3, 4]
    count = sum(len(row["detections"]) for row in rows)
    assert len(json.loads(Path("x.json").read_text())) == count > 0
    with open("x.csv", newline="") as file:
        table = list(csv.DictReader(file))
    listed = [(row, found) for row in rows for found in row["detections"]]
    for line, (row, found) in zip(table, listed, strict=True):
        edges = [float(line[edge]) for edge in ("left", "top", "right", "bottom")]
        assert (line["file"], line["frame"]) == (row["file"], str(row.get("frame", "")))
        assert (int(line["class"]), line["name"]) == (found["class"], found["name"])
        assert (float(line["score"]), edges) == (found["score"], found["box"])
    lines = [line for path in Path("voc").iterdir() for line in path.read_text().splitlines()]
    pictures = [source.stem, *(f"film_{n}" for n in range(5))]
    assert {line.split()[0] for line in lines} == set(pictures)
    assert len(list(Path("voc").iterdir())) == 6
    assert sorted(path.stem for path in Path("txt").iterdir()) == sorted(pictures)
    for picture, row in zip(pictures, rows, strict=True):
        labels = Path(f"txt/{picture}.txt").read_text().splitlines()
        assert len(labels) == len(row["detections"])
    assert len({each["image_id"] for each in json.loads(Path("x.json").read_text())}) == 6


def test_cold_detect_of_a_file_loads_no_torch(data: Path, exported: Path, tmp_path: Path) -> None:
    picture = sorted((data / "JPEGImages").iterdir())[0]
    script = (
        "import sys; from ghostyolo.cli import main; "
        f"code = main(['detect', {str(exported)!r}, {str(picture)!r}, '--out', "
        f"{str(tmp_path / 'out')!r}]); print(*sys.modules); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path,
        env=runs.variables(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    heavy = {"torch", "yaml", "tqdm", "matplotlib", "faster_coco_eval", "ghostyolo.gencfg"}
    assert not heavy & set(done.stdout.split())


# --- val


def test_val_prints_a_table_or_json(run: Command, cfg: Path, weights: Path, data: Path) -> None:
    code, out, err = run("val", cfg, weights, data, "--split", "test")
    assert code == 0
    assert out.split()[:2] == ["class", "truths"]
    assert re.fullmatch(
        r"val 2/2 pictures in \d\d:\d\d, \d+\.\d pictures/s\n", without_runtime(err)
    )
    words = ("val", cfg, weights, data, "--split", "test", "--json", "--size", "64x96", "--quiet")
    code, out, err = run(*words)
    assert err == ""
    found = json.loads(out)
    names = (data / "shapes.names").read_text().split()
    assert code == 0
    assert sorted(row["name"] for row in found["classes"]) == sorted(names)
    assert 0 <= found["mean"]["ap50"] <= 1


def voc(folder: Path, name: str, box: str, split: str = "val") -> Path:
    """Write a VOC data set of one picture with one box; return its folder."""
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / part).mkdir(parents=True)
    (folder / f"ImageSets/Main/{split}.txt").write_text("x\n")
    cv2.imwrite(str(folder / "JPEGImages/x.jpg"), np.zeros((64, 64, 3), np.uint8))
    x1, y1, x2, y2 = box.split()
    (folder / "Annotations/x.xml").write_text(
        "<annotation>\n<size><width>64</width><height>64</height><depth>3</depth></size>\n"
        f"<object>\n<name>{name}</name>\n<bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox>\n</object>\n"
        "<object>\n<name>ring</name>\n<bndbox><xmin>1</xmin><ymin>1</ymin>"
        "<xmax>20</xmax><ymax>20</ymax></bndbox>\n</object>\n</annotation>\n"
    )
    return folder


def test_class_that_is_not_in_the_names(
    run: Command, cfg: Path, weights: Path, tmp_path: Path
) -> None:
    names = tmp_path / "six.names"
    names.write_text("a\nb\nc\nd\ne\nring\n")
    folder = voc(tmp_path / "voc", "zebra", "1 1 9 9")
    code, out, err = run("val", cfg, weights, folder, "--names", names, "--json")
    assert (code, json.loads(out)["mean"]["truths"]) == (0, 1)
    told, counted = (line.removeprefix("ghostyolo: ") for line in err.splitlines()[:2])
    place = f"{folder / 'Annotations/x.xml'}:3"
    assert counted == f"{folder} val: 1 x box of unknown class: {place}"
    assert told.startswith(f"{place}: unknown class 'zebra' (6 classes)")
    assert told.endswith("or give all names with --names")


def test_box_outside_the_picture_is_counted(
    run: Command, cfg: Path, weights: Path, tmp_path: Path
) -> None:
    names = tmp_path / "six.names"
    names.write_text("a\nb\nc\nd\ne\nring\n")
    folder = voc(tmp_path / "voc", "a", "70 70 90 90")
    code, out, err = run("val", cfg, weights, folder, "--names", names, "--json")
    assert code == 0
    assert json.loads(out)["mean"]["truths"] == 1
    told = f"{folder} val: 1 x box outside the picture: {folder / 'Annotations/x.xml'}:3"
    assert err.splitlines()[0] == f"ghostyolo: {told}"


def test_val_refuses(run: Command, cfg: Path, weights: Path, data: Path, tmp_path: Path) -> None:
    message = f"{data}: there is no split 'tset'"
    code, out, err = run("val", cfg, weights, data, "--split", "tset")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "no split 'tset'" in err and "test" in err, message
    names = tmp_path / "two.names"
    names.write_text("one\ntwo\n")
    other = voc(tmp_path / "voc", "ring", "1 1 9 9")
    done = run("val", cfg, weights, other)
    assert_refused(
        done,
        f"{cfg}:36: [yolo] classes=6, {other} has 1 (ring); "
        "give the cfg that was trained on these, such as the run's model.cfg",
    )
    (tmp_path / "nothing").mkdir()
    code, out, err = run("val", cfg, weights, tmp_path / "nothing")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "not a data set" in err
    code, out, err = run("val", cfg, weights, tmp_path / "nowhere")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"ghostyolo: {tmp_path / 'nowhere'}: it does not exist; give")


# --- train


def test_train_goes_the_whole_way(run: Command, cfg: Path, data: Path) -> None:
    words = ("train", cfg, data, "--workers", "0", "--val-every", "1", "--epochs", "2")
    words = (*words, "--threads", "1")
    code, out, err = run(*words)
    folder = Path("runs/train/tiny")
    assert code == 0
    made = "report.html, model.cfg, best.weights, last.weights, results.csv, curve.png, "
    made += "train_batch*.jpg"
    look = f"look at {folder}/report.html; ghostyolo detect {folder} PICTURES"
    with open(folder / "results.csv") as file:
        best = max(csv.DictReader(file), key=lambda row: float(row["AP"]) + float(row["AP50"]))
    scores = f"AP {float(best['AP']):.3f}, AP50 {float(best['AP50']):.3f}"
    told = f"best.weights: epoch {best['epoch']}, {scores}\nmeasure: ghostyolo val {folder} {data}"
    assert out == f"{folder}: {made}\n{told}\n{look}\n"
    assert sorted(path.name for path in folder.iterdir()) == [
        "best.weights", "checkpoint.pt", "curve.png", "last.weights", "model.cfg", "model.names",
        "report.html", "results.csv", "run.json", "train_batch0.jpg", "train_batch1.jpg",
        "train_batch2.jpg", "val.txt", "val_batch0.jpg",
    ]  # fmt: skip
    page = (folder / "report.html").read_text()
    assert "Precision" in page and "train tiny.cfg" not in page.partition("</style>")[0]
    assert err.splitlines()[-1].startswith("train 6/6 iterations in 0")
    scores = [line.partition(":")[0] for line in err.splitlines() if "AP50" in line]
    assert scores == ["epoch 1", "epoch 2"]
    code, out, _ = run("val", folder / "model.cfg", folder / "best.weights", data, "--json")
    assert code == 0
    code, out, err = run(
        "detect", folder / "model.cfg", folder / "last.weights", data / "JPEGImages"
    )
    nothing = "ghostyolo: nothing found above --thresh 0.25; a lower one shows more\n"
    assert (code, without_runtime(err)) == (0, nothing)


def test_flags_override_the_cfg_and_are_saved(run: Command, cfg: Path, data: Path) -> None:
    code, _, _ = run(
        "train", cfg, data, "--workers", "0", "--epochs", "2", "--batch", "3", "--size", "32x64",
        "--set", "net.learning_rate = 0.0005", "--set", "net.flip=0", "--set", "net.subdivisions=3",
        "--name", "my run", "--project", "out", "--val-split", "none",
    )  # fmt: skip
    assert code == 0
    options = load("out/my run/model.cfg").options
    assert (options.max_batches, options.batch, options.subdivisions) == (4, 3, 3)
    assert (options.height, options.width, options.flip) == (32, 64, 0)
    assert options.learning_rate == 0.0005


def test_size_set_as_keys_reshapes_the_network(run: Command, cfg: Path, data: Path) -> None:
    words = ("--workers", "0", "--val-split", "none", "--set", "net.width=96")
    code, _, _ = run("train", cfg, data, *words, "--set", "net.height=32")
    assert code == 0
    assert load("runs/train/tiny/model.cfg")[-1].shape == (22, 2, 6)


def test_adapt_rewrites_the_heads(run: Command, cfg: Path, tmp_path: Path) -> None:
    folder = voc(tmp_path / "voc", "ring", "5 5 40 50", split="train")
    done = run("train", cfg, folder, "--val-split", "none")
    assert_refused(
        done,
        f"{cfg}:36: [yolo] classes=6, {folder} has 1 (ring); give --adapt to fit the cfg to these",
    )
    code, _, _ = run("train", cfg, folder, "--val-split", "none", "--adapt", "--workers", "0")
    assert code == 0
    network = load("runs/train/tiny/model.cfg")
    assert (network[-1].layer.classes, network[2].layer.filters) == (1, 12)
    assert Path("runs/train/tiny/model.names").read_text() == "ring\n"


WRITE_SET = "write it as --set net.learning_rate=0.01"
DIVIDE = "change one, such as --set net.subdivisions=1"
REFUSED = {
    "--set learning_rate=1": f"--set learning_rate=1; {WRITE_SET}",
    "--set net.learning_rate": f"--set net.learning_rate; {WRITE_SET}",
    "--set net.lerning_rate=1": "--set: [net] unknown key 'lerning_rate'; "
    "did you mean 'learning_rate'?",
    "--set net.batch=two": "--set: [net] batch=two: 'two' is not a whole number; "
    "write a whole number",
    "--set net.policy=stepps": "--set: [net] unknown policy 'stepps'; did you mean 'steps'?",
    "--set net.subdivisions=0": "--set: [net] batch=2 subdivisions=0; set both to 1 or more",
    "--set net.subdivisions=3": f"batch=2 is not a multiple of subdivisions=3; {DIVIDE}",
    "--batch 3 --set net.subdivisions=2": f"batch=3 is not a multiple of subdivisions=2; {DIVIDE}",
    "--set net.width=0": "--set: [net] width=0; set width, in pixels, to 1..16384",
    "--set net.cutmix=1": "[net] cutmix=1 without mosaic=1 is for classifiers; "
    "run with --set net.cutmix=0",
    "--set net.track=1": "[net] track=1 cannot be honoured in training; run with --set net.track=0",
    "--val-split none --patience 2": "--patience needs a validation set; give --val-split",
    "--set net.max_batches=0": "[net] max_batches=0; set it, or give --epochs",
    "--set net.policy=steps": "[net] the learning rate cannot be computed from 0 steps and "
    "0 scales; give each step its scale",
    "--seed -1": "seed=-1 is under 0; raise seed",
    "--workers -1": "workers=-1 is under 0; raise workers",
    "--resume": "runs/train/tiny/checkpoint.pt: no checkpoint to resume; start it without --resume",
    "--device warp": "--device warp is not available; use cpu or auto",
    "--size 0": "height 0; use 1 to 16384 pixels",
    "--weights none.weights": "none.weights: cannot read: No such file or directory; "
    "give the path of a file with weights",
}


@pytest.mark.parametrize("words", REFUSED)
def test_train_refuses(words: str, run: Command, cfg: Path, data: Path) -> None:
    assert_refused(run("train", cfg, data, *words.split()), REFUSED[words])


def test_train_refuses_what_a_layer_asks_for(run: Command, tmp_path: Path, data: Path) -> None:
    path = tiny.write(tmp_path, ("jitter=.2", "jitter=.2\nclip=3"))
    done = run("train", path, data)
    message = (
        f"{path}:36: [yolo] clip=3.0 cannot be honoured in training; set clip=0.0 for training"
    )
    assert_refused(done, message)


def test_run_that_exists_is_left_alone(run: Command, cfg: Path, data: Path) -> None:
    folder = Path("runs/train/tiny")
    folder.mkdir(parents=True)
    (folder / "precious").write_text("mine")
    code, out, err = run("train", cfg, data)
    assert (code, out) == (1, "")
    told = "this run exists; give another --name (folder= in Python), or --resume to continue it\n"
    assert err == f"ghostyolo: {folder}: {told}"
    assert [path.name for path in folder.iterdir()] == ["precious"]


def test_file_in_the_way_of_a_run(run: Command, cfg: Path, data: Path) -> None:
    Path("runs").write_text("a file")
    code, out, err = run("train", cfg, data)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("ghostyolo: runs/train/tiny: cannot make it: ")
    Path("runs").unlink()
    Path("runs/train").mkdir(parents=True)
    Path("runs/train/tiny").write_text("a file")
    code, out, err = run("train", cfg, data)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("ghostyolo: runs/train/tiny: cannot make it: File exists; give")


def test_checkpoint_that_is_none(run: Command, cfg: Path, data: Path) -> None:
    import torch

    folder = Path("runs/train/tiny")
    folder.mkdir(parents=True)
    for content in (b"junk", None):
        if content is None:
            torch.save({"another": "thing"}, folder / "checkpoint.pt")
        else:
            (folder / "checkpoint.pt").write_bytes(content)
        code, out, err = run("train", cfg, data, "--resume")
        assert (code, out) == (1, "")
        path = folder / "checkpoint.pt"
        message = "not a checkpoint, or a damaged one; start the run anew"
        assert err.splitlines()[-1] == f"ghostyolo: {path}: {message}"
    assert [path.name for path in folder.iterdir()] == ["checkpoint.pt"]


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Hear Ctrl-C, also where a shell started the tests in its background and turned it off."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize(
    ("number", "want", "by"), [(signal.SIGINT, 130, ""), (signal.SIGTERM, 143, " by SIGTERM")]
)
def test_signal_leaves_a_run_that_goes_on(
    number: signal.Signals,
    want: int,
    by: str,
    run: Command,
    cfg: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The signal comes in the middle of an update, which is finished before anything is saved."""
    from ghostyolo.training import loop

    whole, calls = loop.gradient, []

    def interrupted(*arguments: Any) -> float:
        calls.append(1)
        if len(calls) == 2:
            signal.raise_signal(number)
        return whole(*arguments)

    words = ("train", cfg, data, "--workers", "0", "--val-split", "none")
    assert run(*words, "--name", "whole")[0] == 0
    monkeypatch.setattr(loop, "gradient", interrupted)
    code, out, err = run(*words, "--name", "parts")
    assert (code, out, len(calls)) == (want, "", 2)
    assert err.splitlines()[-3:] == [
        "ghostyolo: stopping after this iteration; press Ctrl-C again to stop now",
        "ghostyolo: --resume continues runs/train/parts",
        f"ghostyolo: interrupted{by}",
    ]
    assert run(*words, "--name", "parts", "--resume")[0] == 0
    for name in ("last.weights", "best.weights", "results.csv"):
        a, b = (Path("runs/train", run_, name).read_bytes() for run_ in ("whole", "parts"))
        assert a == b, name


@pytest.mark.usefixtures("ctrl_c")
def test_second_ctrl_c_stops_at_once(
    run: Command, cfg: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def impatient(*_: object) -> float:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("went on")

    monkeypatch.setattr("ghostyolo.training.loop.gradient", impatient)
    before = signal.getsignal(signal.SIGINT)
    code, _, err = run("train", cfg, data, "--workers", "0")
    assert code == 130
    assert err.splitlines()[-1] == "ghostyolo: interrupted"
    assert not Path("runs/train/tiny/checkpoint.pt").exists()
    assert signal.getsignal(signal.SIGINT) is before


def test_patience_ends_a_run(run: Command, cfg: Path, data: Path) -> None:
    """Nothing moves, so nothing gets better: the first validation is the best, and the last."""
    words = ("train", cfg, data, "--workers", "0", "--set", "net.learning_rate=0")
    words += ("--set", "net.max_batches=30", "--val-every", "1", "--patience", "2")
    words += ("--bn-momentum", "0")
    code, _, err = run(*words)
    told = "ghostyolo: AP and AP50 no better in 2 validations, stopped after 9 of 30 iterations"
    assert (code, err.splitlines()[-1]) == (0, told)
    lines = Path("runs/train/tiny/results.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["iteration", "3", "6", "9"]
    code, _, err = run(*words, "--resume")
    assert (code, err.splitlines()[-1]) == (0, told)
    assert Path("runs/train/tiny/results.csv").read_text().splitlines() == lines


def test_tensorboard_hears_what_the_table_has(run: Command, cfg: Path, data: Path) -> None:
    loading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    words = ("train", cfg, data, "--workers", "0", "--val-every", "1", "--tensorboard")
    assert run(*words)[0] == 0
    events = loading.EventAccumulator("runs/train/tiny/tensorboard").Reload()
    table = Path("runs/train/tiny/results.csv").read_text().splitlines()
    rows = [dict(zip(table[0].split(","), line.split(","), strict=True)) for line in table[1:]]
    scores = [f"val/{name}" for name in ("AP", "AP50", "AP75", "VOC", "precision", "recall")]
    for tag in (*scores, "loss/val"):
        name = tag.removeprefix("val/") if tag in scores else "val_loss"
        got = [(event.step, event.value) for event in events.Scalars(tag)]
        want = [(int(row["iteration"]), float(row[name])) for row in rows]
        assert got == [(step, pytest.approx(value, rel=1e-5)) for step, value in want]
    losses = [events.Scalars(f"loss/{part}") for part in ("box", "objectness", "class", "all")]
    assert [event.step for event in losses[0]] == [1, 2, 3, 4]
    for *parts, whole in zip(*losses, strict=True):
        assert sum(part.value for part in parts) == pytest.approx(whole.value, rel=1e-5)
    assert [event.value for event in events.Scalars("rate")] == pytest.approx([0.01] * 4)
    assert all(event.value > 0 for event in events.Scalars("pictures per second"))


def test_tensorboard_that_is_missing(
    run: Command, cfg: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    message = "--tensorboard needs a package that is not installed; "
    done = run("train", cfg, data, "--tensorboard")
    assert_refused(done, f"{message}pip install 'ghostyolo[tensorboard]'")


# --- sample-data


def test_sample_data_refuses_a_place_that_is_taken(run: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file/below", tmp_path):
        code, out, err = run("sample-data", place)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert err.startswith("ghostyolo: ")
    code, _, err = run("sample-data", tmp_path / "new", "--seed", "-1")
    assert (code, err) == (1, "ghostyolo: the seed -1 is below 0; use 0 or more\n")
    assert not (tmp_path / "new").exists()


def test_module_runs_as_a_script() -> None:
    command = [sys.executable, "-m", "ghostyolo", "info", "none.cfg"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr.startswith("ghostyolo: none.cfg: no file and no cfg of that name; known: ")
    assert "Traceback" not in done.stderr
