"""Moving averages, the best epoch and patience are the same for one, two and four processes.

As a script: the processes. The network has no batch norm, whose statistics each process takes of
its own pictures, and learns so slowly that rounding does not grow.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ghostyolo.sample_data.painter import write_dataset
from support import processes, runs, tiny

ALIKE = 1e-4  # of the largest number of a tensor; 1e-6 was measured
COUNTS = (1, 2, 4)
PLAIN = (("batch_normalize=1\n", ""), ("batch=2\nsubdivisions=1", "batch=4\nsubdivisions=2"))
FIRST = (*PLAIN, ("rate=0.01", "rate=0.001"), ("max_batches=4", "max_batches=300"))
THEN = (*PLAIN, ("rate=0.01", "rate=0.0005"), ("max_batches=4", "max_batches=60"))


def play(folder: Path) -> None:
    """Train until something is found, then go on with patience in so many processes each."""
    torch.set_num_threads(1)
    data = write_dataset(folder / "shapes", {"train": 24, "val": 12}, size=(96, 128))
    options = [data, "--loss", "modern", "--workers", 0, "--project", folder, "--name"]
    words = ["train", tiny.write(folder, *FIRST), *options, "first", "--val-split", "none"]
    assert processes.codes(processes.start(words, 1, folder / "first")) == [0]
    cfg = tiny.write(folder, *THEN)
    more = ["--val-every", 1, "--patience", 2, "--weights", folder / "first/last.weights"]
    for count in COUNTS:
        words = ["train", cfg, *options, f"of{count}", *more]
        codes = processes.codes(processes.start(words, count, folder / f"of{count}-said"))
        sys.stdout.write(f"{codes}\n")


def test_processes_agree_on_averages_the_best_epoch_and_patience(tmp_path: Path) -> None:
    assert processes.script(__file__, tmp_path) == [str(count * [0]) for count in COUNTS]
    one, *others = (runs.checkpoint(tmp_path / f"of{count}") for count in COUNTS)
    scores = [row["AP"] for row in one["rows"]]
    assert len(set(scores)) == len(scores) and one["iteration"] < 60 and one["stale"] == 2
    ema = one["ema"]["tensors"]
    assert max(map(apart, ema, one["model"].values())) > 100 * ALIKE
    for other in others:
        assert (other["iteration"], other["stale"]) == (one["iteration"], one["stale"])
        assert [row["AP"] for row in other["rows"]] == pytest.approx(scores, abs=1e-3)
        assert max(map(apart, other["ema"]["tensors"], ema)) < ALIKE
    best, *others = (saved(tmp_path / f"of{count}/best.weights") for count in COUNTS)
    assert max(apart(other, best) for other in others) < ALIKE


def saved(path: Path) -> torch.Tensor:
    """Return the numbers of a weights file behind its header of 20 bytes."""
    return torch.from_numpy(np.fromfile(path, np.float32, offset=20))


def apart(a: torch.Tensor, b: torch.Tensor) -> float:
    """Return the largest difference, as a part of the largest number."""
    return float((a - b).abs().max() / b.abs().max())


if __name__ == "__main__":
    play(Path(sys.argv[1]))
