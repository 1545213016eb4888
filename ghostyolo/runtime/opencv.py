"""Exported ONNX files in OpenCV's dnn module."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ghostyolo.runtime import onnx_metadata
from ghostyolo.runtime.backend import Backend, fixed_shape, library_errors


def open_file(
    path: Path, *, size: tuple[int, int] | None, batch: int, threads: int, device: str
) -> Backend:
    """Open an exported file on the CPU. Raises `DataError`, `OptionError`."""
    cv2.setNumThreads(threads)
    metadata, shape = fixed_shape(onnx_metadata.read(path), path, size, batch)
    errors = partial(library_errors, "OpenCV", path, cv2.error)
    with errors():
        net: Any = cv2.dnn.readNetFromONNX(str(path))

    def compute(images: np.ndarray) -> list[np.ndarray]:
        with errors():
            net.setInput(images)
            found = net.forward(metadata.output_names)
        return [np.array(output) for output in found]  # the net reuses its arrays

    return Backend(metadata, compute, shape[0], channels_last=False)
