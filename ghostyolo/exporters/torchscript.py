"""TorchScript files: the graph traced, metadata as an extra file `ghostyolo.json`."""

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
    """Write a model as TorchScript, which takes any fitting input whatever the settings say.

    Raises `OptionError` if it cannot be written, or the settings ask for suppression.
    """
    if settings.suppression:
        hint = "leave --nms out; torchvision.ops.batched_nms does it outside"
        raise OptionError("TorchScript has no suppression", hint=hint)
    module = ExportModule(model, settings).eval()
    properties = settings.metadata(model.network).properties()
    text = json.dumps({**properties, "outputs": module.output_names})
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of sides that are constants, which they are to be
        traced = torch.jit.trace(module, module.example())
        torch.jit.save(traced, buffer, _extra_files={TORCHSCRIPT_EXTRA: text})
    replace(path, [buffer.getvalue()])
