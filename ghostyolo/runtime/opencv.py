"""Exported ONNX files in OpenCV's dnn module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ghostyolo.errors import DataError, Span
from ghostyolo.runtime import onnx_metadata
from ghostyolo.runtime.input_shape import fixed_shape


def open_file(
    path: Path, *, size: tuple[int, int] | None, batch: int, threads: int, device: str
) -> OpenCvBackend:
    """Open a file on the CPU, whatever the device. Raises `DataError`, `OptionError`."""
    cv2.setNumThreads(threads)
    return OpenCvBackend(path, size, batch)


class OpenCvBackend:
    """A `cv2.dnn.Net`."""

    channels_last = False

    def __init__(self, path: Path, size: tuple[int, int] | None, batch: int) -> None:
        info = onnx_metadata.read(path)
        self.metadata, shape = fixed_shape(info, path, size, batch)
        self.batch_size, self._path = shape[0], path
        try:
            self._net: Any = cv2.dnn.readNetFromONNX(str(path))
        except cv2.error as error:
            raise self._failure(error) from None

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        try:
            self._net.setInput(images)
            found = self._net.forward(self.metadata.output_names)
        except cv2.error as error:
            raise self._failure(error) from None
        return [np.array(output) for output in found]  # the net reuses its arrays

    def close(self) -> None:
        self._net = None

    def _failure(self, error: cv2.error) -> DataError:
        reason = " ".join(str(error.err).split())[:200]
        hint = "use another --runtime"
        return DataError(f"OpenCV: {reason}", span=Span(str(self._path)), hint=hint)
