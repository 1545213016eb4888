"""Which program computes a network, and how it is opened."""

from __future__ import annotations

import contextlib
import importlib
import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ghostyolo.errors import DataError, GhostyoloError, OptionError, Span
from ghostyolo.network import Network, load
from ghostyolo.passes import resize
from ghostyolo.runtime import cache
from ghostyolo.runtime.opened import Runtime
from ghostyolo.runtime.threads import allowed


class Program(NamedTuple):
    """What computes: its module here, the distributions that have it, what it reads, its extra."""

    module: str
    distributions: tuple[str, ...]
    suffixes: tuple[str, ...]
    install: str


# The fastest first, in milliseconds for one picture of the 80-class GhostNet detector at 416x416,
# 2 threads of an x86 server with AVX-512: tools/bench_detect.py prints them.
PROGRAMS = {
    "openvino": Program(
        "openvino", ("openvino",), (".xml", ".onnx"), "pip install 'ghostyolo[openvino]'"
    ),
    "onnxruntime": Program(
        "onnxruntime", ("onnxruntime", "onnxruntime-gpu"), (".onnx",),
        "pip install 'ghostyolo[onnx]'",
    ),
    "opencv": Program(
        "opencv_onnx", ("opencv-python", "opencv-python-headless"), (".onnx",),
        "pip install opencv-python",
    ),
    "torch": Program("pytorch", ("torch",), (".torchscript", ".pt"), "pip install torch"),
}  # fmt: skip
ORDER = tuple(PROGRAMS)
EXPORTED = tuple(dict.fromkeys(s for program in PROGRAMS.values() for s in program.suffixes))
AUTO = "auto"
CLOSE = 1e-4  # of the largest value: how far "auto" lets outputs of a cfg be from torch's
ACCELERATORS = ("/dev/nvidiactl", "/dev/kfd")  # where drivers of NVIDIA and AMD have their door


def runtimes() -> dict[str, str | None]:
    """Return the programs with the version that is installed, None for one that is not."""
    return {name: _version(program) for name, program in PROGRAMS.items()}


def _version(program: Program) -> str | None:
    for name in program.distributions:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


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

    A cfg for another program than torch is exported once, see `ghostyolo.runtime.cache`.
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
        return _open_file(Path(source), name, size, batch, count, device)
    network = source if isinstance(source, Network) else load(source)
    network = resize(network, size) if size else network
    return _open_network(network, weights, name, batch, count, device)


def _open_file(
    path: Path, name: str, size: tuple[int, int] | None, batch: int, threads: int, device: str
) -> Runtime:
    """Open an exported file."""
    suffix = path.suffix.lower()
    readers = [other for other, program in PROGRAMS.items() if suffix in program.suffixes]
    if name != AUTO and name not in readers:
        message = f"{name} does not read {suffix} files"
        raise OptionError(message, span=Span(str(path)), hint=f"use {' or '.join(readers)}")
    if not path.is_file():
        hint = "give the path of an exported file"
        raise DataError("no such file", span=Span(str(path)), hint=hint)
    if name == AUTO:
        name = next((other for other in readers if _version(PROGRAMS[other])), readers[0])
    engine = _module(name).open_file(path, size=size, batch=batch, threads=threads, device=device)
    return Runtime(name, engine)


def _module(name: str) -> Any:
    """Return the module of a program. Raises `OptionError` for one that is not installed."""
    program = PROGRAMS[name]
    if _version(program) is None:
        raise OptionError(f"{name} is not installed", hint=program.install)
    return importlib.import_module(f"ghostyolo.runtime.{program.module}")


def _open_network(
    network: Network, weights: str | Path | None, name: str, batch: int, threads: int, device: str
) -> Runtime:
    """Open a cfg's network."""
    if name == AUTO:
        found = _fastest(network, weights, batch, threads) if _on_cpu(device) else None
        return found or _open_torch(network, weights, threads, device)
    if name == "torch":
        return _open_torch(network, weights, threads, device)
    module = _module(name)
    path = cache.exported(network, weights, batch)
    return Runtime(
        name, module.open_file(path, size=None, batch=batch, threads=threads, device=device)
    )


def _open_torch(network: Network, weights: str | Path | None, threads: int, device: str) -> Runtime:
    module = _module("torch")
    return Runtime("torch", module.open_network(network, weights, device=device, threads=threads))


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
        own = _version(PROGRAMS[name])
        with contextlib.suppress(GhostyoloError):
            runtime = own and _open_file(path, name, None, batch, threads, "cpu")
            if runtime and _reproduces(runtime, path, f"{name} {own}", weights, threads):
                return runtime
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
