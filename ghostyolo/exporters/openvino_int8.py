"""OpenVINO IR with 8-bit weights and activations, by NNCF's post-training quantisation."""

from __future__ import annotations

import logging
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import nncf
import numpy as np

from ghostyolo.exporters.calibration import float_layers, is_float
from ghostyolo.exporters.openvino import build, describe, save
from ghostyolo.exporters.settings import ExportSettings
from ghostyolo.model.model import Model


def write(model: Model, path: Path, form: ExportSettings, images: np.ndarray) -> None:
    """Write a quantised model, its heads in float.

    What quantisation leaves alone, as squeeze-excite, is computed in float from 8-bit weights.

    images: calibration inputs, (n, batch, 3, h, w).
    """
    built, layers = build(model, form, joined=True), float_layers(model.network)
    names = [
        op.get_friendly_name()
        for op in built.get_ops()
        if op.get_type_name() not in ("Constant", "Parameter", "Result")
    ]
    kept = [name for name in names if is_float(name, layers)]
    scope = nncf.IgnoredScope(names=kept, validate=False)
    logging.getLogger("nncf").setLevel(logging.ERROR)  # its own function changes handlers of others
    with redirect_stdout(StringIO()):  # its progress bars
        data = nncf.Dataset(list(images))
        found = nncf.quantize(built, data, subset_size=len(images), ignored_scope=scope)
        mode = nncf.CompressWeightsMode.INT8_SYM
        found = nncf.compress_weights(found, mode=mode, ignored_scope=scope)
    describe(found, form.metadata(model.network))
    save(found, path)
