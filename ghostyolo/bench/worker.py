"""The process in which one program is measured: python -m ghostyolo.bench.worker.

A line with a task comes in, and one with what was opened goes out once the first result is there.
Each further line is for how many seconds to run, answered by the time of every run, the processor
time of one, the most memory that was held, and how much of it came after the imports. Errors go out
as a line too. The end of the input ends the process.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ghostyolo.bench import foreign_onnx, task
from ghostyolo.bench.task import Task
from ghostyolo.inference.choice import open_runtime
from ghostyolo.network import dumps
from ghostyolo.runtime.registry import import_runtime

LEAST_RUNS = 3
Call = Callable[[], object]
Opened = tuple[dict[str, Any], Call]


def main() -> None:
    """Obey standard input."""
    with task.answering() as answer:
        given = task.read(sys.stdin.readline())
        import_runtime(given.program)
        imported = peak_bytes()
        said, call = opened(given)
        call()
        answer(said)
        for line in sys.stdin:
            begin = time.process_time()
            found = times(call, float(line))
            cpu_s = (time.process_time() - begin) / len(found)
            peak = peak_bytes()
            held = {"peak_bytes": peak, "grown_bytes": peak - imported}
            answer({"times": found, "cpu_s": cpu_s, **held})


def opened(given: Task) -> Opened:
    """Return what is to be known of a program, and its run on random inputs."""
    if given.what == "file":
        sides, call = foreign_onnx.opened(Path(given.source), given)
        return {"shape": sides}, call
    runtime = open_runtime(
        given.source,
        given.weights,
        name=given.program,
        size=given.size,
        batch=given.batch,
        threads=given.threads,
        device="cpu",
    )
    shape = (given.batch, *runtime.network.options.shape)
    pixels = np.random.default_rng(0).random((shape[0], *shape[2:], shape[1]), np.float32)
    images = runtime.in_memory_order(pixels.transpose(0, 3, 1, 2))  # as pictures lie that are read
    return {"shape": shape, "cfg": dumps(runtime.network)}, lambda: runtime.run(images)


def times(call: Call, seconds: float) -> list[float]:
    """Return the seconds of each run, of as many as fit, but a few at least."""
    found, end = list[float](), time.perf_counter() + seconds
    while len(found) < LEAST_RUNS or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return found


def peak_bytes() -> int:
    """Return the most memory that this process has held, 0 where the system does not say.

    VmHWM counts from the start of the program; ru_maxrss may also count its parent's memory.
    Source: Linux, Documentation/filesystems/proc.rst; man getrusage (bytes on macOS).
    """
    status = Path("/proc/self/status")
    if status.exists():
        rows = (line.split() for line in status.read_text().splitlines())
        return next((int(row[1]) * 1024 for row in rows if row[0] == "VmHWM:"), 0)
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
