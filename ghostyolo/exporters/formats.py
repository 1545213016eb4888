"""The file formats, the modules here that write them, and what each needs.

Neither torch nor numpy is imported here. A further format is a module of this folder with
`write(model, path, settings)`, and an entry in `FORMATS`; one for 8 bits has
`write(model, path, settings, images)`, with calibration images (n, batch, 3, h, w). A runtime that
reads the format names its suffixes in `ghostyolo.runtime.registry`.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ghostyolo.errors import OptionError, Span


class Format(NamedTuple):
    """A file format.

    title: as help texts name it. module, int8_module: what writes it, "" for no 8 bits. suffixes:
    those that mean it, the usual one first. required_suffix: whether no other will do. extra: of
    this package, which installs the libraries. runtime: that a written file is verified in, ""
    if none here reads it.
    beside: the suffixes of further files that belong to it.
    """

    title: str
    module: str
    int8_module: str
    suffixes: tuple[str, ...]
    extra: str
    runtime: str
    required_suffix: bool = False
    beside: tuple[str, ...] = ()


FORMATS = {
    "onnx": Format("ONNX", "onnx", "onnx_int8", (".onnx",), "onnx", "onnxruntime"),
    "openvino": Format(
        "OpenVINO IR", "openvino", "openvino_int8", (".xml",), "openvino", "openvino",
        required_suffix=True, beside=(".bin",),
    ),
    "torchscript": Format("TorchScript", "torchscript", "", (".torchscript", ".pt"), "", "torch"),
}  # fmt: skip


def format_of(path: str | Path, name: str | None = None) -> str:
    """Return the format that is named, or that a path's suffix means.

    Raises `OptionError` if neither gives one, or the format requires another suffix.
    """
    suffix = Path(path).suffix.lower()
    if name:
        found = FORMATS[name]
        if found.required_suffix and suffix not in found.suffixes:
            message = f"{found.title} is an {found.suffixes[0]} file"
            raise OptionError(message, span=Span(str(path)), hint="name it so")
        return name
    for known, found in FORMATS.items():
        if suffix in found.suffixes:
            return known
    message = f"its suffix '{suffix}' names no format" if suffix else "no suffix names its format"
    hint = f"use one of {', '.join(s for f in FORMATS.values() for s in f.suffixes)}, or --format"
    raise OptionError(message, span=Span(str(path)), hint=hint)


def usual_suffixes() -> str:
    """Return the usual suffix of each format, for help texts: ".onnx (ONNX), ..."."""
    return ", ".join(f"{found.suffixes[0]} ({found.title})" for found in FORMATS.values())
