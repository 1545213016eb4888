"""TorchScript files: a traced graph, with metadata as an extra file `ghostyolo.json`."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path

import torch

from ghostyolo.errors import OptionError
from ghostyolo.exporters.export_module import ExportModule
from ghostyolo.exporters.settings import ExportSettings
from ghostyolo.files import replace
from ghostyolo.model.model import Model
from ghostyolo.network.metadata import TORCHSCRIPT_EXTRA


def write(model: Model, path: Path, settings: ExportSettings) -> None:
    """Write a model as TorchScript; the file takes any batch size, whatever the settings.

    Raises `OptionError` if it cannot be written, or for suppression in the file.
    """
    if settings.suppression:
        hint = "leave --nms out; torchvision.ops.batched_nms does it outside"
        raise OptionError("TorchScript has no suppression", hint=hint)
    module = ExportModule(model, settings).eval()
    properties = settings.metadata(model.network).properties()
    text = json.dumps({**properties, "outputs": module.output_names})
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # about constant shapes, which are intended
        traced = torch.jit.trace(module, module.example())
        torch.jit.save(traced, buffer, _extra_files={TORCHSCRIPT_EXTRA: text})
    replace(path, [buffer.getvalue()])
