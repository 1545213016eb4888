"""OpenVINO IR with 8-bit weights and activations, by NNCF's post-training quantisation."""

from __future__ import annotations

import logging
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import nncf
import numpy as np

from ghostyolo.exporters.calibration import OnProgress, float_layers, is_float
from ghostyolo.exporters.openvino import build, save, set_metadata
from ghostyolo.exporters.settings import ExportSettings
from ghostyolo.model.model import Model


def write(
    model: Model, path: Path, settings: ExportSettings, images: np.ndarray, on_progress: OnProgress
) -> None:
    """Write a quantised model, its heads in float32.

    Layers that NNCF does not quantise, such as squeeze-excite, compute in float32 with 8-bit
    weights.

    images: calibration inputs, (n, batch, 3, h, w).
    """
    exported, layers = build(model, settings, joined=True), float_layers(model.network)
    names = [
        op.get_friendly_name()
        for op in exported.get_ops()
        if op.get_type_name() not in ("Constant", "Parameter", "Result")
    ]
    kept = [name for name in names if is_float(name, layers)]
    scope = nncf.IgnoredScope(names=kept, validate=False)

    def read(index: int) -> np.ndarray:  # NNCF reads some of the images again, to correct biases
        on_progress(index + 1, len(images))
        return images[index]

    # nncf.set_log_level changes the handlers of other loggers
    logging.getLogger("nncf").setLevel(logging.ERROR)
    with redirect_stdout(StringIO()):  # its progress bars
        data = nncf.Dataset(range(len(images)), read)
        found = nncf.quantize(exported, data, subset_size=len(images), ignored_scope=scope)
        mode = nncf.CompressWeightsMode.INT8_SYM
        found = nncf.compress_weights(found, mode=mode, ignored_scope=scope)
    set_metadata(found, settings.metadata(model.network))
    save(found, path)
