"""What only torch can measure: the machine's rates, and the time of every layer of a cfg."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from statistics import median

import numpy as np
import torch
from torch import Tensor

from ghostyolo.bench.machine import measure
from ghostyolo.bench.process import Task
from ghostyolo.network import load
from ghostyolo.network.passes import resize
from ghostyolo.runtime import pytorch

LEAST_RUNS = 3
LAYER_SECONDS = 2.0  # for all layers together


def rates(task: Task) -> dict[str, float]:
    """Return the machine's rates with a task's threads, measured now."""
    torch.set_num_threads(task.threads)
    return asdict(measure())


def layer_seconds(task: Task, seconds: float = LAYER_SECONDS) -> list[float]:
    """Return the median time of each layer of a cfg in the torch runtime.

    Raises `CfgError`, `WeightsError`.
    """
    network = load(task.source)
    network = resize(network, task.size) if task.size else network
    backend = pytorch.open_network(network, task.weights, device="cpu", threads=task.threads)
    found: list[list[float]] = [[] for _ in network]
    backend.calls = [
        call._replace(compute=_timed(call.compute, found[call.node])) for call in backend.calls
    ]
    images = np.random.default_rng(0).random((task.batch, *network.options.shape), np.float32)
    backend(images)
    end = time.perf_counter() + seconds
    while len(found[0]) < 1 + LEAST_RUNS or time.perf_counter() < end:
        backend(images)
    return [median(times[1:]) for times in found]  # the first run is slower


def _timed(call: Callable[..., Tensor], times: list[float]) -> Callable[..., Tensor]:
    """Return a call that notes its seconds."""

    def timed(*inputs: Tensor) -> Tensor:
        start = time.perf_counter()
        output = call(*inputs)
        times.append(time.perf_counter() - start)
        return output

    return timed
