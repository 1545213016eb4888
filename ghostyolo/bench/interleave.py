"""Processes that are measured in turns, so that what else the machine does meets all alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from statistics import median
from typing import IO, Any, NamedTuple

from ghostyolo.bench.task import Task
from ghostyolo.errors import OptionError
from ghostyolo.network.cost import Machine

ROUNDS = 8
MODULES = {"machine": "torch_worker", "layers": "torch_worker"}


class Round(NamedTuple):
    """The seconds of each run, and the processor time that one took, of all threads together."""

    times: list[float]
    cpu_s: float


class Process:
    """A task's process. start_s: from its start to the first result, opened: what it said then.

    Raises `OptionError` with the reason when the task cannot be done.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.rounds: list[Round] = []
        self.peak_bytes = self.grown_bytes = 0
        start = time.perf_counter()
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115, closed with the process
        self._popen = _started(task, self._errors)
        try:
            self.opened = self._ask(task.line())
        except BaseException:
            self.close()
            raise
        self.start_s = time.perf_counter() - start

    def run(self, seconds: float) -> None:
        """Run for some seconds and keep the times."""
        found = self._ask(f"{seconds}\n")
        self.rounds.append(Round(found["times"], found["cpu_s"]))
        self.peak_bytes, self.grown_bytes = found["peak_bytes"], found["grown_bytes"]

    def machine(self) -> Machine:
        """Return the machine's rates, measured anew."""
        return Machine(**self._ask("\n")["machine"])

    @property
    def times(self) -> list[float]:
        """Return the seconds of all runs, the fastest first."""
        return sorted(t for one in self.rounds for t in one.times)

    def close(self) -> None:
        """End the process."""
        for pipe in filter(None, (self._popen.stdin, self._popen.stdout)):
            with suppress(BrokenPipeError):  # of a process that has ended by itself
                pipe.close()
        try:
            self._popen.wait(10)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._errors.close()

    def _ask(self, line: str) -> dict[str, Any]:
        to, back = self._popen.stdin, self._popen.stdout
        assert to and back
        try:
            to.write(line)
            to.flush()
            answer = back.readline()
        except BrokenPipeError:
            answer = ""
        found = json.loads(answer) if answer else {"error": self._last_words()}
        if "error" in found:
            raise OptionError(found["error"])
        return found

    def _last_words(self) -> str:
        """Return why the process ended without an answer."""
        code = self._popen.wait(10)
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return f"the process ended: {lines[-1] if lines else f'exit code {code}'}"


def in_turns(processes: Sequence[Process], seconds: float) -> None:
    """Run each for so many seconds in all, a part of them in each of some rounds."""
    for _ in range(ROUNDS):
        for process in processes:
            process.run(seconds / ROUNDS)


def once(task: Task) -> dict[str, Any]:
    """Return what a process says of its task, and end it. Raises as `Process` does."""
    process = Process(task)
    process.close()
    return process.opened


def ratio(one: Process, other: Process) -> tuple[float, float]:
    """Return how long a run of one takes as a share of the other's, by the clock and in processor
    time: the medians over the rounds.
    """
    pairs = list(zip(one.rounds, other.rounds, strict=True))
    clock = median(median(a.times) / median(b.times) for a, b in pairs)
    return clock, median(a.cpu_s / b.cpu_s for a, b in pairs)


def _started(task: Task, errors: IO[str]) -> subprocess.Popen[str]:
    module = f"ghostyolo.bench.{MODULES.get(task.what, 'worker')}"
    return subprocess.Popen(
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(task.threads)},
    )
