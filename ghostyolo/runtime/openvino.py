"""Exported files in OpenVINO: its own IR, or ONNX."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from openvino import Layout
from openvino.preprocess import PrePostProcessor

from ghostyolo.network import metadata
from ghostyolo.network.metadata import OPENVINO_SECTION
from ghostyolo.runtime import onnx_metadata
from ghostyolo.runtime.backend import Backend, FileInfo, fixed_shape, library_errors


def open_file(
    path: Path, *, size: tuple[int, int] | None, batch: int, threads: int, device: str
) -> Backend:
    """Open an exported file on the CPU, in float32. Raises `DataError`, `OptionError`.

    Images and feature maps are NHWC in memory, as OpenVINO computes them, so that it transposes
    none.
    """
    errors = partial(library_errors, "OpenVINO", path, RuntimeError)
    with errors(hint="export it again"):
        core: Any = openvino.Core()
        model = core.read_model(path)
        is_onnx = path.suffix.lower() == ".onnx"
        info = onnx_metadata.read(path) if is_onnx else _ir_info(model, path)
        metadata, shape = fixed_shape(info, path, size, batch)
        if model.is_dynamic() and tuple(info.input_sides) != shape:
            model.reshape(list(shape))
    with errors():
        compiled = _compiled(core, _channels_last(model), threads)
        request, outputs = Request(compiled), compiled.outputs
    indices = [outputs.index(compiled.output(name)) for name in metadata.output_names]

    def compute(images: np.ndarray) -> list[np.ndarray]:
        with errors():
            found = request(images.transpose(0, 2, 3, 1))
        ordered = [found[index] for index in indices]
        return [out.transpose(0, 3, 1, 2) if out.ndim == 4 else out for out in ordered]

    return Backend(metadata, compute, shape[0], channels_last=True)


def _compiled(core: Any, model: Any, threads: int) -> Any:
    """Compile a model for its input shape, or else for any batch size, which is as fast.

    On processors without AVX-512 the plugin joins a 1x1 convolution and the depthwise one after it
    if their maps are larger than half of the last cache, as they are for large batches. It has no
    kernel for the pair if the first takes 4 channels (OpenVINO 2026.4.1). It does not join them
    where the batch size is open.
    """
    try:
        return core.compile_model(model, "CPU", options(threads))
    except RuntimeError as error:
        try:
            _, *sides = model.input().partial_shape
            model.reshape([-1, *sides])
            return core.compile_model(model, "CPU", options(threads))
        except RuntimeError:
            raise error from None


def options(threads: int) -> dict[str, Any]:
    """Return the options to compile a model for one request at a time, in float32."""
    return {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
    }


class Request:
    """A compiled model that writes its outputs into new arrays, without a copy.

    Called with the input, it returns all outputs in the model's order. Outputs of a shape that
    depends on the input are copied.
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
    """Return the model with its input, and its outputs of four axes, as (N, h, w, C)."""
    steps: Any = PrePostProcessor(model)
    maps = [steps.output(i) for i, out in enumerate(model.outputs) if len(out.partial_shape) == 4]
    for side in (steps.input(0), *maps):
        side.model().set_layout(Layout("NCHW"))
        side.tensor().set_layout(Layout("NHWC"))
    return steps.build()


def _ir_info(model: Any, path: Path) -> FileInfo:
    """Return the metadata and the input shape of an OpenVINO IR file."""
    info = model.get_rt_info()
    stored = info[OPENVINO_SECTION].items() if OPENVINO_SECTION in info else []
    found = metadata.read({key: value.astype(str) for key, value in stored}, str(path))
    sides = model.inputs[0].partial_shape if len(model.inputs) == 1 else []
    return FileInfo(found, tuple(s.get_length() if s.is_static else str(s) for s in sides))
