"""A cfg with its weights in a program: torch as it is, the others by an exported file."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from ghostyolo.errors import GhostyoloError
from ghostyolo.network import Network
from ghostyolo.runtime import cache
from ghostyolo.runtime.choice import AUTO, ORDER, PROGRAMS, installed, loaded, open_file
from ghostyolo.runtime.names import beside
from ghostyolo.runtime.opened import Runtime

CLOSE = 1e-4  # of the largest value: how far "auto" lets outputs of a cfg be from torch's
ACCELERATORS = ("/dev/nvidiactl", "/dev/kfd")  # where drivers of NVIDIA and AMD have their door


def open_network(
    network: Network, weights: str | Path | None, name: str, batch: int, threads: int, device: str
) -> Runtime:
    """Open a cfg's network, with the names of its classes where they lie beside the weights."""
    found = _opened(network, weights, name, batch, threads, device)
    found.metadata = replace(found.metadata, network=network)  # with the lines of its own cfg
    found.names = beside(network, weights) if weights else ()
    return found


def _opened(
    network: Network, weights: str | Path | None, name: str, batch: int, threads: int, device: str
) -> Runtime:
    if name == AUTO:
        found = _fastest(network, weights, batch, threads) if _on_cpu(device) else None
        return found or _open_torch(network, weights, threads, device)
    if name == "torch":
        return _open_torch(network, weights, threads, device)
    loaded(name)  # before anything is exported for it
    return open_file(cache.exported(network, weights, batch), name, None, batch, threads, device)


def _open_torch(network: Network, weights: str | Path | None, threads: int, device: str) -> Runtime:
    torch = loaded("torch")
    return Runtime("torch", torch.open_network(network, weights, device=device, threads=threads))


def _on_cpu(device: str) -> bool:
    """Return whether the processor is to compute: torch is the one that knows others."""
    return device == "cpu" or (device == AUTO and not any(map(os.path.exists, ACCELERATORS)))


def _fastest(
    network: Network, weights: str | Path | None, batch: int, threads: int
) -> Runtime | None:
    """Return the fastest installed program that computes what torch does, None where it is torch.

    What it gives is compared once, and remembered beside the file in the cache.
    """
    try:
        path = cache.exported(network, weights, batch)
    except GhostyoloError:
        return None  # torch says what is wrong, or computes what cannot be exported
    for name in ORDER[: ORDER.index("torch")]:
        own = installed(PROGRAMS[name])
        with contextlib.suppress(GhostyoloError):
            runtime = own and open_file(path, name, None, batch, threads, "cpu")
            if runtime and _reproduces(runtime, path, f"{name} {own}", weights, threads):
                return runtime
            if runtime:
                runtime.close()
    return None


def _reproduces(
    runtime: Runtime, path: Path, program: str, weights: str | Path | None, threads: int
) -> bool:
    """Return whether a program's outputs are torch's, within `CLOSE` of the largest value."""
    share = cache.checked(path, program)
    if share is None:
        images = np.random.default_rng(0).random((1, *runtime.network.options.shape), np.float32)
        with _open_torch(runtime.network, weights, threads, "cpu") as torch:
            pairs = zip(runtime.run(images), torch.run(images), strict=True)
        share = max(float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-12)) for a, b in pairs)
        cache.check(path, program, share)
    return share <= CLOSE
