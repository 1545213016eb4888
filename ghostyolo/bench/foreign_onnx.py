"""Any ONNX file in onnxruntime or OpenVINO, opened as exported files are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ghostyolo.bench.process import Settings
from ghostyolo.errors import DataError, Span
from ghostyolo.runtime import onnxruntime
from ghostyolo.runtime.registry import import_runtime

RUNTIMES = ("openvino", "onnxruntime")
Opened = tuple[list[int], Callable[[np.ndarray], object]]  # the input shape, and the run


def open_file(settings: Settings, runtime: str) -> tuple[dict[str, Any], Callable[[], object]]:
    """Return the input shape of a file, and a function that runs it on random numbers.

    settings: with the size of the input. runtime: one of `RUNTIMES`. Raises `DataError` for a file
    whose input is not one batch of pictures of that size.
    """
    shape, run = (_in_openvino if runtime == "openvino" else _in_onnxruntime)(settings)
    images = np.random.default_rng(0).random(tuple(shape), np.float32)
    return {"shape": shape}, lambda: run(images)


def _in_onnxruntime(settings: Settings) -> Opened:
    path, threads = settings.source, settings.threads
    inputs = onnxruntime.session(path, threads).get_inputs()
    sides, name = inputs[0].shape, inputs[0].name
    shape = _shape(sides, len(inputs), settings)
    pairs = zip(sides, shape, strict=True)
    dynamic = {side: length for side, length in pairs if isinstance(side, str)}
    session = onnxruntime.session(path, threads, dynamic)
    return shape, lambda images: session.run(None, {name: images})


def _in_openvino(settings: Settings) -> Opened:
    library = import_runtime("openvino")
    core: Any = library.openvino.Core()
    model = core.read_model(Path(settings.source))
    sides = [s.get_length() if s.is_static else "" for s in model.inputs[0].partial_shape]
    shape = _shape(sides, len(model.inputs), settings)
    model.reshape(shape)
    compiled = core.compile_model(model, "CPU", library.options(settings.threads))
    return shape, library.Request(compiled)


def _shape(sides: Sequence[object], inputs: int, settings: Settings) -> list[int]:
    """Return the input shape, its dynamic axes set to the batch and size of the settings."""
    span, size = Span(settings.source), settings.size or (0, 0)
    if inputs != 1 or len(sides) != 4:
        message, hint = "does not take one batch of pictures", "export it with the picture alone"
        raise DataError(message, span=span, hint=hint)
    wanted = [settings.batch, 3, *size]
    shape = [own if isinstance(own, int) else side for own, side in zip(sides, wanted, strict=True)]
    if shape != wanted:
        own, want = ("x".join(map(str, sides)) for sides in (shape, wanted))
        hint = "export it so, or give its --size and --batch"
        raise DataError(f"its input is {own}, not {want}", span=span, hint=hint)
    return shape
