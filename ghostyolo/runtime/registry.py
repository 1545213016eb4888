"""The runtimes: the libraries that compute networks, and which files each of them reads.

Neither torch nor numpy is imported here. A further runtime is a module of this folder, whose
`open_file` returns a `Backend` (see `backend`), and an entry in `RUNTIMES`.
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from ghostyolo.errors import OptionError

AUTO = "auto"


class RuntimeEntry(NamedTuple):
    """A runtime's module in this folder, the distributions that hold the library, the suffixes of
    the files that it reads, and the command that installs it.
    """

    module: str
    distributions: tuple[str, ...]
    suffixes: tuple[str, ...]
    install: str


# The fastest first. One input of the 80-class GhostNet detector at 416x416 takes 11, 12, 22 and
# 24 ms in them, by `ghostyolo bench --threads 2` on an x86 server with AVX-512.
RUNTIMES = {
    "openvino": RuntimeEntry(
        "openvino", ("openvino",), (".xml", ".onnx"), "pip install 'ghostyolo[openvino]'"
    ),
    "onnxruntime": RuntimeEntry(
        "onnxruntime", ("onnxruntime", "onnxruntime-gpu"), (".onnx",),
        "pip install 'ghostyolo[onnx]'",
    ),
    "opencv": RuntimeEntry(
        "opencv", ("opencv-python", "opencv-python-headless"), (".onnx",),
        "pip install opencv-python",
    ),
    "torch": RuntimeEntry("pytorch", ("torch",), (".torchscript", ".pt"), "pip install torch"),
}  # fmt: skip
CHOICES = (AUTO, *RUNTIMES)
EXPORTED_SUFFIXES = tuple(dict.fromkeys(s for entry in RUNTIMES.values() for s in entry.suffixes))


def is_exported(path: str | Path) -> bool:
    """Return whether a path is that of an exported file, by its suffix, and not of a cfg."""
    return str(path).lower().endswith(EXPORTED_SUFFIXES)


def check_name(name: str) -> None:
    """Raise `OptionError` unless there is a runtime of that name; "auto" is none."""
    if name not in RUNTIMES:
        raise OptionError(f"no runtime '{name}'", hint=f"use one of {', '.join(CHOICES)}")


def installed_versions() -> dict[str, str | None]:
    """Return the version of each runtime's library, None for one that is not installed."""
    return {name: installed_version(name) for name in RUNTIMES}


def installed_version(name: str) -> str | None:
    """Return the version of a runtime's library, None if it is not installed. Imports nothing."""
    for distribution in RUNTIMES[name].distributions:
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return None


def import_runtime(name: str) -> Any:
    """Return the module of a runtime. Raises `OptionError` if its library is not installed."""
    entry = RUNTIMES[name]
    if installed_version(name) is None:
        raise OptionError(f"{name} is not installed", hint=entry.install)
    return importlib.import_module(f"ghostyolo.runtime.{entry.module}")
