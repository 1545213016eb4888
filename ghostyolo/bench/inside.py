"""What torch is asked from inside: the machine's rates, the time of every layer of a cfg.

python -m ghostyolo.bench.inside is the process that answers a task. It is not that of the worker,
whose memory and start are not to include torch.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from statistics import median
from typing import Any

import torch
from torch import nn

from ghostyolo.bench import task
from ghostyolo.bench.task import Task
from ghostyolo.export.plain import plain
from ghostyolo.machine import measure
from ghostyolo.network import load
from ghostyolo.passes import resize
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
    """Return the median time of each layer of a cfg, as the torch runtime computes it.

    Raises `CfgError`, `WeightsError`.
    """
    torch.set_num_threads(given.threads)
    network = load(given.source)
    network = resize(network, given.size) if given.size else network
    model = plain(pytorch.model(network, given.weights), consumed=True)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    found: list[list[float]] = [[] for _ in network]
    for times, module in zip(found, model.layers, strict=True):
        _timed(module, times)
    images = torch.rand(given.batch, *network.options.shape)
    images = images.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        model(images)
        end = time.perf_counter() + seconds
        while len(found[0]) < 1 + LEAST_RUNS or time.perf_counter() < end:
            model(images)
    return [median(times[1:]) for times in found]  # the first is not like the others


def _timed(module: nn.Module, times: list[float]) -> None:
    """Let a module note the seconds of each of its calls."""
    starts = list[float]()

    def before(*_: Any) -> None:
        starts.append(time.perf_counter())

    def after(*_: Any) -> None:
        times.append(time.perf_counter() - starts.pop())

    module.register_forward_pre_hook(before)
    module.register_forward_hook(after)


if __name__ == "__main__":
    main()
