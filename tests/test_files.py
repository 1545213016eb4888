"""Files and folders that several processes write at the same time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

import ghostyolo
from ghostyolo import OptionError, cli, files
from support import runs, tiny

HELD = """
import sys, time
from ghostyolo.files import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""
WRITERS = """
import sys, time
from ghostyolo.files import replace
def chunks():
    for _ in range(20):
        time.sleep(0.001)
        yield sys.argv[2].encode() * 10_000
for number in range(10):
    replace(sys.argv[1], chunks())
"""
TRAINS = """
import sys, time
from pathlib import Path
from ghostyolo.training.loop import fit
from support import runs
class Slow(runs.Silent):
    def updated(self, state, rate, speed):
        if state.iteration == 2:
            print("trains", flush=True)
            time.sleep(60)
fit(runs.configured(Path(sys.argv[1]), Path(sys.argv[2]), save_every=1, workers=1), Slow())
"""


def started(script: str, *words: object) -> subprocess.Popen[str]:
    """Start a program and return once it prints a line."""
    command = [sys.executable, "-c", script, *map(str, words)]
    program = subprocess.Popen(command, env=runs.variables(), stdout=subprocess.PIPE, text=True)
    assert program.stdout
    assert program.stdout.readline()
    return program


@pytest.mark.parametrize("is_folder", [True, False])
def test_lock_is_held_by_one_process_and_not_by_a_dead_one(is_folder: bool, tmp_path: Path) -> None:
    path = tmp_path if is_folder else tmp_path / "x.onnx"
    holder = started(HELD, path)
    try:
        with pytest.raises(OptionError, match=f"{path}: .*another process writes it; wait"):
            files.locked(path).__enter__()
    finally:
        holder.kill()
        holder.wait()
    assert len(list(tmp_path.iterdir())) == 1, "a killed process leaves the file of its lock"
    with files.locked(path), pytest.raises(OptionError, match="another process writes it"):
        files.locked(path).__enter__()
    assert not list(tmp_path.iterdir())


def test_threads_enter_one_after_the_other(tmp_path: Path) -> None:
    inside, most = 0, 0

    def enter() -> None:
        nonlocal inside, most
        for _ in range(100):
            try:
                with files.locked(tmp_path / "x"):
                    inside += 1
                    most = max(most, inside)
                    inside -= 1
            except OptionError:
                time.sleep(0.001)

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_forked_process_does_not_keep_a_lock(tmp_path: Path) -> None:
    """As do the workers of a training run that was killed."""
    with files.locked(tmp_path):
        child = os.fork()
        if not child:
            time.sleep(60)
            os._exit(0)
    try:
        with files.locked(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_two_writers_of_one_file_leave_the_whole_of_one(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    words = [sys.executable, "-c", WRITERS, str(path)]
    writers = [subprocess.Popen([*words, letter], env=runs.variables()) for letter in "abc"]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert path.read_bytes() in {letter * 200_000 for letter in (b"a", b"b", b"c")}
    assert list(tmp_path.iterdir()) == [path]


def test_writer_that_was_killed_leaves_a_file_that_the_next_one_replaces(tmp_path: Path) -> None:
    (tmp_path / "x.part").write_bytes(b"half of something longer")
    files.replace(tmp_path / "x", [b"whole"])
    assert (tmp_path / "x").read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [tmp_path / "x"]


def test_run_that_is_going_on_is_not_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, run = tiny.pictures(tmp_path / "shapes"), tmp_path / "run"
    first = started(TRAINS, data, run)
    (tmp_path / "tiny.cfg").write_bytes((run / "model.cfg").read_bytes())
    words = ["train", str(tmp_path / "tiny.cfg"), str(data), "--loss", "darknet", "--workers", "0"]
    words += ["--project", str(tmp_path), "--name", "run", "--val-split", "none", "--resume"]
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    try:
        assert cli.main(words) == 1
        assert capsys.readouterr().err.endswith(
            f"ghostyolo: {run}: cannot write: another process writes it; wait until it has ended, "
            "or give another path\n"
        )
        assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    finally:
        first.kill()
        first.wait()
    assert cli.main(words) == 0
    assert not (run / files.LOCK).exists()


def test_second_export_to_a_file_is_refused(tmp_path: Path) -> None:
    cfg, weights = tiny.write(tmp_path), tiny.eager_weights(tmp_path)
    path = tmp_path / "x.onnx"
    with files.locked(path), pytest.raises(OptionError, match=r"x\.onnx: .* another process"):
        ghostyolo.export(cfg, path, weights=weights)
    assert not path.exists()
    ghostyolo.export(cfg, path, weights=weights)
    assert not (tmp_path / "x.onnx.lock").exists()


def test_file_with_a_torn_row_is_dropped_whatever_follows(tmp_path: Path) -> None:
    """As when the end of a video, which finds no room either, hides the error of a row."""

    def write() -> None:
        with files.appending(tmp_path / "rows") as append:
            append(b"first")
            with runs.no_larger_than(8), suppress(OSError):
                append(b"second")
            with suppress(OSError):
                append(b"third")

    (tmp_path / "rows").write_text("old")
    with pytest.raises(OptionError, match=r"rows: cannot write: File too large; free some space"):
        write()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]
