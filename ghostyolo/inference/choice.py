"""Which program computes a network, and how it is opened.

An exported file opens in a program that reads it. A cfg with its weights computes in torch, or is
exported once for the fastest installed program that gives what torch gives.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from ghostyolo.data.class_names import names_beside
from ghostyolo.errors import GhostyoloError, OptionError, Span
from ghostyolo.inference import export_cache
from ghostyolo.network import Network, load
from ghostyolo.network.passes import resize
from ghostyolo.runtime.interface import Runtime
from ghostyolo.runtime.programs import (
    AUTO,
    EXPORTED,
    ORDER,
    PROGRAMS,
    installed,
    loaded,
    open_file,
)  # fmt: skip
from ghostyolo.runtime.threads import allowed

CLOSE = 1e-4  # of the largest value: how far "auto" lets outputs of a cfg be from torch's
ACCELERATORS = ("/dev/nvidiactl", "/dev/kfd")  # where drivers of NVIDIA and AMD have their door


def open_runtime(
    source: str | Path | Network,
    weights: str | Path | None = None,
    *,
    name: str = AUTO,
    size: tuple[int, int] | None = None,
    batch: int = 1,
    threads: int | None = None,
    device: str = AUTO,
) -> Runtime:
    """Open a cfg with its weights, or an exported file, in the program of that name.

    source: a cfg or its network, or an .onnx, .xml or .torchscript of `ghostyolo export`. name:
    "auto" for the fastest that is installed and reads the source. size: (h, w) of the input, where
    it is open. batch: pictures computed at once, where that is open. threads: by default as many
    as this process may use. device: torch's; other programs compute on the CPU.

    A cfg for another program than torch is exported once, see `ghostyolo.inference.export_cache`.
    Raises `OptionError` for a program that is not installed or does not read the source, and the
    errors of reading the files.
    """
    count = threads or allowed()
    if name not in (AUTO, *PROGRAMS):
        raise OptionError(f"no runtime '{name}'", hint=f"use one of auto, {', '.join(ORDER)}")
    if not isinstance(source, Network) and Path(source).suffix.lower() in EXPORTED:
        if weights is not None:
            message, hint = "an exported file holds its weights", "leave the weights out"
            raise OptionError(message, span=Span(str(source)), hint=hint)
        return open_file(Path(source), name, size, batch, count, device)
    network = source if isinstance(source, Network) else load(source)
    network = resize(network, size) if size else network
    return open_network(network, weights, name, batch, count, device)


def open_network(
    network: Network, weights: str | Path | None, name: str, batch: int, threads: int, device: str
) -> Runtime:
    """Open a cfg's network, with the names of its classes where they lie beside the weights."""
    found = _opened(network, weights, name, batch, threads, device)
    found.metadata = replace(found.metadata, network=network)  # with the lines of its own cfg
    found.names = names_beside(network, weights) if weights else ()
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
    path = export_cache.exported(network, weights, batch)
    return open_file(path, name, None, batch, threads, device)


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
        path = export_cache.exported(network, weights, batch)
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
    share = export_cache.checked(path, program)
    if share is None:
        images = np.random.default_rng(0).random((1, *runtime.network.options.shape), np.float32)
        with _open_torch(runtime.network, weights, threads, "cpu") as torch:
            pairs = zip(runtime.run(images), torch.run(images), strict=True)
        share = max(float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-12)) for a, b in pairs)
        export_cache.check(path, program, share)
    return share <= CLOSE
