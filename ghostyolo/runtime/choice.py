"""Which program computes a network, and how it is opened."""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from ghostyolo.errors import DataError, OptionError, Span
from ghostyolo.network import Network, load
from ghostyolo.passes import resize
from ghostyolo.runtime.opened import Runtime
from ghostyolo.runtime.threads import allowed


class Program(NamedTuple):
    """What computes: its module here, the distributions that have it, what it reads, its extra."""

    module: str
    distributions: tuple[str, ...]
    suffixes: tuple[str, ...]
    install: str


# The fastest first. One input of the 80-class GhostNet detector at 416x416 takes 11, 12, 22 and
# 24 ms in them, by `ghostyolo bench --threads 2` on an x86 server with AVX-512.
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


def runtimes() -> dict[str, str | None]:
    """Return the programs with the version that is installed, None for one that is not."""
    return {name: installed(program) for name, program in PROGRAMS.items()}


def installed(program: Program) -> str | None:
    """Return the version of a program, None where it is not there. Imports nothing of it."""
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
        return open_file(Path(source), name, size, batch, count, device)
    network = source if isinstance(source, Network) else load(source)
    network = resize(network, size) if size else network
    # hashing and exporting is for cfgs alone
    networks: Any = importlib.import_module("ghostyolo.runtime.networks")
    found: Runtime = networks.open_network(network, weights, name, batch, count, device)
    return found


def open_file(
    path: Path, name: str, size: tuple[int, int] | None, batch: int, threads: int, device: str
) -> Runtime:
    """Open an exported file. Raises `DataError`, `OptionError`."""
    suffix = path.suffix.lower()
    readers = [other for other, program in PROGRAMS.items() if suffix in program.suffixes]
    if name != AUTO and name not in readers:
        message = f"{name} does not read {suffix} files"
        raise OptionError(message, span=Span(str(path)), hint=f"use {' or '.join(readers)}")
    if not path.is_file():
        hint = "give the path of an exported file"
        raise DataError("no such file", span=Span(str(path)), hint=hint)
    if name == AUTO:
        name = next((other for other in readers if installed(PROGRAMS[other])), readers[0])
    if name != "torch" and device not in (AUTO, "cpu"):
        message, hint = f"{name} computes on the CPU, not on {device}", "use torch with the cfg"
        raise OptionError(message, span=Span(str(path)), hint=hint)
    engine = loaded(name).open_file(path, size=size, batch=batch, threads=threads, device=device)
    return Runtime(name, engine)


def loaded(name: str) -> Any:
    """Return the module of a program. Raises `OptionError` for one that is not installed."""
    program = PROGRAMS[name]
    if installed(program) is None:
        raise OptionError(f"{name} is not installed", hint=program.install)
    return importlib.import_module(f"ghostyolo.runtime.{program.module}")
