"""The tools: when they make, mend and reuse their environment. Nothing is installed here."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from support import ROOT, runs

TOOLS = ROOT / "tools"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Return a function that imports a tool anew, as a script would see it."""
    monkeypatch.syspath_prepend(str(TOOLS))

    def fresh(name: str) -> ModuleType:
        monkeypatch.delitem(sys.modules, name, raising=False)
        module = importlib.import_module(name)
        monkeypatch.setitem(sys.modules, name, module)
        return module

    return fresh


@pytest.fixture
def environment(
    load: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ModuleType:
    """Return the environment module over a made-up project; `calls` notes what it would run."""
    module = load("environment")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(module, "PYTHON", tmp_path / ".venv/bin/python")
    monkeypatch.setattr(module, "OPENCV_4", tmp_path / ".venv/opencv-4.14")
    for name in module.RECIPE:
        (tmp_path / name).write_text("one")
    module.calls, module.exit_code = [], 0

    def call(command: list[str], variables: object = None) -> int:
        module.calls.append(command)
        if "venv" in command:
            shutil.rmtree(module.VENV, ignore_errors=True)
            module.PYTHON.parent.mkdir(parents=True)
            module.PYTHON.symlink_to(sys.executable)
        if "--target" in command:
            module.OPENCV_4.mkdir()
        return module.exit_code

    monkeypatch.setattr(module, "_call", call)
    return module


def steps(environment: ModuleType) -> list[str]:
    """Return what was run since the last look: "venv" or the package that pip was to install."""
    done = ["venv" if "venv" in call else call[call.index("-e") + 1] for call in environment.calls]
    environment.calls.clear()
    return done


def test_environment_is_made_once(environment: ModuleType) -> None:
    environment.prepare(test=True)
    assert steps(environment) == ["venv", ".[test]"]
    environment.prepare(test=True)
    environment.prepare()
    assert steps(environment) == []


def test_pins_are_those_of_the_constraints(environment: ModuleType) -> None:
    environment.prepare()
    assert environment.calls[-1][-4:] == ["-e", ".", "-c", "constraints.txt"]


def test_tests_need_more_than_the_demo(environment: ModuleType) -> None:
    environment.prepare()
    environment.prepare(test=True)
    assert steps(environment) == ["venv", ".", ".[test]"]


def test_changed_pins_are_installed_into_the_environment_that_is_there(
    environment: ModuleType,
) -> None:
    environment.prepare()
    (environment.ROOT / "constraints.txt").write_text("two")
    environment.prepare()
    assert steps(environment) == ["venv", ".", "."]


def test_failed_installation_is_tried_again(environment: ModuleType) -> None:
    environment.prepare()
    (environment.ROOT / "setup.cfg").write_text("two")
    environment.exit_code = 1
    with pytest.raises(SystemExit, match="pip failed"):
        environment.prepare()
    environment.exit_code = 0
    environment.prepare()
    assert steps(environment) == ["venv", ".", ".", "."]


def test_environment_whose_python_does_not_run_is_made_anew(environment: ModuleType) -> None:
    environment.PYTHON.parent.mkdir(parents=True)
    environment.PYTHON.symlink_to("/nowhere/python")
    (environment.VENV / "ready-main").write_text(environment._recipe())
    environment.prepare()
    assert steps(environment) == ["venv", "."]


def test_opencv_4_is_put_beside_once(environment: ModuleType) -> None:
    environment.prepare(test=True)
    environment.calls.clear()
    environment.prepare_opencv_4()
    environment.prepare_opencv_4()
    (call,) = environment.calls
    assert call[-4:] == [
        "--no-deps",
        "--target",
        str(environment.OPENCV_4),
        "opencv-python==4.14.0.94",
    ]


@pytest.mark.parametrize(
    ("arguments", "versions"), [([], ["5", "4"]), (["--opencv", "4", "-k", "nms"], ["4"])]
)
@pytest.mark.parametrize("broken", ["", "ruff", "pytest"])
def test_everything_runs_and_any_failure_counts(
    arguments: list[str],
    versions: list[str],
    broken: str,
    load: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    test, runs = load("test"), []

    def run(*command: str, **variables: str) -> int:
        runs.append((command, variables))
        return int(command[1] == broken)

    monkeypatch.setattr(test, "run", run)
    monkeypatch.setattr(test, "prepare", lambda **_: None)
    monkeypatch.setattr(test, "prepare_opencv_4", lambda: None)
    monkeypatch.setattr(sys, "argv", ["test.py", *arguments])
    assert test.main() == bool(broken)
    assert [command[1] for command, _ in runs[:3]] == ["ruff", "ruff", "mypy"]
    assert ["4" if "PYTHONPATH" in variables else "5" for _, variables in runs[3:]] == versions
    assert all(command[-2:] == ("-k", "nms") for command, _ in runs[3:]) == bool(arguments)


def test_ci_runs_the_command_of_the_readme() -> None:
    script = TOOLS.parent / ".ci/run"
    assert script.read_text().splitlines()[-1] == "exec python3 tools/test.py"
    assert subprocess.run(["bash", "-n", str(script)]).returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="the tool is for Linux")
def test_killed_commands_and_full_disks_leave_whole_files() -> None:
    words = [sys.executable, str(TOOLS / "kill_commands.py"), "--trials", "1"]
    done = subprocess.run(words, env=runs.variables(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "detect" in done.stdout
