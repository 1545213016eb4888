"""What a person sees of long work when it is written to a log."""

from __future__ import annotations

import fcntl
import io
import logging
import os
import struct
import sys
import termios
from argparse import Namespace
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ghostyolo import cli
from ghostyolo.augment.detection import NONE as UNCHANGED
from ghostyolo.augment.detection import Augmentation
from ghostyolo.cli import progress_bar as console
from ghostyolo.cli import shared
from ghostyolo.cli.progress import TrainProgress
from ghostyolo.data import Dataset, Sample
from ghostyolo.training.observers import Interruption
from support import tiny

BOX = np.array([[0, 0, 3, 3]], np.float32)
PICTURE = Sample("x.jpg", BOX, np.zeros(1, np.int64), np.zeros(1, bool), (9, 9), "x")
TWO_PICTURES = Dataset(("a",), (PICTURE, PICTURE), "train", "DATA")


def state(iteration: int) -> Any:
    return SimpleNamespace(iteration=iteration, loss=1.5, parts={"loss": 1.5})


def train_progress(
    iterations: int, start: int = 0, usual: Augmentation = UNCHANGED
) -> TrainProgress:
    progress = TrainProgress()
    config = SimpleNamespace(
        iterations=iterations, batch=4, train=TWO_PICTURES, augmentation=lambda _: usual, tiles=None
    )
    progress.started(config, state(start))
    return progress


def lines_after_start(capsys: pytest.CaptureFixture) -> list[str]:
    """Return the lines after the one that tells the length of the run."""
    return capsys.readouterr().err.splitlines()[1:]


class Terminal(io.TextIOWrapper):
    """A pseudo-terminal with a number of columns; `lines` reads what was written."""

    def __init__(self, columns: int) -> None:
        self.end, start = os.openpty()
        fcntl.ioctl(start, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
        super().__init__(os.fdopen(start, "wb", 0), write_through=True)

    def lines(self) -> list[str]:
        """Return the lines as they stand at the end; carriage returns overwrite."""
        self.close()
        found = b""
        with suppress(OSError):  # at the end
            while part := os.read(self.end, 1 << 16):
                found += part
        os.close(self.end)
        text = found.decode().replace("\r\n", "\n")
        return [line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n")]


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
    assert lines[0] == "val 2/10 pictures, 01:04 left, all well"
    assert lines[-1] == "val 10/10 pictures in 01:20, all well"
    assert len(lines) == 5


def test_time_left_counts_from_where_a_run_was_resumed(
    clock: list[float], capsys: pytest.CaptureFixture
) -> None:
    progress = train_progress(1000, 901)
    for iteration in range(901, 906):
        progress.updated(state(iteration), 0.001, 3.21)
        clock[0] += 10
    progress.closed()
    lines = lines_after_start(capsys)
    assert (
        lines[1] == "train 903/1000 iterations, 16:10 left, loss 1.50, 3.2 pictures/s, rate 0.001"
    )


@pytest.mark.parametrize(("start", "end"), [(0, "; --epochs N sets others"), (901, ", 901 done")])
def test_length_is_told_at_the_start(start: int, end: str, capsys: pytest.CaptureFixture) -> None:
    train_progress(1000, start)
    told = "1,000 updates of 4 pictures: 2,000.0 epochs of the 2 pictures of train"
    assert capsys.readouterr().err.splitlines() == [told + end]


def test_the_scale_of_mosaics_is_told(capsys: pytest.CaptureFixture) -> None:
    train_progress(1000, usual=Augmentation(mosaic=1, mosaic_scale=0.625))
    assert lines_after_start(capsys) == [
        "mosaics show pictures at 0.62 to 1 of the input's sides: the median object has "
        "0.33 of its picture's"
    ]


def test_time_is_told_once_by_the_first_seconds(
    clock: list[float], capsys: pytest.CaptureFixture
) -> None:
    """The first update, which waits for pictures and memory, does not count."""
    progress = train_progress(1000)
    for iteration, seconds in ((1, 30), (2, 6), (3, 6), (4, 6), (5, 60)):
        clock[0] += seconds
        progress.updated(state(iteration), 0.001, 3.21)
    told = [line for line in lines_after_start(capsys) if not line.startswith("train ")]
    assert told == ["6 s an update: about 1:39:42 to go, and validations"]


def test_validation_is_a_line(capsys: pytest.CaptureFixture) -> None:
    progress = train_progress(10)
    progress.validated(
        {"iteration": 1, "epoch": 2, "loss": 3, "val_loss": 4, "AP": 0.1, "AP50": 0.25}
    )
    progress.validated({"iteration": 2, "epoch": 3, "loss": 3})
    assert lines_after_start(capsys) == [
        "epoch 2: loss 3.00, val_loss 4.00, AP 0.100, AP50 0.250",
        "epoch 3: loss 3.00",
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
    assert lines_after_start(capsys)[0].startswith(
        "train 3/3 iterations in 00:00, loss 1.50, 1.0 pictures/s, rate 0.1, box 1.00, class 0.50"
    )


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (50, "train 9500/20000 iterations, 17:30 left"),
        (
            80,
            "train [####------] 9500/20000 iterations, 17:30 left, loss 1.50, 3.2 pictures/s",
        ),
        (
            120,
            "train [#######---------] 9500/20000 iterations, 17:30 left, loss 1.50, "
            "3.2 pictures/s, rate 0.001, box 1.00, class 0.50",
        ),
    ],
)
def test_bar(columns: int, line: str, clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """The most important numbers come first, no line is broken, and a message stays above."""
    terminal = Terminal(columns)
    monkeypatch.setattr(sys, "stderr", terminal)
    handler = logging.StreamHandler(terminal)
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    progress = train_progress(20_000, 9400)
    clock[0] += 10
    now = state(9500)
    now.parts = {"box": 1.0, "class": 0.5}
    progress.updated(now, 0.001, 3.21)
    logging.getLogger().warning("a picture is damaged")
    progress.updated(now, 0.001, 3.21)
    progress.closed()
    assert terminal.lines()[1:] == ["a picture is damaged", line, ""]
    assert not handler.filters


def test_output_goes_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(80)
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    for picture in shared.watched(Namespace(quiet=False), iter("abc"), 3, "picture", "detect"):
        sys.stdout.write(f"{picture}.jpg: 1 dog\n")
    for _ in shared.watched(Namespace(quiet=True), iter("abc"), 3, "picture", "detect"):
        pass
    *found, bar, last = terminal.lines()
    assert found == ["a.jpg: 1 dog", "b.jpg: 1 dog", "c.jpg: 1 dog"]
    assert bar.startswith("detect [####") and "] 3/3 pictures in 00:00, " in bar
    assert last == ""


def test_bar_of_a_run_comes_back_after_the_validation_for_its_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal(80)
    monkeypatch.setattr(sys, "stderr", terminal)
    progress = train_progress(10)
    progress.updated(state(10), 0.001, 3.21)
    for done in (1, 2):
        progress.validating(done, 2)
    assert progress.validation is None
    progress.closed()
    _, bar, last = terminal.lines()
    assert bar.startswith("train [####") and "] 10/10 iterations in 00:00, loss 1.50" in bar
    assert last == ""


def test_ghosts_shows_its_layers(
    invoke: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = min((tiny.pictures(tmp_path / "shapes") / "JPEGImages").iterdir())
    words = ["ghosts", tiny.write(tmp_path), tiny.eager_weights(tmp_path), picture, "--layer"]
    terminal = Terminal(80)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        assert cli.main([*map(str, words), "0", "1"]) == 0
    assert any(
        line.startswith("ghosts [####") and "] 2/2 layers" in line for line in terminal.lines()
    )
    assert invoke(*words, "0", "1")[2] == ""
