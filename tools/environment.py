"""Set up what the tools need: a virtual environment at .venv, made once and checked on each run.

Standard library only, and nothing of ghostyolo: this runs before anything is installed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
OPENCV_4 = VENV / "opencv-4.14"
RECIPE = (
    "constraints.txt",
    "pyproject.toml",
    "setup.cfg",
    "setup.py",
)  # a change in one calls for pip


def prepare(*, test: bool = False) -> None:
    """Make .venv hold ghostyolo and its pinned dependencies, those of the tests too if `test`.

    Does nothing when that is so already; an environment that does not run is made anew.
    Raises SystemExit with one line to say why when it cannot.
    """
    if sys.version_info < (3, 10):
        raise SystemExit(
            f"Python {sys.version.split()[0]} is too old; ghostyolo needs 3.10 or newer"
        )
    names = ("test",) if test else ("test", "main")  # what suits the tests suits everything
    if any(_is_ready(VENV / f"ready-{name}") for name in names):
        return
    if not _runs():
        _create()
    package = ".[test]" if test else "."
    say("installing ghostyolo and what it needs (several minutes the first time)")
    _pip(VENV / f"ready-{names[-1]}", "install", "-e", package, "-c", "constraints.txt")


def prepare_opencv_4() -> None:
    """Put OpenCV 4 beside the environment's OpenCV 5; on PYTHONPATH it comes first."""
    stamp = OPENCV_4 / "ready"
    if _is_ready(stamp):
        return
    shutil.rmtree(OPENCV_4, ignore_errors=True)
    say("installing OpenCV 4.14 beside OpenCV 5")
    _pip(stamp, "install", "--no-deps", "--target", str(OPENCV_4), "opencv-python==4.14.0.94")


def run(*command: str, **variables: str) -> int:
    """Run the environment's Python with `command` in the project's folder; return its exit code.

    Echoes a line that does the same when it is pasted into a shell there.
    """
    words = [f"{name}={value}" for name, value in variables.items()]
    words += [str(PYTHON.relative_to(ROOT)), *command]
    say(" ".join(_quoted(word) for word in words), prompt="$")
    return _call([str(PYTHON), *command], variables)


def say(text: str, prompt: str = "#") -> None:
    print(f"\n{prompt} {text}", flush=True)


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quoted(word: str) -> str:
    return f"'{word}'" if set(word) & set(' *?[]()&;$<>|"\\') else word


def _is_ready(stamp: Path) -> bool:
    return stamp.is_file() and stamp.read_text() == _recipe() and PYTHON.exists()


def _recipe() -> str:
    """Return a hash of all that the environment is made of: the pins and where the project lies."""
    parts = [str(ROOT).encode(), *((ROOT / name).read_bytes() for name in RECIPE)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _runs() -> bool:
    """Say whether .venv has a Python that starts and finds its pip."""
    command = [str(PYTHON), "-m", "pip", "--version"]
    return PYTHON.exists() and subprocess.run(command, capture_output=True).returncode == 0


def _create() -> None:
    say(f"making a virtual environment at {VENV}")
    if _call([sys.executable, "-m", "venv", "--clear", str(VENV)]):
        raise SystemExit(f"{sys.executable} cannot make one; install venv (Debian: python3-venv)")


def _pip(stamp: Path, *arguments: str) -> None:
    """Run pip, and write the stamp only when it has succeeded."""
    stamp.unlink(missing_ok=True)
    start = time.monotonic()
    if _call([str(PYTHON), "-m", "pip", "--disable-pip-version-check", *arguments]):
        raise SystemExit("pip failed, see above; run this again when the cause is gone")
    stamp.write_text(_recipe())
    say(f"installed in {time.monotonic() - start:.0f} s")


def _call(command: list[str], variables: Mapping[str, str] | None = None) -> int:
    environment = {**os.environ, **(variables or {})}
    return subprocess.run(command, cwd=ROOT, env=environment).returncode
