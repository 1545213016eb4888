"""The process in which one runtime is measured: python -m ghostyolo.bench.worker.

It reads a `Task` and answers, once the first result is there, what was opened. Each further line is
for how many seconds to run, answered by the time of every run, the processor time of one, the peak
memory, and how much of it came after the imports. An error is an answer too. The end of the input
ends the process.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ghostyolo.bench import foreign_onnx
from ghostyolo.bench.process import Task
from ghostyolo.errors import GhostyoloError
from ghostyolo.inference.choice import open_runtime
from ghostyolo.network import dumps
from ghostyolo.runtime.registry import import_runtime

LEAST_RUNS = 3
Call = Callable[[], object]
Answer = Callable[[dict[str, Any]], None]


def main() -> None:
    """Answer the lines of standard input."""
    with answering() as answer:
        task = Task.read(sys.stdin.readline())
        if task.what in ("machine", "layers"):
            _answer_in_torch(task, answer)
            return
        import_runtime(task.runtime)
        imported = peak_bytes()
        opened, call = open_task(task)
        call()
        answer(opened)
        for line in sys.stdin:
            begin = time.process_time()
            found = times(call, float(line))
            cpu_s = (time.process_time() - begin) / len(found)
            peak = peak_bytes()
            memory = {"peak_bytes": peak, "grown_bytes": peak - imported}
            answer({"times": found, "cpu_s": cpu_s, **memory})


def _answer_in_torch(task: Task, answer: Answer) -> None:
    """Answer with the machine's rates, and the times of a cfg's layers. Torch is imported here."""
    torch_task: Any = importlib.import_module("ghostyolo.bench.torch_task")
    layers = torch_task.layer_seconds(task) if task.what == "layers" else None
    answer({"machine": torch_task.rates(task), "layers": layers})
    for _ in sys.stdin:
        answer({"machine": torch_task.rates(task)})


@contextmanager
def answering() -> Iterator[Answer]:
    """Yield what writes lines of JSON to standard output; a user's error becomes one.

    What libraries print goes to standard error instead.
    """
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)

        def answer(content: dict[str, Any]) -> None:
            answers.write(json.dumps(content) + "\n")
            answers.flush()

        try:
            yield answer
        except GhostyoloError as error:
            answer({"error": str(error)})


def open_task(task: Task) -> tuple[dict[str, Any], Call]:
    """Return shape and cfg of what a task names, and its run on random inputs."""
    if task.what == "file":
        sides, call = foreign_onnx.open_file(Path(task.source), task)
        return {"shape": sides}, call
    runtime = open_runtime(
        task.source,
        task.weights,
        name=task.runtime,
        size=task.size,
        batch=task.batch,
        threads=task.threads,
        device="cpu",
    )
    shape = (task.batch, *runtime.network.options.shape)
    pixels = np.random.default_rng(0).random((shape[0], *shape[2:], shape[1]), np.float32)
    images = runtime.in_memory_order(pixels.transpose(0, 3, 1, 2))  # NHWC, as pictures are read
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
    """Return the peak memory of this process, 0 if the system does not say.

    VmHWM counts from the start of the program; ru_maxrss may include its parent's memory.
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
