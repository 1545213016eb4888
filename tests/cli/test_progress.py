"""What a person sees of long work when it is written to a log."""

from __future__ import annotations

import fcntl
import os
import struct
import sys
import termios
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

from ghostyolo.cli import progress as console
from ghostyolo.cli import shared
from ghostyolo.training.observers import Interruption


def state(iteration: int) -> Any:
    return SimpleNamespace(iteration=iteration, loss=1.5, parts={"loss": 1.5})


def train_progress(iterations: int, start: int = 0) -> console.TrainProgress:
    progress = console.TrainProgress()
    progress.started(SimpleNamespace(iterations=iterations), state(start))
    return progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a list whose only number is the time."""
    now = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    return now


def test_log_has_a_line_now_and_then(clock: list[float], capsys: pytest.CaptureFixture) -> None:
    progress = console.Progress(10, "val", "picture")
    for done in range(1, 11):
        clock[0] += 8
        progress.advance_to(done, "all well")
    progress.close()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "val 2/10 pictures, all well, 01:04 left"
    assert lines[-1] == "val 10/10 pictures, all well"
    assert len(lines) == 5


def test_time_left_counts_from_where_a_run_was_resumed(
    clock: list[float], capsys: pytest.CaptureFixture
) -> None:
    progress = train_progress(1000, 901)
    for iteration in range(901, 906):
        progress.updated(state(iteration), 0.001, 3.21)
        clock[0] += 10
    progress.closed()
    lines = capsys.readouterr().err.splitlines()
    assert (
        lines[0] == "train 903/1000 iterations, loss 1.50, rate 0.001, 3.2 pictures/s, 16:10 left"
    )


def test_validation_is_a_line(capsys: pytest.CaptureFixture) -> None:
    progress = train_progress(10)
    progress.validated({"iteration": 1, "epoch": 2.5, "loss": 3, "AP": 0.1, "AP50": 0.25})
    progress.validated({"iteration": 2, "epoch": 3, "loss": 3})
    assert capsys.readouterr().err.splitlines() == [
        "epoch 2.5: loss 3.00, AP 0.100, AP50 0.250",
        "epoch 3.0: loss 3.00",
    ]


def test_stop_comes_after_an_update() -> None:
    interruption = Interruption()
    interruption.updated(state(1), 0.1, 1)
    interruption.signal = 15
    with pytest.raises(KeyboardInterrupt) as caught:
        interruption.updated(state(2), 0.1, 1)
    assert caught.value.args == (15,)


def test_parts_of_a_loss_are_shown(capsys: pytest.CaptureFixture) -> None:
    progress, now = train_progress(3), state(3)
    now.parts = {"box": 1.0, "class": 0.5}
    progress.updated(now, 0.1, 1)
    assert capsys.readouterr().err.startswith(
        "train 3/3 iterations, loss 1.50 (box 1.00, class 0.50), rate 0.1, 1.0 pictures/s"
    )


def test_line_of_output_goes_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setattr(sys, "stderr", terminal)
        progress = console.Progress(3, "detect", "picture")
        shared.print_above_bar("x.jpg: 1 dog")
        progress.close()
    seen = b""
    with suppress(OSError):  # at the end
        while part := os.read(master, 10_000):
            seen += part
    os.close(master)
    lines = seen.decode().split("\r\n")
    assert any("detect" in line and "0/3" in line for line in lines)
    assert "x.jpg: 1 dog" in [line.rpartition("\r")[2] for line in lines]
