"""Exported ONNX files in OpenCV's dnn module."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ghostyolo.errors import DataError, Span
from ghostyolo.runtime import onnx_metadata
from ghostyolo.runtime.input_shape import fixed, output_names


def open_file(
    path: Path, *, size: tuple[int, int] | None, batch: int, threads: int, device: str
) -> Engine:
    """Open a file on the CPU, whatever the device is. Raises `DataError`, `OptionError`."""
    cv2.setNumThreads(threads)
    return Engine(path, size, batch)


class Engine:
    """OpenCV's net."""

    channels_last = False

    def __init__(self, path: Path, size: tuple[int, int] | None, batch: int) -> None:
        found = onnx_metadata.read(path)
        network, shape = fixed(found, path, size, batch)
        self.metadata = replace(found.metadata, network=network)
        self.batch, self._path = shape[0], path
        self._outputs = output_names(self.metadata)
        try:
            self._net: Any = cv2.dnn.readNetFromONNX(str(path))
        except cv2.error as error:
            raise self._failure(error) from None

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        try:
            self._net.setInput(images)
            found = self._net.forward(self._outputs)
        except cv2.error as error:
            raise self._failure(error) from None
        return [np.array(output) for output in found]  # the net reuses its own

    def close(self) -> None:
        self._net = None

    def _failure(self, error: cv2.error) -> DataError:
        reason = " ".join(str(error.err).split())[:200]
        hint = "use another --runtime"
        return DataError(f"OpenCV: {reason}", span=Span(str(self._path)), hint=hint)
