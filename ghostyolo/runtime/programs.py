"""The programs that run exported files: what each reads, whether it is installed, how it opens."""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from ghostyolo.errors import DataError, OptionError, Span
from ghostyolo.runtime.interface import Runtime


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
        "opencv", ("opencv-python", "opencv-python-headless"), (".onnx",),
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
