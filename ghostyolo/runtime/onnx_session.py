"""ONNX files in onnxruntime, an optional dependency."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ghostyolo.errors import DataError, OptionError, Span
from ghostyolo.layers import Shape


def session(path: str | Path, threads: int = 0, sides: Mapping[str, int] | None = None) -> Any:
    """Open an ONNX file on the CPU.

    threads: 0 for one for each processor. sides: for the names of an input's open sides.
    Raises `OptionError` without onnxruntime, `DataError` for a file that it cannot read.
    """
    try:
        import onnxruntime
    except ImportError:
        hint = "pip install 'ghostyolo[onnx]'"
        raise OptionError("onnxruntime is not installed", hint=hint) from None
    if not Path(path).is_file():
        raise DataError("no such file", span=Span(str(path)), hint="give the path of an ONNX file")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone, which are raised too
    options.intra_op_num_threads = threads
    for name, side in (sides or {}).items():
        options.add_free_dimension_override_by_name(name, side)
    try:
        return onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no base class of their own
        raise failure(path, error, "export it again") from None


def outputs(session_: Any, path: str | Path, x: np.ndarray) -> dict[str, np.ndarray]:
    """Return all outputs by name for an input (N, C, h, w).

    Raises `DataError` when the file does not take such an input.
    """
    inputs = session_.get_inputs()
    if len(inputs) != 1:
        message = f"{len(inputs)} inputs: {', '.join(item.name for item in inputs)}"
        raise DataError(message, span=Span(str(path)), hint="export it with the picture alone")
    _check_input(inputs[0].shape, x.shape, path)
    names = [item.name for item in session_.get_outputs()]
    try:
        found = session_.run(names, {inputs[0].name: x})
    except Exception as error:
        raise failure(path, error, "export it with a float32 input") from None
    return dict(zip(names, found, strict=True))


def _check_input(want: list[Any], have: tuple[int, ...], path: str | Path) -> None:
    """Raise `DataError` unless a shape fits; names in `want` are open sides."""
    pairs = zip(want, have, strict=False)
    if len(want) == len(have) and all(w == h for w, h in pairs if isinstance(w, int)):
        return
    message = f"its input is {'x'.join(map(str, want))}, this one {'x'.join(map(str, have))}"
    hint = "export it again for this cfg"
    if len(want) == 4 and all(isinstance(side, int) for side in want[2:]):
        hint = f"give --size {want[2]}x{want[3]}" if want[1] == have[1] else hint
    raise DataError(message, span=Span(str(path)), hint=hint)


def failure(path: str | Path, error: Exception, hint: str) -> DataError:
    """Return the error to raise for one of onnxruntime."""
    reason = " ".join(str(error).split())[:200]
    return DataError(f"onnxruntime: {reason}", span=Span(str(path)), hint=hint)


def fits(out: np.ndarray, shape: Shape) -> bool:
    """Return whether an output may be that of a layer."""
    return out.ndim > 1 and tuple(out.shape[1:]) == tuple(shape)
