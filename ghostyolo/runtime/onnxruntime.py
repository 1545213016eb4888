"""Exported ONNX files in onnxruntime."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ghostyolo.errors import DataError, Span
from ghostyolo.runtime import onnx_metadata, onnx_session
from ghostyolo.runtime.input_shape import fixed, output_names


def open_file(
    path: Path, *, size: tuple[int, int] | None, batch: int, threads: int, device: str
) -> Engine:
    """Open a file on the CPU, whatever the device is. Raises `DataError`, `OptionError`."""
    return Engine(path, size, batch, threads)


class Engine:
    """A session on the CPU."""

    channels_last = False

    def __init__(self, path: Path, size: tuple[int, int] | None, batch: int, threads: int) -> None:
        found = onnx_metadata.read(path)
        network, shape = fixed(found, path, size, batch)
        self.metadata = replace(found.metadata, network=network)
        words = dict(zip(found.sides, shape, strict=True))
        self._session = onnx_session.session(
            path, threads, {k: v for k, v in words.items() if isinstance(k, str)}
        )
        self.batch, self._path = shape[0], path
        self._input = self._session.get_inputs()[0].name
        self._outputs = output_names(self.metadata)

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        try:
            return self._session.run(self._outputs, {self._input: images})
        except Exception as error:  # onnxruntime's errors share no base of their own
            reason = " ".join(str(error).split())[:200]
            message, span = f"onnxruntime: {reason}", Span(str(self._path))
            raise DataError(message, span=span, hint="export it again") from None

    def close(self) -> None:
        self._session = None
