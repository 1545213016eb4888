"""Runs that are killed, or whose disk is full: what was saved stays, and going on is exact."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import pytest
import torch

from ghostyolo import cli
from ghostyolo.loss import DETECTION_LOSSES as LOSSES
from ghostyolo.loss import loss_config
from ghostyolo.training.loop import fit
from support import ROOT, runs, tiny

SCRIPT = """
import os, signal, sys
from pathlib import Path
from ghostyolo.training.loop import fit
from support import runs
class Killer(runs.Silent):
    def updated(self, state, rate, speed):
        if state.iteration == 13:
            os.kill(os.getpid(), signal.SIGKILL)
for loss in sys.argv[3:]:
    if not os.fork():
        config = runs.resumable(Path(sys.argv[1]), Path(sys.argv[2], loss), loss)
        fit(config, Killer())
    assert os.WTERMSIG(os.wait()[1]) == signal.SIGKILL
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.pictures(tmp_path_factory.mktemp("resume") / "shapes")


def test_run_that_was_killed_resumes_bit_for_bit(data: Path, tmp_path: Path) -> None:
    """From the checkpoint of iteration 10, three updates before the kill; by each loss."""
    words = [sys.executable, "-c", SCRIPT, str(data), str(tmp_path / "killed"), *LOSSES]
    done = subprocess.run(words, env=runs.variables(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for loss in LOSSES:
        killed, whole = tmp_path / "killed" / loss, tmp_path / "whole" / loss
        assert runs.checkpoint(killed)["iteration"] == 10
        with pytest.raises(KeyboardInterrupt):
            fit(runs.resumable(data, killed, loss), runs.Silent(stop_after=32), resume=True)
        with pytest.raises(KeyboardInterrupt):
            fit(runs.resumable(data, whole, loss), runs.Silent(stop_after=32))
        a, b = runs.checkpoint(killed), runs.checkpoint(whole)
        assert a["iteration"] == 32
        assert (a["ema"] is not None) == bool(loss_config(loss).ema)
        assert runs.same(a, b)
        assert (killed / "last.weights").read_bytes() == (whole / "last.weights").read_bytes()


def test_defects_found_before_an_interruption_are_counted_after_it(tmp_path: Path) -> None:
    """Four updates read every picture; what goes on after them reads none."""
    data = tiny.pictures(tmp_path / "shapes")
    odd = data / "JPEGImages" / "train_00003.jpg"
    cv2.imwrite(str(odd), cv2.imread(str(odd), cv2.IMREAD_GRAYSCALE))
    with pytest.raises(KeyboardInterrupt):
        fit(runs.configured(data, tmp_path / "run"), runs.Silent(stop_after=4))
    again = runs.configured(data, tmp_path / "run")
    assert not again.train.defects
    fit(again, runs.Silent(), resume=True)
    assert again.train.defects == {"grey picture, read as RGB": 1}


def test_comparison_finds_a_single_bit(data: Path, tmp_path: Path) -> None:
    fit(runs.configured(data, tmp_path), runs.Silent())
    a, b = runs.checkpoint(tmp_path), runs.checkpoint(tmp_path)
    assert runs.same(a, b)
    value = b["optimizer"]["state"][3]["momentum_buffer"].view(-1)
    value[0] = torch.nextafter(value[0], value[0] + 1)
    assert not runs.same(a, b)


def test_runs_killed_at_random_moments() -> None:
    words = [sys.executable, str(ROOT / "tools/kill_runs.py"), "--kills", "3"]
    done = subprocess.run(words, env=runs.variables(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("3 kills in ")


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Leave room in a folder for less than another checkpoint, on a file system of its own."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    try:
        if subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("file systems cannot be mounted here")
    except OSError:
        pytest.skip("there is no mount")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def go(cfg: Path, data: Path, project: Path, *words: str) -> int:
    rest = ("--project", str(project), "--workers", "0", "--quiet", "--val-split", "none", *words)
    return cli.main(["train", str(cfg), str(data), "--save-every", "1", *rest])


def left(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_full_disk_leaves_the_old_checkpoint(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "disk").mkdir()
    with small_disk(tmp_path / "disk"):
        folder = tmp_path / "disk/tiny"
        start = runs.configured(data, folder, loss="modern")
        with pytest.raises(KeyboardInterrupt):
            fit(start, runs.Silent(stop_after=2))
        before = left(folder)
        free = os.statvfs(folder)
        filler = free.f_bavail * free.f_bsize - len(before["checkpoint.pt"]) // 2
        (tmp_path / "disk/filler").write_bytes(bytes(filler))
        (tmp_path / "tiny.cfg").write_bytes(before["model.cfg"])
        capsys.readouterr()
        assert go(tmp_path / "tiny.cfg", data, tmp_path / "disk", "--resume") == 1
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert err.startswith(f"ghostyolo: {folder}/")
        assert err.endswith(": cannot write: No space left on device; free some space\n")
        after = left(folder)
        assert not [name for name in after if name.endswith(".part")]
        assert after["checkpoint.pt"] == before["checkpoint.pt"]
        (tmp_path / "disk/filler").unlink()
        assert go(tmp_path / "tiny.cfg", data, tmp_path / "disk", "--resume") == 0
        assert runs.checkpoint(folder)["iteration"] == 4


def test_limit_of_a_files_size_is_one_line_of_error(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a first checkpoint as well: nothing half written stands where it would."""
    cfg = tiny.write(tmp_path)
    with runs.no_larger_than(29_000):
        code = go(cfg, data, tmp_path / "runs")
    out, err = capsys.readouterr()
    assert (code, out) == (1, "")
    folder = tmp_path / "runs/tiny"
    told = f"ghostyolo: {folder}/checkpoint.pt: cannot write: File too large; free some space"
    assert err.splitlines()[-1] == told
    assert sorted(left(folder)) == [
        "last.weights", "model.cfg", "model.names", "run.json", "train_batch0.jpg",
    ]  # fmt: skip


def test_run_that_was_killed_before_it_saved_starts_again(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """But not one whose checkpoint somebody has taken away."""
    cfg, folder = tiny.write(tmp_path), tmp_path / "tiny"
    folder.mkdir()
    (folder / "model.cfg.part").write_text("[net")
    assert go(cfg, data, tmp_path, "--resume") == 0
    assert "the run has no checkpoint yet, so it starts again" in caplog.text
    assert runs.checkpoint(folder)["iteration"] == 4
    (folder / "checkpoint.pt").unlink()
    before = left(folder)
    capsys.readouterr()
    assert go(cfg, data, tmp_path, "--resume") == 1
    told = "no checkpoint to resume; it was deleted, so start anew with another --name\n"
    assert capsys.readouterr().err == f"ghostyolo: {folder}/checkpoint.pt: {told}"
    (folder / "report.html").unlink()
    rows = (folder / "results.csv").read_text()
    (folder / "results.csv").write_text(rows + rows.splitlines()[-1] + "\n")
    assert go(cfg, data, tmp_path, "--resume") == 1
    assert (folder / "best.weights").read_bytes() == before["best.weights"]
