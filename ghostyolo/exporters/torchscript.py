"""TorchScript files: the graph traced, metadata as an extra file `ghostyolo.json`."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path

import torch

from ghostyolo.errors import OptionError
from ghostyolo.exporters.settings import ExportSettings
from ghostyolo.exporters.traced import Graph
from ghostyolo.files import replace
from ghostyolo.model.model import Model
from ghostyolo.network.metadata import TORCHSCRIPT_EXTRA


def write(model: Model, path: Path, form: ExportSettings) -> None:
    """Write a model as TorchScript, which takes any fitting input whatever the form says.

    Raises `OptionError` when it cannot be written, or is to suppress boxes.
    """
    if form.suppression:
        hint = "leave --nms out; torchvision.ops.batched_nms does it outside"
        raise OptionError("TorchScript has no suppression", hint=hint)
    size = None if form.dynamic == "size" else model.network.options.size
    graph = Graph(model, form.boxes, size).eval()
    text = json.dumps({**form.metadata(model.network).properties(), "outputs": graph.names})
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of sides that are constants, which they are to be
        traced = torch.jit.trace(graph, graph.example(2 if form.dynamic else form.batch))
        torch.jit.save(traced, buffer, _extra_files={TORCHSCRIPT_EXTRA: text})
    replace(path, [buffer.getvalue()])
