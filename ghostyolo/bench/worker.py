"""The process in which one runtime is measured: python -m ghostyolo.bench.worker.

It reads the settings, a runtime and whether the source is a foreign ONNX file, as a line of JSON,
and answers with the shape and the cfg that it has opened, after the first result. It answers each
further line, a number of seconds, with the time of every run, the processor time of a run, the peak
memory, and how much of that came after the imports. An error is an answer too. The process ends
with its input.
"""

from __future__ import annotations

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
from ghostyolo.bench.process import Settings
from ghostyolo.errors import GhostyoloError
from ghostyolo.inference.choice import open_runtime
from ghostyolo.network import dumps
from ghostyolo.runtime.registry import import_runtime

LEAST_RUNS = 3
Call = Callable[[], object]


def main() -> None:
    """Answer the lines of standard input."""
    with answering() as answer:
        values, runtime, foreign = json.loads(sys.stdin.readline())
        settings = Settings(**{**values, "size": values["size"] and tuple(values["size"])})
        import_runtime(runtime)
        imported = peak_bytes()
        opened, call = (foreign_onnx.open_file if foreign else open_network)(settings, runtime)
        call()
        answer(opened)
        for line in sys.stdin:
            begin = time.process_time()
            found = times(call, float(line))
            cpu_s = (time.process_time() - begin) / len(found)
            peak = peak_bytes()
            memory = {"peak_bytes": peak, "grown_bytes": peak - imported}
            answer({"times": found, "cpu_s": cpu_s, **memory})


@contextmanager
def answering() -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yield a function that writes a line of JSON to standard output; a user's error becomes one.

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


def open_network(settings: Settings, name: str) -> tuple[dict[str, Any], Call]:
    """Return the shape and cfg of the source, and a function that runs it on random numbers."""
    runtime = open_runtime(
        settings.source,
        settings.weights,
        name=name,
        size=settings.size,
        batch=settings.batch,
        threads=settings.threads,
        device="cpu",
    )
    shape = (settings.batch, *runtime.network.options.shape)
    pixels = np.random.default_rng(0).random((shape[0], *shape[2:], shape[1]), np.float32)
    images = runtime.in_memory_order(pixels.transpose(0, 3, 1, 2))  # NHWC, as pictures are read
    return {"shape": shape, "cfg": dumps(runtime.network)}, lambda: runtime.run(images)


def times(call: Call, seconds: float) -> list[float]:
    """Return the seconds of each call; call until the time is over, at least `LEAST_RUNS` times."""
    found, end = list[float](), time.perf_counter() + seconds
    while len(found) < LEAST_RUNS or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return found


def peak_bytes() -> int:
    """Return the peak memory of this process, 0 if the system does not tell it.

    VmHWM counts from the start of the program; ru_maxrss may include the memory of its parent.
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
