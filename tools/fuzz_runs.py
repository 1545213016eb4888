"""Mutate the checkpoint and the weights of a training run: changed content must be refused.

`tools/fuzz.py --runs N` calls this.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import torch
from mutations import GROWTH, add, drop, flip, problem, repeat, splice

from ghostyolo.errors import GhostyoloError
from ghostyolo.model.model import Model
from ghostyolo.training.loop import fit
from ghostyolo.training.state import State, initial_state
from support import runs, tiny

FILES = ("checkpoint.pt", "best.weights", "last.weights")


def cut(rng: random.Random, data: bytes) -> bytes:
    """Drop the end of a file, or some bytes in it."""
    low, high = sorted(rng.randrange(len(data)) for _ in range(2))
    return data[:low] + (data[high:] if rng.random() < 0.5 else b"")


def bit(rng: random.Random, data: bytes) -> bytes:
    """Change one bit."""
    out = bytearray(data)
    out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


class Run:
    """A run of two updates in a folder, and the content of its files."""

    def __init__(self, folder: Path) -> None:
        data = tiny.pictures(folder / "shapes")
        text = tiny.CFG.replace("max_batches=4", "max_batches=2")
        self.config = runs.configured(data, folder / "run", text, loss="modern")
        fit(self.config, runs.Silent())
        self.folder = self.config.folder
        self.whole = {name: (self.folder / name).read_bytes() for name in FILES}
        self.content = runs.checkpoint(self.folder)
        self.state: State = initial_state(self.config)

    def read(self, name: str, changed: bytes) -> None:
        """Use a changed file as a command does. Raises `GhostyoloError` if it is refused.

        Raises AssertionError if changed content is accepted.
        """
        (self.folder / name).write_bytes(changed)
        try:
            if name.endswith(".weights"):
                Model(self.config.network, self.folder / name)
                assert changed == self.whole[name], "changed weights are accepted"
                return
            self.state.restore(self.folder / name, self.config)
            again = self.folder.with_name("again.pt")
            self.state.save(again, self.config, self.content["rng_states"])
            found = torch.load(again, weights_only=True)
            assert runs.same(found, self.content), "a changed checkpoint is accepted"
        finally:
            (self.folder / name).write_bytes(self.whole[name])


def fuzz_runs(count: int, seed: int, keep: Path) -> Counter[str]:
    """Read `count` mutated files of a run; return how often each result came.

    The first file of each result that is a bug is kept.
    """
    run, results = Run(keep / "fuzzed"), Counter[str]()
    for trial in range(count):
        rng = random.Random(f"{seed} run {trial}")
        name = rng.choice(("checkpoint.pt", *FILES))
        mutation = rng.choice((bit, bit, cut, flip, splice, drop, repeat))
        changed = mutation(rng, run.whole[name])
        result = problem(partial(run.read, name, changed), GhostyoloError, GROWTH)
        add(results, result, keep / f"{seed}-{trial}-{name}", changed)
    return results
