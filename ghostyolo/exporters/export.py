"""A model as a file that other programs run: ONNX, OpenVINO IR, TorchScript.

The module of a format has `write(model, path, form)`, that of its 8-bit kind
`write(model, path, form, images)`. They are imported when they are asked
for, since the libraries that they need may be absent.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ghostyolo.errors import OptionError, Span
from ghostyolo.exporters import calibration
from ghostyolo.exporters.settings import BOXES, DYNAMIC, OPSET, ExportSettings, Suppression
from ghostyolo.model.model import Model

__all__ = [
    "BOXES", "DYNAMIC", "FORMATS", "OPSET", "ExportSettings", "Suppression", "format_of", "module",
    "write", "write_int8",
]  # fmt: skip


class Format(NamedTuple):
    """A file format: its modules here, the suffixes that mean it, the extra that installs it."""

    module: str
    int8: str
    suffixes: tuple[str, ...]
    extra: str
    runtime: str  # what runs it here


FORMATS = {
    "onnx": Format("onnx", "onnx_int8", (".onnx",), "onnx", "onnxruntime"),
    "openvino": Format("openvino", "openvino_int8", (".xml",), "openvino", "openvino"),
    "torchscript": Format("torchscript", "", (".torchscript", ".pt"), "", "torch"),
}


def format_of(path: str | Path, name: str | None = None) -> str:
    """Return the format that is named, or that a path's suffix means.

    Raises `OptionError` where neither says one, or IR is not to be called .xml.
    """
    suffix = Path(path).suffix.lower()
    if name == "openvino" and suffix != ".xml":
        raise OptionError("IR is an .xml file", span=Span(str(path)), hint="name it so")
    if name:
        return name
    for found, kind in FORMATS.items():
        if suffix in kind.suffixes:
            return found
    known = ", ".join(suffix for kind in FORMATS.values() for suffix in kind.suffixes)
    message = f"its suffix '{suffix}' names no format" if suffix else "no suffix names its format"
    raise OptionError(message, span=Span(str(path)), hint=f"use one of {known}, or --format")


def module(name: str) -> Any:
    """Return the module of a format. Raises `OptionError` where a library is missing."""
    kind = FORMATS[name]
    return optional(f"ghostyolo.exporters.{kind.module}", kind.extra)


def optional(name: str, extra: str) -> Any:
    """Return a module that, or a library of which, may not be installed.

    Raises `OptionError` with the command that installs it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        hint = f"pip install 'ghostyolo[{extra}]'"
        raise OptionError(f"{error.name} is not installed", hint=hint) from None


def write(model: Model, path: str | Path, form: ExportSettings, name: str) -> None:
    """Write a model in the format of that name.

    Raises `OptionError` for what the network, the format or the disk does not allow.
    """
    form.check(model.network)
    module(name).write(model, Path(path), form)


def write_int8(
    model: Model, path: str | Path, form: ExportSettings, name: str, pictures: Sequence[Path]
) -> None:
    """Write a model with 8-bit weights and activations, their ranges taken from pictures.

    Raises `OptionError` as `write` does and for a format without such a kind, `DataError` for a
    picture that is none.
    """
    form.check(model.network)
    kind = FORMATS[name]
    if not kind.int8:
        hint = "use " + " or ".join(other for other, k in FORMATS.items() if k.int8)
        raise OptionError(f"{name} has no 8-bit form here", hint=hint)
    writer = optional(f"ghostyolo.exporters.{kind.int8}", kind.extra)
    writer.write(model, Path(path), form, calibration.inputs(model.network, pictures, form))
