"""ONNX files in onnxruntime, an optional dependency: exported ones, and those of other programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ghostyolo.errors import DataError, OptionError, Span
from ghostyolo.layers import Shape
from ghostyolo.runtime import onnx_metadata
from ghostyolo.runtime.backend import Backend, fixed_shape, library_errors


def open_file(
    path: Path, *, size: tuple[int, int] | None, batch: int, threads: int, device: str
) -> Backend:
    """Open an exported file on the CPU. Raises `DataError`, `OptionError`."""
    info = onnx_metadata.read(path)
    metadata, shape = fixed_shape(info, path, size, batch)
    pairs = zip(info.input_sides, shape, strict=True)
    opened = session(path, threads, {name: side for name, side in pairs if isinstance(name, str)})
    name = opened.get_inputs()[0].name

    def compute(images: np.ndarray) -> list[np.ndarray]:
        with library_errors("onnxruntime", path, Exception):
            return opened.run(metadata.output_names, {name: images})

    return Backend(metadata, compute, shape[0], channels_last=False)


def session(path: str | Path, threads: int = 0, sides: Mapping[str, int] | None = None) -> Any:
    """Open an ONNX file on the CPU.

    threads: 0 for one for each processor. sides: the length of each dynamic axis of the input, by
    name. Raises `OptionError` without onnxruntime, `DataError` for a file that it cannot read.
    """
    try:
        import onnxruntime
    except ImportError:
        hint = "pip install 'ghostyolo[onnx]'"
        raise OptionError("onnxruntime is not installed", hint=hint) from None
    if not Path(path).is_file():
        raise DataError("no such file", span=Span(str(path)), hint="give the path of an ONNX file")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # print errors only
    options.intra_op_num_threads = threads
    for name, side in (sides or {}).items():
        options.add_free_dimension_override_by_name(name, side)
    with library_errors("onnxruntime", path, Exception, hint="export it again"):  # no base class
        return onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])


def outputs(opened: Any, path: str | Path, x: np.ndarray) -> dict[str, np.ndarray]:
    """Return all outputs of a session by name for an input (N, C, h, w).

    Raises `DataError` if the file does not take such an input.
    """
    inputs = opened.get_inputs()
    if len(inputs) != 1:
        message = f"{len(inputs)} inputs: {', '.join(item.name for item in inputs)}"
        raise DataError(message, span=Span(str(path)), hint="export it with the picture alone")
    _check_input(inputs[0].shape, x.shape, path)
    names = [item.name for item in opened.get_outputs()]
    with library_errors("onnxruntime", path, Exception, hint="export it with a float32 input"):
        return dict(zip(names, opened.run(names, {inputs[0].name: x}), strict=True))


def _check_input(want: list[Any], have: tuple[int, ...], path: str | Path) -> None:
    """Raise `DataError` unless a shape fits that of the input; any length fits a dynamic axis."""
    pairs = zip(want, have, strict=False)
    if len(want) == len(have) and all(w == h for w, h in pairs if isinstance(w, int)):
        return
    message = f"its input is {'x'.join(map(str, want))}, this one {'x'.join(map(str, have))}"
    hint = "export it again for this cfg"
    if len(want) == 4 and all(isinstance(side, int) for side in want[2:]):
        hint = f"give --size {want[2]}x{want[3]}" if want[1] == have[1] else hint
    raise DataError(message, span=Span(str(path)), hint=hint)


def fits(output: np.ndarray, shape: Shape) -> bool:
    """Return whether an output has the shape of a layer's, whatever its batch size."""
    return output.ndim > 1 and tuple(output.shape[1:]) == tuple(shape)
