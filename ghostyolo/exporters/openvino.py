"""OpenVINO IR: an .xml with the graph and a .bin with the weights, made from the ONNX form."""

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


def write(model: Model, path: Path, form: ExportSettings) -> None:
    """Write a model as IR, in float32. Raises `OptionError` when it cannot be written."""
    save(build(model, form), path)


def build(model: Model, form: ExportSettings, *, joined: bool = False) -> Any:
    """Return the model as OpenVINO holds it, with metadata in `rt_info`."""
    proto = onnx.build(model, form, joined=joined)
    return of(proto.SerializeToString(), form.metadata(model.network))


def of(proto: bytes, metadata: Metadata) -> Any:
    """Return an ONNX file's model as OpenVINO holds it, with all that is constant computed.

    As it is read, every bias and depthwise weight hangs on ten operators that work out its shape.
    """
    built = openvino.Core().read_model(proto)
    folding = Manager()
    folding.register_pass(ConstantFolding())
    folding.run_passes(built)
    describe(built, metadata)
    return built


def describe(built: Any, metadata: Metadata) -> None:
    """Put the metadata into `rt_info`."""
    for key, value in metadata.properties().items():
        built.set_rt_info(value, [OPENVINO_SECTION, key])


def save(built: Any, path: Path) -> None:
    """Write both files, the one with the weights first."""
    with tempfile.TemporaryDirectory() as folder:
        beside = Path(folder, path.name)
        openvino.save_model(built, beside, compress_to_fp16=False)
        for suffix in (".bin", ".xml"):
            replace(path.with_suffix(suffix), [beside.with_suffix(suffix).read_bytes()])
