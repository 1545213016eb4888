"""The choice of the runtime that computes a network: one rule for all commands.

1. An exported file opens in the runtime of `--runtime`, else in the first installed one that reads
   it; see `ghostyolo.runtime.registry`.
2. A cfg with its weights opens in the runtime of `--runtime`; for a runtime other than torch it is
   exported first, see `export_cache`.
3. Without `--runtime`, a cfg on the CPU opens in the fastest installed runtime whose outputs differ
   from torch's by at most `TOLERANCE`; a cfg on another device opens in torch.

Commands print the name of the runtime with every result.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from ghostyolo.data.class_names import names_beside
from ghostyolo.errors import GhostyoloError, OptionError, Span
from ghostyolo.inference import export_cache
from ghostyolo.network import Network, load
from ghostyolo.network.model_files import model_files
from ghostyolo.network.passes import resize
from ghostyolo.runtime import registry
from ghostyolo.runtime.interface import Runtime, open_file
from ghostyolo.runtime.registry import AUTO, RUNTIMES
from ghostyolo.runtime.threads import default_threads

TOLERANCE = 1e-4  # of an output's largest magnitude
GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd")  # of the drivers of NVIDIA and AMD


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
    """Open a cfg with its weights, or an exported file.

    source: a cfg, see `model_files`, or its network, or a file of `ghostyolo export`. weights: None
    for those in the folder of a run, for random ones of another cfg. name: a key of `RUNTIMES`, or
    "auto". size: (h, w) of the input, None for that of the source. batch: batch size, unless the
    file has a fixed one. threads: None for `default_threads`. device: of torch; other runtimes
    compute on the CPU.

    Raises `OptionError` for a runtime that is not installed or does not read the source, and the
    errors of reading the files.
    """
    threads = threads or default_threads()
    if batch < 1:
        raise OptionError(f"batch={batch}", hint="give 1 or more")
    if name != AUTO:
        registry.check_name(name)
    if not isinstance(source, Network) and registry.is_exported(source):
        if weights is not None:
            message, hint = "an exported file holds its weights", "leave the weights out"
            raise OptionError(message, span=Span(str(source)), hint=hint)
        registry.check_reads(name, source)
        return open_file(Path(source), name, size, batch, threads, device)
    if not isinstance(source, Network):
        cfg, weights = model_files(source, weights)
        source = load(cfg)
    registry.check_reads(name, "a.cfg")
    network = resize(source, size) if size else source
    runtime = _open_network(network, weights, name, batch, threads, device)
    # errors about this network name lines of the cfg, not of the exported file
    runtime.metadata = replace(runtime.metadata, network=network)
    runtime.class_names = names_beside(network, weights) if weights else ()
    return runtime


def _open_network(
    network: Network, weights: str | Path | None, name: str, batch: int, threads: int, device: str
) -> Runtime:
    if name == AUTO:
        fastest = _open_fastest(network, weights, batch, threads) if _on_cpu(device) else None
        return fastest or _open_torch(network, weights, threads, device)
    if name == "torch":
        return _open_torch(network, weights, threads, device)
    registry.import_runtime(name)  # before anything is exported for it
    path = export_cache.exported(network, weights, batch)
    return open_file(path, name, None, batch, threads, device)


def _open_torch(network: Network, weights: str | Path | None, threads: int, device: str) -> Runtime:
    torch = registry.import_runtime("torch")
    return Runtime("torch", torch.open_network(network, weights, device=device, threads=threads))


def _on_cpu(device: str) -> bool:
    """Return whether the network runs on the CPU, without importing torch."""
    return device == "cpu" or (device == AUTO and not any(map(os.path.exists, GPU_DEVICES)))


def _open_fastest(
    network: Network, weights: str | Path | None, batch: int, threads: int
) -> Runtime | None:
    """Return the fastest installed runtime that reproduces torch's outputs, None for torch."""
    try:
        path = export_cache.exported(network, weights, batch)
    except GhostyoloError:
        return None  # torch raises the same error, or can compute a network that cannot be exported
    faster = list(RUNTIMES)[: list(RUNTIMES).index("torch")]
    for name in filter(registry.installed_version, faster):
        with suppress(GhostyoloError):
            runtime = open_file(path, name, None, batch, threads, "cpu")
            if _reproduces_torch(runtime, path, weights, threads):
                return runtime
            runtime.close()
    return None


def _reproduces_torch(
    runtime: Runtime, path: Path, weights: str | Path | None, threads: int
) -> bool:
    """Return whether a runtime's outputs equal torch's within `TOLERANCE`; cache the comparison."""
    deviation = export_cache.read_deviation(path, runtime.title)
    if deviation is None:
        export_cache.log_preparation(path, runtime.network, weights)
        images = np.random.default_rng(0).random((1, *runtime.network.options.shape), np.float32)
        with _open_torch(runtime.network, weights, threads, "cpu") as torch:
            pairs = zip(runtime.run(images), torch.run(images), strict=True)
        deviation = max(float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-12)) for a, b in pairs)
        export_cache.write_deviation(path, runtime.title, deviation)
    return deviation <= TOLERANCE
