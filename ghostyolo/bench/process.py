"""The processes of a benchmark, each with a network in one runtime.

They run in turns, so that other load on the machine slows all of them alike. A process reads its
task as a line of JSON and answers after its first result. Each further line is a number of seconds
to run for; see `worker`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, NamedTuple

from ghostyolo.errors import OptionError

ROUNDS = 8
SECONDS = 5.0


@dataclass(frozen=True)
class Settings:
    """The settings of a benchmark.

    source: a cfg or an exported file. weights: of a cfg, None for random ones. size: (h, w) of the
    input, None for that of the source. runtimes: () for those that are installed and read the
    source. seconds: for which each of them runs. against: any other ONNX file. layers: whether to
    time each layer of a cfg in torch.
    """

    source: str
    weights: str | None = None
    size: tuple[int, int] | None = None
    batch: int = 1
    threads: int = 1
    runtimes: tuple[str, ...] = ()
    seconds: float = SECONDS
    against: str | None = None
    layers: bool = False


class Round(NamedTuple):
    """The seconds of each run, and the mean processor time of a run, of all threads."""

    times: list[float]
    cpu_s: float


class Process:
    """The process of one runtime.

    answer: what it has opened. start_s: from its start to its first result.
    Raises `OptionError` with the reason if the process fails.
    """

    def __init__(self, settings: Settings, runtime: str, *, foreign: bool = False) -> None:
        """foreign: whether the source is an ONNX file that was not exported here."""
        self.batch = settings.batch
        self.rounds: list[Round] = []
        self.peak_bytes = self.grown_bytes = 0
        start = time.perf_counter()
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115, closed with the process
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "ghostyolo.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(settings.threads)},
        )
        try:
            self.answer = self._ask([asdict(settings), runtime, foreign])
        except BaseException:
            self.close()
            raise
        self.start_s = time.perf_counter() - start

    def run(self, seconds: float) -> None:
        """Run for some seconds and keep the times."""
        found = self._ask(seconds)
        self.rounds.append(Round(found["times"], found["cpu_s"]))
        self.peak_bytes, self.grown_bytes = found["peak_bytes"], found["grown_bytes"]

    @property
    def times(self) -> list[float]:
        """Return the seconds of all runs, the fastest first."""
        return sorted(t for one in self.rounds for t in one.times)

    @property
    def median_s(self) -> float:
        """Return the median seconds of a run."""
        return self.times[len(self.times) // 2]

    def close(self) -> None:
        """End the process."""
        for pipe in filter(None, (self._popen.stdin, self._popen.stdout)):
            with suppress(BrokenPipeError):  # the process has ended by itself
                pipe.close()
        try:
            self._popen.wait(10)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._errors.close()

    def _ask(self, question: Any) -> dict[str, Any]:
        stdin, stdout = self._popen.stdin, self._popen.stdout
        assert stdin and stdout
        try:
            stdin.write(json.dumps(question) + "\n")
            stdin.flush()
            answer = stdout.readline()
        except BrokenPipeError:
            answer = ""
        found = json.loads(answer) if answer else {"error": self._reason()}
        if "error" in found:
            raise OptionError(found["error"])
        return found

    def _reason(self) -> str:
        """Return why the process ended without an answer."""
        code = self._popen.wait(10)
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return f"the process ended: {lines[-1] if lines else f'exit code {code}'}"


def run_in_turns(processes: Sequence[Process], seconds: float) -> None:
    """Run each process for this many seconds in all, spread over `ROUNDS` rounds."""
    for _ in range(ROUNDS):
        for process in processes:
            process.run(seconds / ROUNDS)


def ratio(one: Process, other: Process) -> tuple[float, float]:
    """Return the wall-clock time of a run of one over the other's, and the same for processor time.

    Both are medians over the rounds.
    """
    pairs = list(zip(one.rounds, other.rounds, strict=True))
    clock = median(median(a.times) / median(b.times) for a, b in pairs)
    return clock, median(a.cpu_s / b.cpu_s for a, b in pairs)
