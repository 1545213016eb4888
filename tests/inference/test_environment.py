"""What a report about a bug says, also of an installation that is broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

import ghostyolo
from ghostyolo.inference.environment import environment, text
from support import ROOT

BROKEN = "raise ImportError('libGL.so.1: cannot open shared object file')"
MISSING = "raise ModuleNotFoundError(\"No module named 'cv2'\", name='cv2')"
INSTALL = "pip install opencv-python, or opencv-python-headless if there is no display"


def test_values() -> None:
    found = environment()
    assert found["ghostyolo"] == ghostyolo.__version__
    assert 1 <= found["cores"]["usable"] <= found["cores"]["all"]
    assert found["memory_bytes"] > 1e9
    assert found["torch"]["version"] == torch.__version__
    assert found["packages"]["numpy"] == version("numpy")
    assert "uvicorn" in found["packages"] and "pytest" not in found["packages"]
    assert Path(found["folder"]) == ROOT / "ghostyolo"
    lines = [line.split() for line in text(found).splitlines()]
    assert ["ghostyolo", ghostyolo.__version__] in lines
    assert ["numpy", version("numpy")] in lines
    assert text({"memory_bytes": None, "packages": {}}).split() == ["memory", "None"]


def test_json(invoke: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = invoke("env", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {"schema": 1, **environment()} | {
        name: json.loads(out)[name] for name in ("cache_bytes", "disk_free_bytes")
    }


@pytest.fixture
def broken(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return what runs Python with a module cv2 of this text."""

    def run(module: str, *words: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "cv2.py").write_text(module)
        places = os.pathsep.join([str(tmp_path), str(ROOT)])
        variables = {**os.environ, "PYTHONPATH": places}
        command = [sys.executable, *words]
        return subprocess.run(command, capture_output=True, text=True, env=variables)

    return run


def test_opencv_that_cannot_be_loaded(
    broken: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    reason = "libGL.so.1: cannot open shared object file"
    done = broken(BROKEN, "-m", "ghostyolo", "env", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["opencv"] == f"cannot be loaded: {reason}"
    done = broken(BROKEN, "-m", "ghostyolo", "sample-data", "here")
    message = f"ghostyolo: cannot import cv2: {reason}; {INSTALL}\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", message)


def test_opencv_that_is_missing(broken: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = broken(MISSING, "-c", "import ghostyolo; ghostyolo.read_image")
    assert done.stderr.endswith(f"cannot import cv2: No module named 'cv2'; {INSTALL}\n")
