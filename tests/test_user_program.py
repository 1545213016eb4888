"""The program of a user: it does what the commands do, and the names that it uses are typed."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from ghostyolo import cli
from support import ROOT, TESTS, runs, tiny

PROGRAM = TESTS / "user_program.py"
# Each would be an unused "type: ignore" if the public names were not typed.
MISUSE = """
found.boxez  # type: ignore[attr-defined]
first.score.lower()  # type: ignore[attr-defined]
model.detect(3)  # type: ignore[call-overload]
ghostyolo.val(model, "DATA", spilt="test")  # type: ignore[call-arg]
ghostyolo.train("my.cfg", "DATA", epochs="many")  # type: ignore[arg-type]
ghostyolo.export(model, 3)  # type: ignore[arg-type]
run.scores["AP"].upper()  # type: ignore[attr-defined]
"""
# Their own types take mypy a minute, and change nothing in what this program uses.
SKIPPED = "torch.*,numpy.*,matplotlib.*,cv2.*,faster_coco_eval.*,jinja2.*"


def test_program_does_what_the_commands_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny.write(tmp_path).rename("my.cfg")
    picture = next(tiny.pictures(tmp_path / "DATA").glob("JPEGImages/test*.jpg"))
    Path("dog.jpg").write_bytes(picture.read_bytes())
    program = runpy.run_path(str(PROGRAM))

    def run(words: str) -> str:
        capsys.readouterr()
        assert cli.main(words.split()) == 0
        return capsys.readouterr().out

    mine, other = Path("runs/train/my"), Path("runs/train/other")
    model = f"{other}/model.cfg {other}/best.weights"
    run("train my.cfg DATA --epochs 2 --batch 3 --workers 0 --device cpu --name other")
    for name in ("best.weights", "model.cfg", "model.names", "results.csv"):
        assert (other / name).read_bytes() == (mine / name).read_bytes()
    mean = json.loads(run(f"val {model} DATA --split test --json"))["mean"]
    assert [program["scores"][name] for name in ("AP", "AP50")] == [mean["ap"], mean["ap50"]]
    (row,) = json.loads(run(f"detect {model} dog.jpg --thresh .001 --json --runtime torch"))
    assert len(row["detections"]) == len(program["found"]) == program["count"] > 0
    for each, told in zip(program["found"], row["detections"], strict=True):
        assert (each.name, each.cls) == (told["name"], told["class"])
        assert each.score == pytest.approx(told["score"], abs=1e-4)
        assert each.box == pytest.approx(told["box"], abs=0.05)
    run(f"export {model} other.onnx --decode")
    assert Path("other.onnx").read_bytes() == program["file"].read_bytes()


def test_names_are_typed_for_users(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """mypy takes what is on PYTHONPATH for installed packages: it reads those with a py.typed."""
    (tmp_path / "program.py").write_text(PROGRAM.read_text() + MISUSE)
    settings = f"[mypy]\nstrict = true\n[mypy-{SKIPPED}]\nfollow_imports = skip\n"
    (tmp_path / "mypy.ini").write_text(f"{settings}ignore_missing_imports = true\n")
    kept = getattr(pytestconfig, "cache", None)
    cache = kept.mkdir("mypy") if kept else os.devnull
    words = ["--config-file", "mypy.ini", "--cache-dir", str(cache), "program.py"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *words], cwd=tmp_path, capture_output=True, text=True,
        env={**runs.variables(), "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "Success: no issues found in 1 source file\n")
