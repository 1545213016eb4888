"""What torch is asked from inside: the machine's rates, the time of every layer of a cfg.

python -m ghostyolo.bench.torch_worker is the process that answers a task. It is not that of
`worker`, whose memory and start are not to include torch.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from statistics import median

import numpy as np
import torch
from torch import Tensor

from ghostyolo.bench import task
from ghostyolo.bench.machine import measure
from ghostyolo.bench.task import Task
from ghostyolo.network import load
from ghostyolo.network.passes import resize
from ghostyolo.runtime import pytorch

LEAST_RUNS = 3
LAYER_SECONDS = 2.0  # for all layers together


def main() -> None:
    """Answer the task on standard input, and each further line with the rates at that time."""
    with task.answering() as answer:
        given = task.read(sys.stdin.readline())
        layers = layer_seconds(given, LAYER_SECONDS) if given.what == "layers" else None
        answer({"machine": rates(given), "layers": layers})
        for _ in sys.stdin:
            answer({"machine": rates(given)})


def rates(given: Task) -> dict[str, float]:
    """Return the machine's rates with so many threads, measured now."""
    torch.set_num_threads(given.threads)
    return asdict(measure())


def layer_seconds(given: Task, seconds: float) -> list[float]:
    """Return the median time of each layer of a cfg in the torch runtime.

    Raises `CfgError`, `WeightsError`.
    """
    network = load(given.source)
    network = resize(network, given.size) if given.size else network
    backend = pytorch.open_network(network, given.weights, device="cpu", threads=given.threads)
    found: list[list[float]] = [[] for _ in network]
    backend.calls = [
        call._replace(compute=_timed(call.compute, found[call.node])) for call in backend.calls
    ]
    images = np.random.default_rng(0).random((given.batch, *network.options.shape), np.float32)
    backend(images)
    end = time.perf_counter() + seconds
    while len(found[0]) < 1 + LEAST_RUNS or time.perf_counter() < end:
        backend(images)
    return [median(times[1:]) for times in found]  # the first is not like the others


def _timed(call: Callable[..., Tensor], times: list[float]) -> Callable[..., Tensor]:
    """Return a call that notes its seconds."""

    def timed(*inputs: Tensor) -> Tensor:
        start = time.perf_counter()
        output = call(*inputs)
        times.append(time.perf_counter() - start)
        return output

    return timed


if __name__ == "__main__":
    main()
