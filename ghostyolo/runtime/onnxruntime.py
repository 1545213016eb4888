"""Exported ONNX files in onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ghostyolo.runtime import onnx_metadata, onnx_session
from ghostyolo.runtime.input_shape import fixed_shape


def open_file(
    path: Path, *, size: tuple[int, int] | None, batch: int, threads: int, device: str
) -> OnnxRuntimeBackend:
    """Open a file on the CPU, whatever the device. Raises `DataError`, `OptionError`."""
    return OnnxRuntimeBackend(path, size, batch, threads)


class OnnxRuntimeBackend:
    """A session on the CPU."""

    channels_last = False

    def __init__(self, path: Path, size: tuple[int, int] | None, batch: int, threads: int) -> None:
        info = onnx_metadata.read(path)
        self.metadata, shape = fixed_shape(info, path, size, batch)
        pairs = zip(info.input_sides, shape, strict=True)
        open_sides = {name: side for name, side in pairs if isinstance(name, str)}
        self._session = onnx_session.session(path, threads, open_sides)
        self.batch_size, self._path = shape[0], path
        self._input = self._session.get_inputs()[0].name
        self._outputs = self.metadata.output_names

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        try:
            return self._session.run(self._outputs, {self._input: images})
        except Exception as error:  # onnxruntime's errors have no base class of their own
            raise onnx_session.failure(self._path, error, "export it again") from None

    def close(self) -> None:
        self._session = None
