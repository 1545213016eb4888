"""Any ONNX file in onnxruntime or OpenVINO, with the settings that our own files get there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ghostyolo.bench.process import Task
from ghostyolo.errors import DataError, OptionError, Span
from ghostyolo.runtime import onnx_session
from ghostyolo.runtime.registry import import_runtime

RUNTIMES = ("openvino", "onnxruntime")
Opened = tuple[list[int], Callable[[np.ndarray], object]]


def open_file(path: Path, task: Task) -> tuple[list[int], Callable[[], object]]:
    """Return the input's shape and the run on random numbers.

    Raises `DataError` for a file without one input of pictures, `OptionError` for other runtimes.
    """
    if task.runtime not in RUNTIMES:
        message, hint = f"{task.runtime} is not compared", f"use {' or '.join(RUNTIMES)}"
        raise OptionError(message, hint=hint)
    if not path.is_file():
        raise DataError("no such file", span=Span(str(path)), hint="give the path of an ONNX file")
    opened = _in_openvino(path, task) if task.runtime == "openvino" else _in_onnxruntime(path, task)
    shape, run = opened
    images = np.random.default_rng(0).random(tuple(shape), np.float32)
    return shape, lambda: run(images)


def _in_onnxruntime(path: Path, task: Task) -> Opened:
    inputs = onnx_session.session(path, task.threads).get_inputs()
    sides, name = inputs[0].shape, inputs[0].name
    shape = _shape(sides, len(inputs), path, task)
    pairs = zip(sides, shape, strict=True)
    open_sides = {side: number for side, number in pairs if isinstance(side, str)}
    session = onnx_session.session(path, task.threads, open_sides)
    return shape, lambda images: session.run(None, {name: images})


def _in_openvino(path: Path, task: Task) -> Opened:
    library = import_runtime("openvino")
    core: Any = library.openvino.Core()
    model = core.read_model(path)
    sides = [s.get_length() if s.is_static else "" for s in model.inputs[0].partial_shape]
    shape = _shape(sides, len(model.inputs), path, task)
    model.reshape(shape)
    return shape, library.Request(core.compile_model(model, "CPU", library.options(task.threads)))


def _shape(sides: Sequence[object], inputs: int, path: Path, task: Task) -> list[int]:
    """Return the input's shape with the open sides as the task has them."""
    if inputs != 1 or len(sides) != 4:
        message, hint = "does not take one batch of pictures", "export it with the picture alone"
        raise DataError(message, span=Span(str(path)), hint=hint)
    wanted = (task.batch, 3, *(task.size or (0, 0)))
    shape = [own if isinstance(own, int) else side for own, side in zip(sides, wanted, strict=True)]
    if tuple(shape) != wanted:
        own, want = ("x".join(map(str, sides)) for sides in (shape, wanted))
        hint = "export it so, or give its --size and --batch"
        raise DataError(f"its input is {own}, not {want}", span=Span(str(path)), hint=hint)
    return shape
