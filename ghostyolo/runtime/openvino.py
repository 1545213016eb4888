"""Exported files in OpenVINO: its own IR, or ONNX."""

from __future__ import annotations

from dataclasses import replace
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
from ghostyolo.runtime.input_shape import fixed, output_names
from ghostyolo.runtime.onnx_metadata import Header


def open_file(
    path: Path, *, size: tuple[int, int] | None, batch: int, threads: int, device: str
) -> Engine:
    """Open a file on the CPU, whatever the device is. Raises `DataError`, `OptionError`."""
    try:
        return Engine(path, size, batch, threads)
    except RuntimeError as error:
        raise _failure(path, error) from None


class Engine:
    """A compiled model and one request, in float32 whatever the processor would like best.

    Pictures and maps lie in memory as OpenVINO computes them, so that it transposes none.
    """

    channels_last = True

    def __init__(self, path: Path, size: tuple[int, int] | None, batch: int, threads: int) -> None:
        core: Any = openvino.Core()
        model = core.read_model(path)
        found = onnx_metadata.read(path) if path.suffix.lower() == ".onnx" else _header(model, path)
        network, shape = fixed(found, path, size, batch)
        self.metadata = replace(found.metadata, network=network)
        if model.is_dynamic() and tuple(found.sides) != shape:
            model.reshape(list(shape))
        compiled = core.compile_model(_channels_last(model), "CPU", options(threads))
        self._request: Request | None = Request(compiled)
        self.batch, self._path = shape[0], path
        names, outputs = output_names(self.metadata), compiled.outputs
        self._places = [outputs.index(compiled.output(name)) for name in names]

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        assert self._request, "closed"
        try:
            found = self._request(images.transpose(0, 2, 3, 1))
        except RuntimeError as error:
            raise _failure(self._path, error) from None
        outputs = [found[place] for place in self._places]
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
    """A compiled model that writes its results into arrays of the caller's own: no copy is made.

    Called with the input, it returns all outputs in the model's order. One whose shape is not known
    beforehand is copied.
    """

    def __init__(self, compiled: Any) -> None:
        self._request = compiled.create_infer_request()
        self._forms = [
            (tuple(out.shape), out.element_type.to_dtype()) if out.partial_shape.is_static else None
            for out in compiled.outputs
        ]

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        found = [form and np.empty(*form) for form in self._forms]
        for place, array in enumerate(found):
            if array is not None:
                tensor = openvino.Tensor(array, shared_memory=True)
                self._request.set_output_tensor(place, tensor)
        self._request.infer(images, share_inputs=True, share_outputs=True)
        return [
            np.array(self._request.get_output_tensor(place).data) if array is None else array
            for place, array in enumerate(found)
        ]


def _channels_last(model: Any) -> Any:
    """Return the model with its input and its outputs of maps as (N, h, w, C)."""
    steps: Any = PrePostProcessor(model)
    maps = [steps.output(i) for i, out in enumerate(model.outputs) if len(out.partial_shape) == 4]
    for end in (steps.input(0), *maps):
        end.model().set_layout(Layout("NCHW"))
        end.tensor().set_layout(Layout("NHWC"))
    return steps.build()


def _header(model: Any, path: Path) -> Header:
    """Return what an IR says about itself."""
    info = model.get_rt_info()
    known = info[OPENVINO_SECTION].items() if OPENVINO_SECTION in info else []
    said = metadata.read({key: value.astype(str) for key, value in known}, str(path))
    sides = model.inputs[0].partial_shape if len(model.inputs) == 1 else []
    return Header(said, tuple(s.get_length() if s.is_static else str(s) for s in sides))


def _failure(path: Path, error: Exception) -> DataError:
    reason = " ".join(str(error).split())[:200]
    return DataError(f"OpenVINO: {reason}", span=Span(str(path)), hint="export it again")
