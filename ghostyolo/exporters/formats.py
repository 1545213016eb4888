"""The file formats, the modules of this folder that write them, and the libraries they need.

Neither torch nor numpy is imported here. A further format is a module of this folder with
`write(model, path, settings)`, and an entry in `FORMATS`; one for 8 bits has
`write(model, path, settings, images, on_progress)`, with calibration images (n, batch, 3, h, w) and
a `calibration.OnProgress`. `write` stores `settings.metadata`, and refuses by `OptionError` what of
the settings such a file cannot hold. A runtime that reads the format names its suffixes in
`ghostyolo.runtime.registry`.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ghostyolo.errors import OptionError, Span


class Format(NamedTuple):
    """A file format.

    title: name in help texts. module, int8_module: of this folder, for float32 and for 8 bits, ""
    if it cannot be written so. suffixes: of its files, the usual one first. extra: of this package,
    which installs the libraries. runtime: in which a written file is verified, "" if no runtime
    reads it. required_suffix: whether a file must have one of the suffixes. beside: suffixes of
    further files that are written with it.
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
    """Return the named format, or the format of a path's suffix.

    Raises `OptionError` if neither gives one, the format requires another suffix, or the suffix
    means another format.
    """
    suffix = Path(path).suffix.lower()
    meant = next((key for key, found in FORMATS.items() if suffix in found.suffixes), "")
    if name:
        found = FORMATS[name]
        if name != meant and (meant or found.required_suffix):
            message = f"{found.title} files end in {' or '.join(found.suffixes)}"
            hint = f"give it the suffix {found.suffixes[0]}"
            raise OptionError(message, span=Span(str(path)), hint=hint)
        return name
    if meant:
        return meant
    message = f"no format has the suffix '{suffix}'" if suffix else "it has no suffix"
    hint = f"use one of {', '.join(s for f in FORMATS.values() for s in f.suffixes)}, or --format"
    raise OptionError(message, span=Span(str(path)), hint=hint)


def usual_suffixes(*, read: bool = False) -> str:
    """Return the usual suffix of each format, for help texts: ".onnx (ONNX), ...".

    read: of those alone that a runtime here reads.
    """
    wanted = (found for found in FORMATS.values() if found.runtime or not read)
    return ", ".join(f"{found.suffixes[0]} ({found.title})" for found in wanted)
