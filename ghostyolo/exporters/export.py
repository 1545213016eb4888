"""Write a model in one of the formats, in float32 or 8 bits.

The module of a format is imported when it is needed, since its libraries may be missing.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ghostyolo.errors import OptionError
from ghostyolo.exporters import calibration
from ghostyolo.exporters.formats import FORMATS
from ghostyolo.exporters.settings import ExportSettings
from ghostyolo.model.model import Model
from ghostyolo.network.weights_file import DIVERGED


def write(
    model: Model,
    path: str | Path,
    settings: ExportSettings,
    name: str,
    images: np.ndarray | None = None,
    on_progress: calibration.OnProgress = lambda done, total: None,
) -> None:
    """Write a model in the format of that name.

    images: calibration inputs for 8-bit weights and activations, see `calibration.inputs`; None
    for float32. on_progress: called for each calibration input.

    Raises `OptionError` for settings that do not fit the format or the network, or a file that
    cannot be written, `CfgError` for a network that cannot be exported or has weights that are not
    finite.
    """
    settings.check(model.network)
    check_finite(model)
    if settings.opset is not None and name != "onnx":
        message, hint = f"--opset {settings.opset} is for ONNX files", "leave --opset out"
        raise OptionError(message, hint=hint)
    found = FORMATS[name]
    if images is None:
        import_writer(found.module, found.extra).write(model, Path(path), settings)
        return
    if not found.int8_module:
        hint = "use " + " or ".join(other for other, f in FORMATS.items() if f.int8_module)
        raise OptionError(f"{name} files with 8 bits cannot be written", hint=hint)
    writer = import_writer(found.int8_module, found.extra)
    writer.write(model, Path(path), settings, images, on_progress)


def check_finite(model: Model) -> None:
    """Raise `CfgError` if a weight is NaN or infinite, for then every output is."""
    for node, tensors in zip(model.network, model.tensors(), strict=True):
        for name, tensor in tensors.items():
            if count := int((~torch.isfinite(tensor)).sum()):
                message = f"{name} has {count} of {tensor.numel()} values that are not finite"
                raise node.error(message, DIVERGED)


def import_writer(module: str, extra: str) -> Any:
    """Return a module of this folder.

    extra: of this package, which installs the module's libraries. Raises `OptionError` with the
    command that installs them if one is missing, and
    `ModuleNotFoundError` if the extra is "".
    """
    try:
        return importlib.import_module(f"ghostyolo.exporters.{module}")
    except ModuleNotFoundError as error:
        if not extra:
            raise
        hint = f"pip install 'ghostyolo[{extra}]'"
        raise OptionError(f"{error.name} is not installed", hint=hint) from None
