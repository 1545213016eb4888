"""ONNX files with 8-bit weights and activations, by onnxruntime's static quantisation (QDQ)."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnx import helper
from onnxruntime import quantization

from ghostyolo.exporters.calibration import OnProgress, float_layers, is_float
from ghostyolo.exporters.onnx import INPUT, build
from ghostyolo.exporters.settings import ExportSettings
from ghostyolo.files import replace
from ghostyolo.model.model import Model


def write(
    model: Model, path: Path, settings: ExportSettings, images: np.ndarray, on_progress: OnProgress
) -> None:
    """Write a quantised model, its heads in float32; weights have a range for each filter.

    images: calibration inputs, (n, batch, 3, h, w).
    """
    proto, layers = build(model, settings, joined=True), float_layers(model.network)
    kept = [node.name for node in proto.graph.node if is_float(node.name, layers)]
    with tempfile.TemporaryDirectory() as folder, _quiet():
        found = Path(folder, "x.onnx")
        quantization.quantize_static(
            proto, found, _Reader(images, on_progress), per_channel=True, nodes_to_exclude=kept
        )
        quantised = onnx.load(found)
    helper.set_model_props(quantised, settings.metadata(model.network).properties())
    replace(path, [quantised.SerializeToString()])


class _Reader(quantization.CalibrationDataReader):
    """The calibration inputs, one at a time."""

    def __init__(self, images: np.ndarray, on_progress: OnProgress) -> None:
        self.images, self.on_progress, self.done = images, on_progress, 0

    def get_next(self) -> dict[str, np.ndarray] | None:
        self.on_progress(self.done, len(self.images))  # once the batch before is computed
        if self.done == len(self.images):
            return None
        self.done += 1
        return {INPUT: self.images[self.done - 1]}


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide onnxruntime's advice to preprocess the graph, which `tidy` has done."""
    root = logging.getLogger()
    level = root.level
    try:
        root.setLevel(logging.ERROR)
        yield
    finally:
        root.setLevel(level)
