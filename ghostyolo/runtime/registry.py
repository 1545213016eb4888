"""The runtimes: the libraries that compute networks, and the files that each of them reads.

Neither torch nor numpy is imported here. A further runtime is a module of this folder, whose
`open_file` returns a `Backend` (see `backend`), and an entry in `RUNTIMES`. Those before torch
that read .onnx are tried on every cfg; one that reads other files alone computes no cfg.
"""

from __future__ import annotations

import importlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from ghostyolo.errors import OptionError, Span
from ghostyolo.exporters.formats import FORMATS

AUTO = "auto"


class RuntimeEntry(NamedTuple):
    """A runtime.

    module: in this folder. distributions: the packages that may hold its library. suffixes: of the
    files that it reads. install: the command that installs it.
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
        "opencv",
        (
            "opencv-python", "opencv-python-headless", "opencv-contrib-python",
            "opencv-contrib-python-headless",
        ),
        (".onnx",),
        "pip install opencv-python",
    ),
    "torch": RuntimeEntry("pytorch", ("torch",), (".torchscript", ".pt"), "pip install torch"),
}  # fmt: skip
CHOICES = (AUTO, *RUNTIMES)
READ_SUFFIXES = tuple(dict.fromkeys(s for entry in RUNTIMES.values() for s in entry.suffixes))
EXPORTED_SUFFIXES = (*READ_SUFFIXES, *(s for found in FORMATS.values() for s in found.suffixes))


def is_exported(path: str | Path) -> bool:
    """Return whether a path has the suffix of an exported file."""
    return str(path).lower().endswith(EXPORTED_SUFFIXES)


def readers(source: str | Path) -> list[str]:
    """Return the runtimes that read an exported file, or compute a cfg, installed or not.

    Another runtime than torch computes a cfg from the ONNX file that it is exported to.
    """
    exported = is_exported(source)
    suffix = Path(source).suffix.lower() if exported else ".onnx"
    return [
        name
        for name, entry in RUNTIMES.items()
        if suffix in entry.suffixes or (name == "torch" and not exported)
    ]


def check_reads(name: str, source: str | Path) -> None:
    """Raise `OptionError` unless a runtime reads an exported file, or computes a cfg.

    "auto" does if any runtime does.
    """
    known, suffix = readers(source), Path(source).suffix.lower()
    if name in known or (name == AUTO and known):
        return
    exported = is_exported(source)
    what = f"{suffix} files" if exported else "a cfg"
    hint = f"use {' or '.join(known)}" if known else "give the cfg and its weights"
    message = f"{name} does not read {what}" if known else f"no runtime here reads {what}"
    raise OptionError(message, span=Span(str(source)) if exported else None, hint=hint)


def check_name(name: str) -> None:
    """Raise `OptionError` unless a runtime has this name; "auto" is not a runtime."""
    if name not in RUNTIMES:
        raise OptionError(f"no runtime '{name}'", hint=f"use one of {', '.join(CHOICES)}")


def installed_versions() -> dict[str, str | None]:
    """Return the version of each runtime's library, None for one that is not installed."""
    return {name: installed_version(name) for name in RUNTIMES}


def installed_version(name: str) -> str | None:
    """Return the version of a runtime's library, None if it is not installed. Imports nothing."""
    return next(filter(None, map(distribution_version, RUNTIMES[name].distributions)), None)


@cache
def distribution_version(distribution: str) -> str | None:
    """Return the version of an installed distribution, None if it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def import_runtime(name: str) -> Any:
    """Return the module of a runtime. Raises `OptionError` if its library is not installed."""
    entry = RUNTIMES[name]
    if installed_version(name) is None:
        raise OptionError(f"{name} is not installed", hint=entry.install)
    return importlib.import_module(f"ghostyolo.runtime.{entry.module}")
