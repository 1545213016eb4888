"""Exported files in OpenVINO: its own IR, or ONNX."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from openvino import Layout
from openvino.preprocess import PrePostProcessor

from ghostyolo.errors import DataError, Span
from ghostyolo.network import metadata
from ghostyolo.network.metadata import OPENVINO_SECTION
from ghostyolo.runtime import onnx_metadata
from ghostyolo.runtime.input_shape import fixed_shape
from ghostyolo.runtime.onnx_metadata import FileInfo


def open_file(
    path: Path, *, size: tuple[int, int] | None, batch: int, threads: int, device: str
) -> OpenVinoBackend:
    """Open a file on the CPU, whatever the device. Raises `DataError`, `OptionError`."""
    try:
        return OpenVinoBackend(path, size, batch, threads)
    except RuntimeError as error:
        raise _failure(path, error) from None


class OpenVinoBackend:
    """A compiled model and one request, in float32 on every processor.

    Pictures and maps are NHWC in memory, as OpenVINO computes them, so that it transposes none.
    """

    channels_last = True

    def __init__(self, path: Path, size: tuple[int, int] | None, batch: int, threads: int) -> None:
        core: Any = openvino.Core()
        model = core.read_model(path)
        read = onnx_metadata.read if path.suffix.lower() == ".onnx" else partial(_ir_info, model)
        info = read(path)
        self.metadata, shape = fixed_shape(info, path, size, batch)
        if model.is_dynamic() and tuple(info.input_sides) != shape:
            model.reshape(list(shape))
        compiled = core.compile_model(_channels_last(model), "CPU", options(threads))
        self._request: Request | None = Request(compiled)
        self.batch_size, self._path = shape[0], path
        outputs, names = compiled.outputs, self.metadata.output_names
        self._output_indices = [outputs.index(compiled.output(name)) for name in names]

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        assert self._request, "closed"
        try:
            found = self._request(images.transpose(0, 2, 3, 1))
        except RuntimeError as error:
            raise _failure(self._path, error) from None
        outputs = [found[index] for index in self._output_indices]
        return [out.transpose(0, 3, 1, 2) if out.ndim == 4 else out for out in outputs]

    def close(self) -> None:
        self._request = None


def options(threads: int) -> dict[str, Any]:
    """Return how a model is compiled: for one request at a time, in float32."""
    return {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
    }


class Request:
    """A compiled model that writes its outputs into new arrays, without a copy.

    Called with the input, it returns all outputs in the model's order. Outputs whose shape is not
    known beforehand are copied.
    """

    def __init__(self, compiled: Any) -> None:
        self._request = compiled.create_infer_request()
        self._shapes = [
            (tuple(out.shape), out.element_type.to_dtype()) if out.partial_shape.is_static else None
            for out in compiled.outputs
        ]

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        arrays = [shape and np.empty(*shape) for shape in self._shapes]
        for index, array in enumerate(arrays):
            if array is not None:
                tensor = openvino.Tensor(array, shared_memory=True)
                self._request.set_output_tensor(index, tensor)
        self._request.infer(images, share_inputs=True, share_outputs=True)
        return [
            np.array(self._request.get_output_tensor(index).data) if array is None else array
            for index, array in enumerate(arrays)
        ]


def _channels_last(model: Any) -> Any:
    """Return the model with its input and its outputs of maps as (N, h, w, C)."""
    steps: Any = PrePostProcessor(model)
    maps = [steps.output(i) for i, out in enumerate(model.outputs) if len(out.partial_shape) == 4]
    for side in (steps.input(0), *maps):
        side.model().set_layout(Layout("NCHW"))
        side.tensor().set_layout(Layout("NHWC"))
    return steps.build()


def _ir_info(model: Any, path: Path) -> FileInfo:
    """Return the metadata and the input's sides of an IR."""
    info = model.get_rt_info()
    stored = info[OPENVINO_SECTION].items() if OPENVINO_SECTION in info else []
    found = metadata.read({key: value.astype(str) for key, value in stored}, str(path))
    sides = model.inputs[0].partial_shape if len(model.inputs) == 1 else []
    return FileInfo(found, tuple(s.get_length() if s.is_static else str(s) for s in sides))


def _failure(path: Path, error: Exception) -> DataError:
    reason = " ".join(str(error).split())[:200]
    return DataError(f"OpenVINO: {reason}", span=Span(str(path)), hint="export it again")
