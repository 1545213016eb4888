"""OpenVINO IR: an .xml with the graph and a .bin with the weights, converted from ONNX."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import openvino
from openvino.passes import ConstantFolding, Manager

from ghostyolo.exporters import onnx
from ghostyolo.exporters.settings import ExportSettings
from ghostyolo.files import replace
from ghostyolo.model.model import Model
from ghostyolo.network.metadata import OPENVINO_SECTION, Metadata


def write(model: Model, path: Path, settings: ExportSettings) -> None:
    """Write a model as IR, in float32. Raises `OptionError` if it cannot be written."""
    save(build(model, settings), path)


def build(model: Model, settings: ExportSettings, *, joined: bool = False) -> Any:
    """Return a model as an OpenVINO model, see `from_onnx`. joined: see `onnx.build`."""
    proto = onnx.build(model, settings, joined=joined)
    return from_onnx(proto.SerializeToString(), settings.metadata(model.network))


def from_onnx(proto: bytes, metadata: Metadata) -> Any:
    """Return an ONNX file as an OpenVINO model with constants folded and metadata in `rt_info`.

    Without folding, ten operators would compute the shape of every bias and depthwise weight.
    """
    model = openvino.Core().read_model(proto)
    folding = Manager()
    folding.register_pass(ConstantFolding())
    folding.run_passes(model)
    set_metadata(model, metadata)
    return model


def set_metadata(model: Any, metadata: Metadata) -> None:
    """Put the metadata into `rt_info`."""
    for key, value in metadata.properties().items():
        model.set_rt_info(value, [OPENVINO_SECTION, key])


def save(model: Any, path: Path) -> None:
    """Write both files, the one with the weights first."""
    with tempfile.TemporaryDirectory() as folder:
        beside = Path(folder, path.name)
        openvino.save_model(model, beside, compress_to_fp16=False)
        for suffix in (".bin", ".xml"):
            replace(path.with_suffix(suffix), [beside.with_suffix(suffix).read_bytes()])
