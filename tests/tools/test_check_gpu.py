"""The check of a GPU, on a CPU: that it runs, tells what failed, and says so without a GPU."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from support import ROOT


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("check_gpu")


def test_without_a_gpu_a_line_says_so(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert tool.main([]) == 1
    out = capsys.readouterr().out
    assert out.startswith("check_gpu: torch finds no GPU here")
    assert out.count("\n") == 1


def test_checks_run_on_a_cpu_and_failures_are_lines(
    tool: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(bench: Any) -> Iterator[Any]:
        yield tool.Line("before", "well", True)
        raise RuntimeError("a | driver\nerror")

    monkeypatch.setitem(tool.CHECKS, "broken", broken)
    out = tmp_path / "gpu.md"
    words = ["determinism", "memory-formats", "speeds"]
    assert tool.main(["--device", "cpu", "--out", str(out), "--skip", *words]) == 1
    lines = out.read_text().splitlines()
    assert "| broken | RuntimeError: a / driver error | **fail** |" in lines
    assert "| before | well | pass |" in lines
    found = [line for line in lines if line.startswith("| loss,") and "compiled" not in line]
    assert [line.split(" | ")[0] for line in found] == [
        "| loss, float32", "| loss, bf16", "| loss, fp16",
    ]  # fmt: skip
    assert all(line.endswith("| pass |") for line in found)
    left = "loss, compiled, determinism, memory-formats, batch norm over all processes, speeds"
    left += ", memory of training, AP and outputs on CPU and GPU"
    assert lines[-1] == f"Not checked: {left}."
    assert sum("**fail**" in line for line in lines) == 1
    assert capsys.readouterr().out.strip() in out.read_text()
