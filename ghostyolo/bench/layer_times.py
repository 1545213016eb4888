"""The time of every layer of a cfg, in the torch runtime."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from statistics import median

import numpy as np
from torch import Tensor

from ghostyolo.bench.process import Settings
from ghostyolo.network import load
from ghostyolo.network.passes import resize
from ghostyolo.runtime import pytorch

LEAST_RUNS = 3
SECONDS = 2.0  # for all layers together


def layer_seconds(settings: Settings, seconds: float = SECONDS) -> list[float]:
    """Return the median time of each layer of a cfg. Raises `CfgError`, `WeightsError`."""
    network = load(settings.source)
    network = resize(network, settings.size) if settings.size else network
    model = pytorch.load_model(network, settings.weights)
    found: list[list[float]] = [[] for _ in network]
    layers = [
        call._replace(compute=_timed(call.compute, found[call.node]))
        for call in pytorch.layer_calls(model, "cpu")
    ]
    images = np.random.default_rng(0).random((settings.batch, *network.options.shape), np.float32)
    run = partial(pytorch.compute, layers, model.output_indices, "cpu", images)
    run()  # the first run is slower
    end = time.perf_counter() + seconds
    while len(found[0]) < 1 + LEAST_RUNS or time.perf_counter() < end:
        run()
    return [median(times[1:]) for times in found]


def _timed(call: Callable[..., Tensor], times: list[float]) -> Callable[..., Tensor]:
    """Return a function that makes the call and appends its seconds to `times`."""

    def timed(*inputs: Tensor) -> Tensor:
        start = time.perf_counter()
        output = call(*inputs)
        times.append(time.perf_counter() - start)
        return output

    return timed
