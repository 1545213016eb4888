"""Processes that are measured in turns, so that other load on the machine slows all of them alike.

A process gets a task as a line of JSON and answers once the first result is there. Each further
line is for how many seconds to run; see `worker`.
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
from ghostyolo.network.cost import Machine

ROUNDS = 8


@dataclass(frozen=True)
class Task:
    """What is measured in a process.

    what: "network" (a cfg or an exported file in a runtime), "file" (any ONNX file in it),
    "machine" (the machine's rates) or "layers" (also the times of a cfg's layers in torch). size:
    (h, w) where it is open.
    """

    what: str
    runtime: str = "torch"
    source: str = ""
    weights: str | None = None
    size: tuple[int, int] | None = None
    batch: int = 1
    threads: int = 1

    def line(self) -> str:
        """Return the task as a line of JSON."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def read(cls, line: str) -> Task:
        """Return the task of a line."""
        values = json.loads(line)
        size = values.pop("size")
        return cls(**values, size=tuple(size) if size else None)


class Round(NamedTuple):
    """The seconds of each run, and the processor time of a run, summed over all threads."""

    times: list[float]
    cpu_s: float


class Process:
    """A task's process. start_s: from its start to its first answer, `answer`.

    Raises `OptionError` with the reason if the task fails.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
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
            env={**os.environ, "OMP_NUM_THREADS": str(task.threads)},
        )
        try:
            self.answer = self._ask(task.line())
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
        """Return the machine's best rates so far: it may do other things at times."""
        one, other = (Machine(**each["machine"]) for each in (self.answer, self._ask("0\n")))
        return Machine(
            macs_per_s=max(one.macs_per_s, other.macs_per_s),
            bytes_per_s=max(one.bytes_per_s, other.bytes_per_s),
            call_s=min(one.call_s, other.call_s),
        )

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

    def _ask(self, line: str) -> dict[str, Any]:
        stdin, stdout = self._popen.stdin, self._popen.stdout
        assert stdin and stdout
        try:
            stdin.write(line)
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
    """Run each for so many seconds in all, a part of them in each round."""
    for _ in range(ROUNDS):
        for process in processes:
            process.run(seconds / ROUNDS)


def ratio(one: Process, other: Process) -> tuple[float, float]:
    """Return the time of a run of one over the other's, by the clock and in processor time: the
    medians over the rounds.
    """
    pairs = list(zip(one.rounds, other.rounds, strict=True))
    clock = median(median(a.times) / median(b.times) for a, b in pairs)
    return clock, median(a.cpu_s / b.cpu_s for a, b in pairs)
